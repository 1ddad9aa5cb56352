"""Signatures beside those of botocore, of awscrt, of amazon-transcribe, and of requests of real clients."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.auth as botocore
import pytest
import signing
from amazon_transcribe.auth import Credentials as AwslabsCredentials
from amazon_transcribe.eventstream import EventSigner, EventStreamMessageSerializer
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.crt.auth import CrtSigV4Auth, CrtSigV4QueryAuth
from hypothesis import assume, given
from hypothesis import strategies as st

from transcribed.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthentication,
    TranscribedError,
    UnknownClient,
)
from transcribed.wire import sigv4
from transcribed.wire.eventstream import Byte, Decoder, HeaderValue, Message, Timestamp, decode, encode
from transcribed.wire.sigv4 import Credentials, Request, SignatureChain, VerifiedSignature

RECORDED = Path(__file__).parents[2] / "vectors" / "recorded"
KEY, SECRET, TOKEN, REGION = "AKIDEXAMPLE", "secret/of+the=vectors", "a session token", "eu-west-1"
SECRETS = {KEY: SECRET}
CREDENTIALS = Credentials(KEY, SECRET)
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
REQUEST = Request(
    "POST",
    "/stream-transcription",
    headers=(("host", "localhost:8443"), ("x-amzn-transcribe-language-code", "en-US")),
)
SIGNED = signing.sign(REQUEST, CREDENTIALS, REGION, NOW, TOKEN)
PRESIGNED = signing.presign(
    Request(
        "GET",
        "/stream-transcription-websocket",
        "language-code=en-US&sample-rate=16000",
        (("host", "localhost:8443"), ("user-agent", "any")),
    ),
    CREDENTIALS,
    REGION,
    NOW,
    TOKEN,
)
BOTH = pytest.mark.parametrize("signed", [SIGNED, PRESIGNED], ids=["headers", "query"])


def verify(request: Request, now: datetime = NOW) -> VerifiedSignature:
    return sigv4.verify(request, SECRETS.get, now)


def header(request: Request, name: str) -> str:
    (value,) = (value for each, value in request.headers if each.lower() == name)
    return value


def with_header(request: Request, name: str, value: str) -> Request:
    return replace(request, headers=tuple((n, value if n == name else v) for n, v in request.headers))


# What botocore, awscrt and real clients sign.

BOTOCORE = BotocoreCredentials(KEY, SECRET, TOKEN)
_unreserved = "-_.~"
segments = st.sampled_from(["", ".", "..", "a"]) | st.text(max_size=8).map(
    lambda s: quote(s, safe="~@!$&'()*+,;=:")
)
paths = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
encoded = st.text(max_size=10).map(lambda text: quote(text, safe=_unreserved))
parameters = encoded.filter(lambda name: name and not name.lower().startswith("x-amz-"))
queries = st.lists(st.tuples(parameters, encoded), max_size=5, unique_by=lambda pair: pair[0]).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)
headers = st.dictionaries(
    st.from_regex(r"[Xx]-[A-Za-z0-9-]{1,10}", fullmatch=True).filter(
        lambda name: name.lower()[:6] != "x-amz-"
    ),
    header_values.filter(bool),
    max_size=4,
).filter(lambda found: len({name.lower() for name in found}) == len(found))
aws_requests = st.builds(
    lambda method, host, path, query, headers, body: AWSRequest(
        method, f"https://{host}{path}?{query}", headers, body
    ),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["localhost", "localhost:8443", "transcribe.example", "[::1]:8443", "LOCALHOST:443"]),
    paths,
    queries,
    headers,
    st.binary(max_size=30),
)


def on_the_wire(request: AWSRequest, body: bytes) -> Request:
    """The request as a server gets it."""
    url = urlsplit(request.url)
    wire = [("Host", botocore._host_from_url(request.url))] + [
        (name, value) for name, value in request.headers.items() if name.lower() != "host"
    ]
    return Request(request.method, url.path, url.query, tuple(wire), sha256(body).hexdigest())


def moment_of(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("signer", [botocore.SigV4Auth, CrtSigV4Auth])
@given(request=aws_requests, payload=st.sampled_from([None, sigv4.UNSIGNED_PAYLOAD, sigv4.EVENTS_PAYLOAD]))
def test_what_botocore_and_awscrt_sign_is_right(
    signer: Any, request: AWSRequest, payload: str | None
) -> None:
    # awscrt takes what stands before a colon in a path for a scheme.
    assume(signer is botocore.SigV4Auth or ":" not in urlsplit(request.url).path)
    body = request.data
    if payload is not None:
        request.headers["X-Amz-Content-SHA256"] = payload
    signer(BOTOCORE, "transcribe", REGION).add_auth(request)
    wire = on_the_wire(request, body)
    now = moment_of(header(wire, "x-amz-date"))
    signed = verify(wire, now)
    assert signed.credentials.access_key == KEY
    assert signed.moment == now
    if payload is None:
        with pytest.raises(InvalidSignature, match="does not match"):
            verify(replace(wire, payload_hash=sha256(body + b"!").hexdigest()), now)


@given(request=aws_requests, expires=st.integers(1, sigv4.MAX_EXPIRES))
def test_what_botocore_presigns_is_right(request: AWSRequest, expires: int) -> None:
    request.data = b""
    botocore.SigV4QueryAuth(BOTOCORE, "transcribe", REGION, expires).add_auth(request)
    wire = on_the_wire(request, b"")
    now = moment_of(wire.query.partition("X-Amz-Date=")[2][:16])
    assert verify(wire, now + timedelta(seconds=expires)).moment == now


def test_what_awscrt_presigns_is_right() -> None:
    request = AWSRequest("GET", "https://localhost:8443/stream-transcription-websocket?language-code=en-US")
    CrtSigV4QueryAuth(BOTOCORE, "transcribe", REGION, 300).add_auth(request)
    wire = on_the_wire(request, b"")
    assert verify(wire, moment_of(wire.query.partition("X-Amz-Date=")[2][:16]))


def test_a_date_may_stand_in_the_header_of_that_name() -> None:
    request = AWSRequest("POST", "https://localhost/", {"Date": "any"})
    botocore.SigV4Auth(BOTOCORE, "transcribe", REGION).add_auth(request)
    wire = on_the_wire(request, b"")
    now = datetime.strptime(header(wire, "date"), "%a, %d %b %Y %H:%M:%S -0000").replace(tzinfo=UTC)
    assert verify(wire, now).moment == now
    with pytest.raises(IncompleteSignature, match="Date is none: 'yesterday'"):
        verify(with_header(wire, "Date", "yesterday"), now)


@given(request=aws_requests, token=st.none() | st.just(TOKEN))
def test_we_sign_as_botocore_does(request: AWSRequest, token: str | None) -> None:
    body = request.data
    botocore.SigV4Auth(BotocoreCredentials(KEY, SECRET, token), "transcribe", REGION).add_auth(request)
    theirs = on_the_wire(request, body)
    added = ("authorization", "x-amz-date", "x-amz-security-token")
    bare = replace(theirs, headers=tuple(h for h in theirs.headers if h[0].lower() not in added))
    now = moment_of(header(theirs, "x-amz-date"))
    ours = signing.sign(bare, CREDENTIALS, REGION, now, token)
    assert header(ours, "authorization") == header(theirs, "authorization")


def recorded(client: str) -> tuple[Request, list[bytes]]:
    written = json.loads((RECORDED / f"{client}.json").read_text())
    pairs = tuple((name, value) for name, value in written["headers"])
    request = Request(written["method"], written["path"], written["query"], pairs)
    return request, [bytes.fromhex(part) for part in written["body"]]


def stamp_of(request: Request) -> str:
    if "X-Amz-Date" in request.query:
        return request.query.partition("X-Amz-Date=")[2][:16]
    return header(request, "x-amz-date")


CLIENTS = ["amazon-transcribe", "aws-sdk-transcribe-streaming", "javascript-http2"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_real_clients_stream_is_right_to_its_end(client: str) -> None:
    request, [body] = recorded(client)
    now = moment_of(stamp_of(request))
    chain = verify(request, now).chain()
    wrapped = [chain.open(message, now) for message in Decoder().push(body)]
    assert wrapped.pop() == b""
    assert [decode(message).payload for message in wrapped] == [bytes(range(64))] * 2


def test_a_real_browsers_url_is_right() -> None:
    request, messages = recorded("javascript-websocket")
    assert verify(request, moment_of(stamp_of(request)))
    assert [decode(message).payload for message in messages[:2]] == [bytes(range(64))] * 2
    assert messages[2] == b""


@pytest.mark.parametrize("client", [*CLIENTS, "javascript-websocket"])
def test_a_real_client_with_another_secret_is_refused(client: str) -> None:
    request, _ = recorded(client)
    with pytest.raises(InvalidSignature, match="does not match"):
        sigv4.verify(request, {KEY: "another"}.get, moment_of(stamp_of(request)))


# What we sign ourselves, as it always is.


def test_our_signatures_are_these() -> None:
    assert header(SIGNED, "authorization") == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261125/eu-west-1/transcribe/aws4_request, "
        "SignedHeaders=host;x-amz-date;x-amz-security-token;x-amzn-transcribe-language-code, "
        "Signature=275cd646323d384b10312791498de9e93bc82397b78c899e7948e06ebc409ca7"
    )
    assert PRESIGNED.query == (
        "language-code=en-US&sample-rate=16000&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
        "AKIDEXAMPLE%2F20261125%2Feu-west-1%2Ftranscribe%2Faws4_request&X-Amz-Date=20261125T090000Z&"
        "X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Security-Token=a%20session%20token&"
        "X-Amz-Signature=cd709bebc232bd7dd58d9e17b733374d81b9c487dc219f736a22a1315843f4f7"
    )
    chain = signing_chain()
    assert [decode(chain.seal(payload, NOW)).headers for payload in (b"a", b"")] == [
        {
            ":date": NOW.timestamp() * 1000,
            ":chunk-signature": bytes.fromhex(
                "7e0f977308eaa86553a4bad6227dc8ffec107ebcdd3d1c8ed59f4bf75df5bc0b"
            ),
        },
        {
            ":date": NOW.timestamp() * 1000,
            ":chunk-signature": bytes.fromhex(
                "50495e4b62a6c99fc493b9af25180946b6366d9cdd62f14e7426bf8f95f788db"
            ),
        },
    ]


@BOTH
def test_a_signature_tells_who_and_when(signed: Request) -> None:
    found = verify(signed)
    assert (found.credentials.access_key, found.moment) == (KEY, NOW)
    assert str(found.scope) == "20261125/eu-west-1/transcribe/aws4_request"


def test_a_query_of_nothing_can_be_presigned() -> None:
    assert verify(signing.presign(replace(REQUEST, method="GET"), Credentials(KEY, SECRET), REGION, NOW))


# What is not right.


def changes(request: Request) -> list[Request]:
    """The request with one signed thing changed, each in turn."""
    changed = [
        replace(request, method="PUT"),
        replace(request, path=request.path + "/"),
        replace(request, path="/x" + request.path),
        replace(request, query=request.query + "&a=b"),
        replace(request, query=request.query.replace("language-code=en-US", "language-code=de-DE") or "a="),
        replace(request, query=request.query.replace("token", "Token") or "a"),
        replace(request, payload_hash=sha256(b"body").hexdigest()),
        with_header(request, "host", "localhost"),
        replace(request, headers=(*request.headers, ("host", "other"))),
        replace(request, headers=(*request.headers, ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"))),
    ]
    if "X-Amz-Signature" not in request.query:
        changed += [
            with_header(request, "x-amzn-transcribe-language-code", "de-DE"),
            with_header(request, "x-amz-security-token", "another"),
            with_header(request, "x-amz-date", "20261125T090001Z"),
        ]
    else:
        changed += [
            replace(request, query=request.query.replace("T090000Z", "T090001Z")),
            replace(request, query=request.query.replace("Expires=300", "Expires=299")),
        ]
    return changed


@BOTH
def test_each_change_is_noticed(signed: Request) -> None:
    for changed in changes(signed):
        assert changed != signed
        with pytest.raises(InvalidSignature, match="The request signature we calculated does not match"):
            verify(changed)


@BOTH
@given(data=st.data())
def test_whatever_is_changed_only_documented_errors_come(signed: Request, data: st.DataObject) -> None:
    where = data.draw(st.sampled_from(["query", "authorization", "x-amz-date"]))
    text = signed.query if where == "query" else header(SIGNED, where)
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, len(text)))
    instead = data.draw(st.text(max_size=5))
    changed = text[:at] + instead + text[until:]
    request = replace(signed, query=changed) if where == "query" else with_header(signed, where, changed)
    try:
        verify(request)
    except (MissingAuthentication, IncompleteSignature, UnknownClient, InvalidSignature):
        return
    # White space in a header, the order in a query, and what is not signed, do not count.
    assert sorted(changed.split("&")) == sorted(text.split("&")) or where != "query"


@BOTH
def test_another_secret_or_key_is_refused(signed: Request) -> None:
    with pytest.raises(InvalidSignature, match="Check the secret access key"):
        sigv4.verify(signed, {KEY: SECRET + "x"}.get, NOW)
    with pytest.raises(UnknownClient, match="does not know the access key that signs") as refused:
        sigv4.verify(signed, {"OTHER": SECRET}.get, NOW)
    assert refused.value.code == "UnrecognizedClientException"


@pytest.mark.parametrize("mistake", ["20261126/eu-west-1/transcribe", "20261125/eu-west-1/s3"])
def test_a_signature_is_for_a_day_and_a_service(mistake: str) -> None:
    right = "20261125/eu-west-1/transcribe"
    authorization = header(SIGNED, "authorization").replace(right, mistake)
    query = PRESIGNED.query.replace(quote(right, safe=""), quote(mistake, safe=""))
    for changed in (with_header(SIGNED, "authorization", authorization), replace(PRESIGNED, query=query)):
        assert changed not in (SIGNED, PRESIGNED)
        with pytest.raises(InvalidSignature, match="Credential should be scoped to"):
            verify(changed)


@pytest.mark.parametrize(
    ("signed", "seconds", "message"),
    [
        (SIGNED, 301, "Signature expired: 20261125T090000Z is now earlier than 20261125T090001Z"),
        (SIGNED, -301, "Signature not yet current: 20261125T090000Z is still later than 20261125T085959Z"),
        (PRESIGNED, 301, "Signature expired: the URL was signed at 20261125T090000Z for 300 s"),
        (PRESIGNED, -301, "Signature not yet current"),
    ],
)
def test_a_signature_is_for_its_time(signed: Request, seconds: int, message: str) -> None:
    verify(signed, NOW + timedelta(seconds=seconds - seconds // abs(seconds)))
    with pytest.raises(InvalidSignature, match=message) as refused:
        verify(signed, NOW + timedelta(seconds=seconds))
    assert refused.value.code == "InvalidSignatureException"


@pytest.mark.parametrize("expires", ["0", "301", "-1", "1.5", "", "1e2", "٣", "9" * 5000])
def test_a_url_says_for_how_long(expires: str) -> None:
    query = PRESIGNED.query.replace("X-Amz-Expires=300", f"X-Amz-Expires={quote(expires)}")
    with pytest.raises(IncompleteSignature, match="must be a number from 1 to 300"):
        verify(replace(PRESIGNED, query=query))


def test_a_request_without_a_signature_is_refused() -> None:
    with pytest.raises(MissingAuthentication, match="AWS_ACCESS_KEY_ID") as refused:
        verify(REQUEST)
    assert refused.value.code == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("AWS4-HMAC", "AWS4-ECDSA-P256"),
            "signed with AWS4-HMAC-SHA256 here, and",
        ),
        (lambda _: "Bearer abc", "and this one is not"),
        (lambda _: "", "and this one is not"),
        (lambda text: text.partition(", Signature")[0], "without its Signature"),
        (lambda text: text.replace("SignedHeaders", "Signed"), "without its SignedHeaders"),
        (lambda text: text[:-1], "64 hexadecimal digits"),
        (lambda text: text[:-1] + "é", "64 hexadecimal digits"),
        (lambda text: text.replace("/aws4_request", ""), "KEY/DAY/REGION"),
        (lambda text: text.replace("aws4_request", "aws5"), "KEY/DAY/REGION"),
        (lambda text: text.replace("AKIDEXAMPLE", ""), "KEY/DAY/REGION"),
    ],
)
def test_a_header_that_is_no_signature_is_refused(change: Callable[[str], str], message: str) -> None:
    changed = with_header(SIGNED, "authorization", change(header(SIGNED, "authorization")))
    with pytest.raises(IncompleteSignature, match=message) as refused:
        verify(changed)
    assert refused.value.code == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "date", ["", "20261125", "2026-11-25T09:00:00Z", "20261325T090000Z", "2026112\uff15T090000Z"]
)
def test_a_date_that_is_none_is_refused(date: str) -> None:
    with pytest.raises(IncompleteSignature, match="Date"):
        verify(with_header(SIGNED, "x-amz-date", date))


def test_a_part_that_comes_twice_is_refused() -> None:
    with pytest.raises(IncompleteSignature, match="'X-Amz-Date' twice"):
        verify(replace(PRESIGNED, query=f"{PRESIGNED.query}&X-Amz-Date=20261125T090000Z"))
    authorization = ("Authorization", header(SIGNED, "authorization"))
    with pytest.raises(IncompleteSignature, match="authorization more than once"):
        verify(replace(SIGNED, headers=(*SIGNED.headers, authorization)))


IN_SCOPE = "/20261125/eu-west-1/transcribe/aws4_request"
REST = f", SignedHeaders=host, Signature={'0' * 64}"


@pytest.mark.parametrize(
    "authorization",
    [
        SECRET,
        f"Bearer:{SECRET}",
        f"AWS4-HMAC-SHA256 {SECRET}",
        f"AWS4-HMAC-SHA256 Credential={SECRET}{REST}",
        f"AWS4-HMAC-SHA256 Credential={SECRET.replace('/', '')}{IN_SCOPE}{REST}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_quoted(authorization: str) -> None:
    with pytest.raises((IncompleteSignature, UnknownClient)) as refused:
        verify(with_header(SIGNED, "authorization", authorization))
    assert SECRET[:20] not in str(refused.value).replace("/", "")
    assert SECRET.replace("/", "")[:20] not in str(refused.value)


def test_the_host_must_be_signed() -> None:
    unsigned = replace(REQUEST, headers=(("x-other", "a"),))
    with pytest.raises(InvalidSignature, match="'Host' or ':authority' must be a 'SignedHeader'"):
        verify(signing.sign(unsigned, CREDENTIALS, REGION, NOW))


def test_a_signed_header_that_was_lost_is_named() -> None:
    lost = replace(SIGNED, headers=tuple(h for h in SIGNED.headers if "language" not in h[0]))
    with pytest.raises(
        InvalidSignature, match="'x-amzn-transcribe-language-code' is among the signed ones"
    ):
        verify(lost)


# Messages.


def signing_chain() -> signing.SigningChain:
    found = verify(SIGNED)
    return signing.SigningChain(found.credentials, REGION, found.signature, found.moment)


def opened(chain: SignatureChain, message: bytes, now: datetime = NOW) -> bytes:
    return chain.open(decode(message), now)


@given(st.lists(st.binary(max_size=100), max_size=5), st.integers(0, 200_000))
def test_what_is_sealed_is_opened(payloads: list[bytes], seconds: int) -> None:
    ours, theirs = signing_chain(), verify(SIGNED).chain()
    for payload in payloads:
        now = NOW + timedelta(seconds=seconds)
        assert opened(theirs, ours.seal(payload, now), now) == payload


@given(
    st.lists(st.binary(max_size=100), max_size=5),
    st.datetimes(datetime(2026, 11, 25, 9), datetime(2026, 11, 27)),
)
def test_what_amazon_transcribe_signs_is_right(payloads: list[bytes], moment: datetime) -> None:
    now = moment.replace(tzinfo=UTC)
    signed = verify(SIGNED)
    chain, prior = signed.chain(), bytes.fromhex(signed.signature)
    signer = EventSigner("transcribe", REGION, lambda: now)
    for payload in payloads:
        headers = signer.sign(payload, prior, AwslabsCredentials(KEY, SECRET))
        prior = headers[":chunk-signature"]
        message = EventStreamMessageSerializer().serialize(headers, payload)
        assert opened(chain, message, now) == payload


@given(st.data())
def test_a_message_that_is_not_the_next_is_refused(data: st.DataObject) -> None:
    ours = signing_chain()
    sealed = [ours.seal(payload, NOW) for payload in (b"a", b"b", b"c", b"")]
    place = data.draw(st.integers(0, 3))
    wrong = data.draw(st.integers(0, 3).filter(lambda other: other != place))
    theirs = verify(SIGNED).chain()
    for message in sealed[:place]:
        opened(theirs, message)
    with pytest.raises(InvalidSignature, match="The signature of a message does not match"):
        opened(theirs, sealed[wrong])
    assert opened(theirs, sealed[place]) == [b"a", b"b", b"c", b""][place], (
        "a refusal must not move the chain"
    )


def test_a_message_that_was_changed_is_refused() -> None:
    headers, payload = decode(signing_chain().seal(b"audio", NOW))
    signature = headers[":chunk-signature"]
    assert isinstance(signature, bytes)
    changed: list[tuple[dict[str, HeaderValue], bytes]] = [
        ({**headers}, b"Audio"),
        ({**headers}, b""),
        ({**headers, ":date": Timestamp(NOW.timestamp() * 1000 + 1)}, payload),
        ({**headers, ":chunk-signature": bytes(32)}, payload),
        ({**headers, ":chunk-signature": signature[:31]}, payload),
        ({**headers, ":chunk-signature": b""}, payload),
        ({**headers, "more": True}, payload),
    ]
    for each in changed:
        with pytest.raises(InvalidSignature, match="does not match"):
            verify(SIGNED).chain().open(Message(*each), NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {":date": Timestamp(0)},
        {":chunk-signature": bytes(32)},
        {":date": 0, ":chunk-signature": bytes(32)},
        {":date": Byte(0), ":chunk-signature": bytes(32)},
        {":date": Timestamp(0), ":chunk-signature": "0" * 32},
    ],
)
def test_a_message_without_signature_is_refused(headers: dict[str, HeaderValue]) -> None:
    with pytest.raises(InvalidSignature, match="A message is not signed"):
        verify(SIGNED).chain().open(Message(headers, b""), NOW)


@pytest.mark.parametrize("seconds", [-301, 3901])
def test_a_message_is_from_its_streams_time(seconds: int) -> None:
    now = NOW + timedelta(hours=1)
    early = seconds - seconds // abs(seconds)
    message = signing_chain().seal(b"a", NOW + timedelta(seconds=early))
    assert opened(verify(SIGNED).chain(), message, now) == b"a"
    message = signing_chain().seal(b"a", NOW + timedelta(seconds=seconds))
    with pytest.raises(InvalidSignature, match="before its stream began, or later than now"):
        opened(verify(SIGNED).chain(), message, now)


@pytest.mark.parametrize("date", [2**63 - 1, -(2**63)])
def test_a_date_beyond_all_calendars_is_refused(date: int) -> None:
    message = encode({":date": Timestamp(date), ":chunk-signature": bytes(32)})
    with pytest.raises(InvalidSignature, match="Set the client's clock"):
        opened(verify(SIGNED).chain(), message)


# Secrets.


def test_no_secret_is_shown() -> None:
    signed = verify(SIGNED)
    shown = repr([CREDENTIALS, SIGNED, PRESIGNED, signed, signed.chain()])
    for secret in (SECRET, TOKEN, "a%20session", signed.signature):
        assert secret not in shown


@BOTH
def test_no_error_shows_a_secret(signed: Request) -> None:
    for changed in changes(signed):
        with pytest.raises(TranscribedError) as refused:
            verify(changed)
        shown = repr([refused.value, refused.value.__cause__])
        assert SECRET not in shown
        assert verify(signed).signature not in shown


def test_a_log_shows_a_url_that_is_of_no_use() -> None:
    assert sigv4.redacted(PRESIGNED.query) == (
        "language-code=en-US&sample-rate=16000&X-Amz-Algorithm=…&X-Amz-Credential=…&"
        "X-Amz-Date=20261125T090000Z&"
        "X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Security-Token=…&X-Amz-Signature=…"
    )
    assert sigv4.redacted("x%2Damz-signature=a&X-AMZ-SIGNATURE") == "x%2Damz-signature=…&X-AMZ-SIGNATURE=…"
    assert sigv4.redacted("") == ""
    assert sigv4.redacted("a=b=c&d") == "a=b=c&d"
