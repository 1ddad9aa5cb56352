"""The front end for clients of Amazon Transcribe's streaming protocol."""
