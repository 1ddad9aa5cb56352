"""Vosk's protocol: the front end for its clients."""
