"""Print what pipecat-ai's service for Amazon Transcribe asks, sends and reads, as JSON.

    pip download --no-deps pipecat-ai==1.14.0
    python pipecat_service.py pipecat_ai-1.14.0-py3-none-any.whl

Its module pipecat.services.aws.utils is run as it is, out of the wheel; it needs no other package.
"""

import importlib.util
import json
import sys
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "pipecat/services/aws/utils.py"
NOW = datetime(2026, 11, 25, 9)
TOKEN = "a session/token+of=the vectors"  # noqa: S105 - made up

CASES: dict[str, dict[str, Any]] = {
    "as the service asks": {"language_code": "en-US"},
    "no session token": {"language_code": "en-US", "session_token": None},
    "low stability, speakers": {
        "language_code": "de-DE",
        "partial_results_stability": "low",
        "show_speaker_label": True,
    },
    "words and filters": {
        "language_code": "en-US",
        "vocabulary_name": "our.words",
        "vocabulary_filter_name": "bad-words_1",
    },
}
PAYLOADS = [b"", bytes.fromhex("0000ff7f0080ffff"), bytes(range(64))]


class StandingClock(datetime):
    """It is always NOW."""

    @classmethod
    def utcnow(cls) -> datetime:
        return NOW


def load(wheel: Path) -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(zipfile.ZipFile(wheel).extract(MODULE, folder))
        spec = importlib.util.spec_from_file_location("utils", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["utils"] = module
        spec.loader.exec_module(module)
    return module


def url(utils: ModuleType, *, session_token: str | None = TOKEN, **asked: Any) -> str:
    keys = {
        "access_key": "AKIDEXAMPLE",
        "secret_key": "secret/of+the=vectors",
        "session_token": session_token,
    }
    found: str = utils.get_presigned_url(region="eu-west-1", credentials=keys, **asked)
    return found


def event(utils: ModuleType, headers: dict[str, str], payload: bytes) -> dict[str, Any]:
    """A message with these headers by its own encoder, and what its own decoder reads in it."""
    block = b"".join(utils.get_headers(name, value) for name, value in headers.items())
    lengths = utils.struct.pack(">II", len(block) + len(payload) + 16, len(block))
    message = lengths + utils.struct.pack(">I", utils.binascii.crc32(lengths)) + block + payload
    message += utils.struct.pack(">I", utils.binascii.crc32(message))
    return {"message": message.hex(), "read": utils.decode_event(message)}


def main() -> None:
    wheel = Path(sys.argv[1])
    utils = load(wheel)
    utils.datetime.datetime = StandingClock
    result = b'{"Transcript":{"Results":[{"IsPartial":false,"Alternatives":[{"Transcript":"Yes."}]}]}}'
    json_headers = {":content-type": "application/json"}
    answers = {
        "a transcript": ({":event-type": "TranscriptEvent", ":message-type": "event"}, result),
        "an exception": (
            {":exception-type": "BadRequestException", ":message-type": "exception"},
            b'{"Message":"No."}',
        ),
    }
    written = {
        "package": "-".join(wheel.name.split("-")[:2]),
        "urls": {name: url(utils, **asked) for name, asked in CASES.items()},
        "messages": {payload.hex(): utils.build_event_message(payload).hex() for payload in PAYLOADS},
        "answers": {n: event(utils, json_headers | h, p) for n, (h, p) in answers.items()},
    }
    print(json.dumps(written, indent=1))


main()
