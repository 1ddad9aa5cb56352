"""Sessions: what a client does, without the way it does it over."""
