"""Services behind the front ends: transcription, sessions, recordings, transcripts and filters."""
