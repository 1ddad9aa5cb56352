"""Moonshine's streaming models, run by the vendor's library behind the segment loop."""
