"""Deterministic engines for tests, whose results come from a script or from levels of the audio."""
