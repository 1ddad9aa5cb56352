"""Certificates for the listener with TLS: the local authority's, or the user's own."""
