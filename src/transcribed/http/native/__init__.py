"""This server's own protocol over a WebSocket."""
