"""The front ends, over HTTP and WebSockets."""
