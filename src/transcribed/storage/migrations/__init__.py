"""The migrations of the transcripts' tables, which `run.migrate` runs when a database is opened."""
