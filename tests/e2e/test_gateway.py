"""Two real servers: one in Amazon's place, and one whose engine it is."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from amazon_client import KEY, PCM, SECRET, Http2, Refused, Ws, finals, results
from native_client import WAIT, answer, decoded, heard, native, opened
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection

if TYPE_CHECKING:
    from tests.conftest import Server

SECOND = bytes(32_000)
DATA = Path(__file__).parents[1] / "data"


def account(url: str, secret: str = SECRET) -> dict[str, str]:
    """The environment of somebody whose Amazon is at this address."""
    return {
        "AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


@pytest.fixture
def gateway(start_server: "Callable[..., Server]") -> "Callable[..., Server]":
    """Starts servers that send audio to another."""

    def start(upstream: "Server | str", *options: str, secret: str = SECRET) -> "Server":
        url = upstream if isinstance(upstream, str) else upstream.url
        fast = ("--amazon-speed", "100")
        return start_server("--engine", "amazon", *fast, *options, settings=account(url, secret))

    return start


def numbers(server: "Server", engine: str) -> dict[str, float]:
    """The server's metrics of an engine, without the prefix."""
    return {
        sample.name.removeprefix("transcribed_"): sample.value
        for family in text_string_to_metric_families(server.http.get("/metrics").text)
        for sample in family.samples
        if sample.labels.get("engine") == engine and "pace" not in sample.labels
    }


def said(script: Path, tmp_path: Path, *texts: str) -> list[str]:
    """Options for an engine that says these, one for each second of audio."""
    path = tmp_path / f"{texts[0]}.json"
    events = [{"at": number + 1, "text": text, "final": True} for number, text in enumerate(texts)]
    path.write_text(json.dumps({"events": events}))
    return ["--engine", "scripted", "--script", str(path)]


# --- Everything that the server has, over the engine


def test_recordings_and_live_audio_are_heard_as_upstream_hears_them(
    server: "Server",
    gateway: "Callable[..., Server]",
    keys: list[str],
    start_server: "Callable[..., Server]",
) -> None:
    at = gateway(start_server(*keys))
    jfk = (DATA / "jfk.mp3").read_bytes()
    pcm = decoded(jfk).tobytes()
    direct = native(server, pcm)
    assert len(direct) > 1
    assert native(at, pcm) == direct
    at.upload("jfk.mp3", jfk)
    with opened(at) as ws:
        ws.send("jfk.mp3")
        texts, done = answer(ws)
    assert texts == direct
    assert done["AudioSeconds"] == pytest.approx(len(pcm) / 32_000, abs=0.1)
    kept = at.http.get("/transcripts").json()["Transcripts"]
    assert [each["Engine"] for each in kept] == ["amazon", "amazon"]


@pytest.mark.parametrize("client", [Http2, Ws])
def test_amazons_clients_reach_amazon_through_the_gateway(
    client: Any, server: "Server", gateway: "Callable[..., Server]", keys: list[str]
) -> None:
    at = gateway(server, *keys)
    pcm = decoded((DATA / "jfk.mp3").read_bytes()).tobytes()
    asked = {"enable-partial-results-stabilization": "true", "partial-results-stability": "medium"}
    with client(at.address, PCM | asked) as stream:
        for start in range(0, len(pcm), 3_200):
            stream.send(pcm[start : start + 3_200])
        stream.end()
        said = list(stream.events())
    assert finals(said) == native(server, pcm)
    last = list(results(said))[-1]
    assert last["ResultId"].endswith(f"-{len(finals(said)) - 1}")
    assert all(item["Stable"] for item in last["Alternatives"][0]["Items"])
    at.assert_no_errors()


def test_each_channel_is_a_stream_upstream(guarded: "Server", gateway: "Callable[..., Server]") -> None:
    at = gateway(guarded, "--amazon-streams", "2")
    apart = PCM | {"enable-channel-identification": "true", "number-of-channels": "2"}
    with Http2(at.address, apart) as stream:
        stream.send(bytes(64_000))
        stream.end()
        found = [
            (each["ChannelId"], each["Alternatives"][0]["Transcript"]) for each in results(stream.events())
        ]
    assert {("ch_0", "first"), ("ch_0", "second"), ("ch_1", "first"), ("ch_1", "second")} <= set(found)
    assert numbers(at, "amazon")["audio_sent_seconds_total"] == pytest.approx(2.0, abs=0.2)
    narrow = gateway(guarded, "--amazon-streams", "1")
    with pytest.raises(Refused) as refused, Http2(narrow.address, apart) as stream:
        list(stream.events())
    assert refused.value.name == "LimitExceededException"


