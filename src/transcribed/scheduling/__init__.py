"""Scheduling of recognition on a fixed number of threads, and admission of streams."""
