"""A stream of one engine or two that outlives what their streams outlive."""