def test_what_upstream_cannot_do_is_its_refusal(server: "Server", gateway: "Callable[..., Server]") -> None:
    at = gateway(server)
    health = at.http.get("/health").json()
    (amazon,) = health["engines"]
    assert "show-speaker-label" in amazon["features"]
    assert "de-DE" in health["languages"]
    for asked, message in (
        ({"show-speaker-label": "true"}, "show-speaker-label is not possible here. This engine does not"),
        ({"language-code": "de-DE"}, "language-code is 'de-DE', which this engine does not recognise"),
    ):
        with Ws(at.address, PCM | asked) as stream:
            stream.send(SECOND)
            stream.end()
            with pytest.raises(Refused) as refused:
                list(results(stream.events()))
        assert refused.value.name == "BadRequestException"
        assert message in refused.value.text
    asking = gateway(server, "--amazon-parameters", "vocabulary-name=ours show-speaker-label=true")
    texts, error = heard(asking, "", SECOND)
    assert texts == []
    assert error["Code"] == "BadRequestException"
    assert "is not possible here. This engine " in error["Message"]
    with Ws(at.address, PCM | {"language-code": "tlh"}) as stream:
        heard_of = list(stream.events())
    with pytest.raises(Refused, match=r"language-code is 'tlh'.* Ask for one of: en-US, "):
        list(results(heard_of))


def test_the_commands_send_their_audio_too(
    server: "Server",
    run: "Callable[..., subprocess.CompletedProcess[str]]",
    tmp_path: Path,
    sentence: bytes,
) -> None:
    settings = account(server.url)
    done = run("transcribe", "--engine", "amazon", str(DATA / "test.wav"), settings=settings)
    assert (done.returncode, done.stdout) == (0, "This is a test.\n"), done.stderr
    for name in ("one.wav", "two.wav", "three.wav"):
        (tmp_path / name).write_bytes(sentence)
    command = ("transcribe", "--engine", "amazon", "-o", "out", "one.wav", "two.wav", "three.wav")
    done = run(*command, settings=settings)
    assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["This is a test.\n"] * 3
    done = run("listen", "--engine", "amazon", "-", stdin=sentence, settings=settings)
    assert (done.returncode, done.stdout) == (0, "This is a test.\n"), done.stderr


# --- Cost


def test_what_is_sent_is_in_sight(
    guarded: "Server", gateway: "Callable[..., Server]", eventually: Callable[..., None]
) -> None:
    at = gateway(guarded)
    with opened(at) as ws:
        for _ in range(20):
            ws.send(SECOND[:3_200])

        def is_sent() -> bool:
            streams = at.http.get("/streams").json()
            return any(each["engine"] == "amazon" and each["sent"] > 1.8 for each in streams)

        eventually(is_sent, WAIT, "two seconds are sent")
        ws.send(b"")
        assert answer(ws)[0] == ["first", "second"]
    assert numbers(at, "amazon")["audio_sent_seconds_total"] == pytest.approx(2.0, abs=0.2)
    assert "A stream ended: 2.0 s of audio were received, and 2." in at.log.read_text()


def test_streams_elsewhere_have_a_limit_of_their_own(
    guarded: "Server", gateway: "Callable[..., Server]"
) -> None:
    assert gateway(guarded).http.get("/health").json()["places"] == 25
    at = gateway(guarded, "--amazon-streams", "1")
    with opened(at) as first:
        first.send(SECOND)
        at.wait_until_heard(1.0)
        # It sends no more, since what a server that has closed receives may take its answer along.
        with opened(at) as second:
            second.send(SECOND[:3_200])
            assert answer(second)[1] == {
                "Code": "LimitExceededException",
                "Message": "amazon is given 1 streams at once and no more, and all are running. "
                "Try again later.",
                "RetryAfter": 5,
            }
        first.send(b"")
        answer(first)
    assert heard(at, "", SECOND)[0] == ["first", "second"]


# --- Failing over


