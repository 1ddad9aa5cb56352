"""Storage of recordings, transcripts and vocabulary filters."""
