"""The page for people: captions from a microphone, files, a library of transcripts, and shared sessions."""