def told(ws: ClientConnection, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Messages up to the one that is waited for, while audio goes on."""
    found: list[dict[str, Any]] = []
    while not found or not until(found[-1]):
        try:
            found.append(json.loads(ws.recv(0.2)))
        except TimeoutError:
            ws.send(SECOND[:6_400])
    return found


def _warned(code: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message.get("Warning", {}).get("Code") == code


def test_the_fallback_goes_on_where_upstream_is_killed_and_hands_back(
    run_server: "Callable[..., Any]",
    gateway: "Callable[..., Server]",
    new_port: Callable[[], int],
    script: Path,
    tmp_path: Path,
) -> None:
    port = new_port()
    first = said(script, tmp_path, *(f"upstream{number}" for number in range(300)))
    second = said(script, tmp_path, *(f"again{number}" for number in range(300)))
    spoken = said(script, tmp_path, *(f"fallback{number}" for number in range(300)))
    with run_server(*first, port=port) as upstream:
        at = gateway(upstream, "--fallback", "scripted", *spoken[2:])
        with opened(at) as ws:
            told(ws, lambda message: "upstream1" in str(message))
            upstream.process.kill()
            upstream.process.wait()
            *_, warning = told(ws, _warned("FailedOver"))
            assert "scripted listens" in warning["Warning"]["Message"]
            told(ws, lambda message: "fallback1" in str(message))
            with run_server(*second, port=port):
                told(ws, _warned("HandedBack"))
                told(ws, lambda message: "again1" in str(message))
                ws.send(b"")
                assert "AudioSeconds" in answer(ws)[1]
    counted = numbers(at, "amazon")
    assert (counted["fail_overs_total"], counted["hand_backs_total"]) == (1, 1)
    assert counted["fallback_seconds_total"] > 1
    (kept,) = at.http.get("/transcripts").json()["Transcripts"]
    segments = at.http.get(f"/transcripts/{kept['SessionId']}").json()["Transcript"]["Results"]
    texts = [segment["Alternatives"][0]["Transcript"] for segment in segments]
    assert texts[0] == "upstream0"
    assert {text.rstrip("0123456789") for text in texts} == {"upstream", "fallback", "again"}
    assert [segment["ResultId"].rpartition("-")[2] for segment in segments] == [
        str(number) for number in range(len(segments))
    ]
    starts = [segment["StartTime"] for segment in segments]
    assert starts == sorted(starts)


def test_the_fallback_goes_on_where_upstream_refuses(
    guarded: "Server", gateway: "Callable[..., Server]", script: Path
) -> None:
    options = ("--fallback", "scripted", "--script", str(script))
    at = gateway(guarded, *options, secret=SECRET[::-1])
    with opened(at) as ws:
        ws.send(SECOND)
        ws.send(b"")
        first = json.loads(ws.recv(WAIT))
        assert first["Warning"]["Code"] == "FailedOver"
        assert answer(ws)[0] == ["first", "second"]
    with Ws(at.address, PCM) as stream:
        stream.send(SECOND)
        stream.end()
        assert finals(stream.events()) == ["first", "second"]
    assert heard(at, "&engine=scripted", SECOND)[0] == ["first", "second"]


def test_a_fallback_shows_nothing_that_amazon_was_to_take_out(
    guarded: "Server", gateway: "Callable[..., Server]", script: Path
) -> None:
    asked = ("--amazon-parameters", "content-redaction-type=PII")
    options = ("--fallback", "scripted", "--script", str(script), *asked)
    at = gateway(guarded, *options, secret=SECRET[::-1])
    texts, error = heard(at, "", SECOND)
    assert texts == []
    assert error["Code"] == "InvalidSignatureException"


def test_without_a_fallback_the_refusal_is_told(
    guarded: "Server", gateway: "Callable[..., Server]"
) -> None:
    at = gateway(guarded, secret=SECRET[::-1])
    texts, error = heard(at, "", SECOND)
    assert texts == []
    assert error["Code"] == "InvalidSignatureException"
    assert numbers(at, "amazon")["streams_failed_total"] == 1
    at.assert_no_errors()


# --- Starting


def test_either_engine_is_asked_for_by_name(
    server: "Server", start_server: "Callable[..., Server]", script: Path, sentence: bytes
) -> None:
    options = ("--engine", "scripted", "--script", str(script), "--also", "amazon")
    at = start_server(*options, settings=account(server.url))
    pcm = decoded(sentence).tobytes()
    assert heard(at, "", pcm)[0] == ["first", "second"]
    assert heard(at, "&engine=amazon", pcm)[0] == ["This is a test."]


def refusal(run: "Callable[..., subprocess.CompletedProcess[str]]", *command: str, **how: Any) -> str:
    done = run(*command, **how)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_what_cannot_start_says_what_to_do(
    run: "Callable[..., subprocess.CompletedProcess[str]]", free_port: int
) -> None:
    settings = account("http://127.0.0.1:9")
    where = ("--port", str(free_port))
    amazon = ("serve", *where, "--engine", "amazon")
    for command, message in (
        (("serve", *where, "--fallback", "moonshine"), "add --engine amazon, or leave --fallback out"),
        ((*amazon, "--amazon-profile", "nobody"), "The config profile (nobody) could not be found"),
        ((*amazon, "--amazon-parameters", "speakers=2"), "'speakers' is none of content-identification"),
        ((*amazon, "--amazon-language", "tlh"), "no language of Amazon's, such as en-US or de-DE"),
        ((*amazon, "--also", "vosk"), "the engines are moonshine, scripted, amazon"),
        ((*amazon, "--amazon-endpoint", f"http://localhost:{free_port}"), "is this server's own"),
    ):
        assert message in refusal(run, *command, settings=settings)
    assert "needs a region" in refusal(run, *amazon, settings=settings | {"AWS_REGION": ""})


@pytest.mark.parametrize("missing", ["botocore", "websockets"])
def test_without_the_extra_it_says_what_to_install(missing: str, environment: dict[str, str]) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from transcribed.cli import main; main()"
    command: Sequence[str] = [sys.executable, "-c", program, "transcribe", "--engine", "amazon"]
    done = subprocess.run(
        [*command, str(DATA / "test.wav")],
        env=environment | account("http://127.0.0.1:9"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"needs the package {missing}: pip install 'transcribed[amazon]'." in done.stderr
