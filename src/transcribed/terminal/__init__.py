"""The commands that transcribe in a terminal, without a server."""
