"""Recognisers, each behind the one contract of `base`."""
