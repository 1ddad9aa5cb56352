"""The codec, the signatures and the reader of audio, under a fuzzer that is guided by coverage.

atheris is installed apart, since this project does without it otherwise:

    python -m venv bench/.peers/atheris && bench/.peers/atheris/bin/pip install atheris
    PYTHONPATH=src:tests/clients:$(echo .venv/lib/python3*/site-packages) \\
      bench/.peers/atheris/bin/python tests/fuzz/guided.py -max_total_time=300 [FOLDER]

The first byte of an input says what the others are. Besides what offline.py asks for, a message that is
read is encoded to the same bytes again. FOLDER keeps the inputs that reached something new.
"""

import sys
from datetime import UTC, datetime

import atheris

with atheris.instrument_imports(include=["transcribed"]):
    from amazon_client import KEY, REGION, SECRET, Signer, framed

    from transcribed.errors import BadRequest, InvalidSignature, MalformedMessage
    from transcribed.options import Capabilities
    from transcribed.wire.amazon import AudioReader, exception_message
    from transcribed.wire.amazon_parameters import stream_request
    from transcribed.wire.audio import EndOfAudio
    from transcribed.wire.eventstream import Decoder, decode, encode
    from transcribed.wire.sigv4 import Credentials, SignatureChain

_NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
_REQUEST = stream_request(
    {"language-code": "en-US", "sample-rate": "16000", "media-encoding": "pcm"},
    Capabilities("any", ("en-US",)),
)


def one(data: bytes) -> None:
    """Try one input."""
    kind, rest = data[0] % 5 if data else 0, data[1:]
    cut = int.from_bytes(rest[:2], "big")
    first, second = rest[2 : 2 + cut], rest[2 + cut :]
    match kind:
        case 0:  # What a socket may carry.
            _read([first, second])
        case 1:  # Headers and payload, the checksums right.
            _same(framed(first, second))
            _read([framed(first, second)])
        case 2:  # The same, lying about its lengths.
            total, headers = int.from_bytes(rest[2:6], "big"), int.from_bytes(rest[6:8], "big")
            _read([framed(first, second, total, headers)])
        case 3:  # The same, wrapped and signed.
            _read([Signer("0" * 64).signed(framed(first, second), _NOW)])
        case _:  # Anything, wrapped and signed; then anything.
            _read([Signer("0" * 64).signed(first, _NOW), second])


def _same(message: bytes) -> None:
    try:
        decoded = decode(message)
    except MalformedMessage:
        return
    again = encode(decoded.headers, decoded.payload)
    if again != message:
        raise AssertionError(f"{message!r} is encoded to {again!r}")


def _read(pieces: list[bytes]) -> None:
    for signed in (True, False):
        chain = SignatureChain(Credentials(KEY, SECRET), REGION, "0" * 64, _NOW) if signed else None
        reader, decoder = AudioReader(_REQUEST, chain, unsigned=not signed), Decoder()
        try:
            for piece in pieces:
                for message in decoder.push(piece):
                    if isinstance(reader.read(message, _NOW), EndOfAudio):
                        return
            decoder.finish()
        except (BadRequest, InvalidSignature) as error:
            exception_message(error)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
