"""Decoding of containers in separate processes, so that a file that crashes FFmpeg affects nothing else."""
