"""OpenAI's API of transcription: files, models and live audio below `/v1`."""
