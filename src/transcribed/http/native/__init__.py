"""The front end for the native WebSocket protocol."""
