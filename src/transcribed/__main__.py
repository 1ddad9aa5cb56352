"""`python -m transcribed`."""

from transcribed.cli import main

main()
