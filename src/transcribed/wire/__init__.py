"""Bytes and JSON to domain objects and back, without I/O."""
