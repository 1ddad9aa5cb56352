"""Algorithms of speech recognition, without I/O, threads or a clock."""
