"""Certificates of the TLS listener: issued by a local certificate authority, or supplied by the user."""
