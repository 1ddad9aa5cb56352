"""A server that turns speech into text while it is spoken, offline."""

__version__ = "0.1.0"
