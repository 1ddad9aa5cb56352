"""A recording through litellm's `transcription`, as its users and its proxy send it, told as JSON.

client.py http://localhost:3000/v1 recording.wav
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # The list of prices is not fetched.

import litellm
import openai

URL, PATH = sys.argv[1], Path(sys.argv[2])
ways: dict[str, dict[str, Any]] = {
    "default": {},
    "json": {"response_format": "json"},
    "text": {"response_format": "text"},
    "words": {"response_format": "verbose_json", "timestamp_granularities": ["word"], "language": "en"},
}
answers = {}
for name, options in ways.items():
    with PATH.open("rb") as file:
        answer = litellm.transcription(
            model="openai/whisper-1", file=file, api_base=URL, api_key="any", max_retries=0, **options
        )
    answers[name] = answer.model_dump(mode="json")
try:
    with PATH.open("rb") as file:
        litellm.transcription(
            model="openai/whisper-1", file=file, api_base=URL, api_key="any", max_retries=0, language="tlh"
        )
except openai.BadRequestError as error:
    answers["refused"] = {"status": error.status_code, "param": error.param, "message": error.message}
print(json.dumps(answers))
