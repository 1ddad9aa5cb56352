"""Streams that outlive failures and the maximum age of an engine's streams, with an optional fallback."""
