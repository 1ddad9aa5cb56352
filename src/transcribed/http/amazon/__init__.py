"""Amazon Transcribe's streaming endpoints: the front end for its clients."""
