"""Amazon Transcribe as an engine, over its WebSocket (docs/decisions/0016-amazon-over-websocket.md)."""
