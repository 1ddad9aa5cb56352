"""Engines for tests: they recognise nothing, and say what a script or the audio's levels tell them."""
