import socket
import ssl
from urllib.error import URLError

import pytest

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.moonshine.shipped import shipped_speech
from transcribed.terminal import doctor


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://transcribestreaming.eu-west-1.amazonaws.com:8443/stream-transcription-websocket",
        "https://transcribestreaming.cn-north-1.amazonaws.com.cn:8443/stream-transcription-websocket",
    ],
)
def test_a_stream_of_amazon_s_has_its_price_before_it_is_opened(endpoint: str) -> None:
    told = doctor._costs(endpoint)
    assert "15 seconds" in told
    assert "US dollars" in told
    assert "https://aws.amazon.com/transcribe/pricing" in told


@pytest.mark.parametrize("host", ["localhost", "amazonaws.com.example.org", "notamazonaws.com"])
def test_of_other_hosts_no_price_is_known(host: str) -> None:
    assert f"{host} is not Amazon's" in doctor._costs(f"https://{host}:8443/stream-transcription-websocket")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (URLError(socket.gaierror(-2, "Name or service not known")), "There is no host of a:8443"),
        (URLError(TimeoutError("timed out")), "firewall"),
        (TimeoutError("timed out"), "firewall"),
        (URLError(ssl.SSLCertVerificationError("certificate verify failed")), "AWS_CA_BUNDLE"),
        (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
    ],
)
def test_why_a_service_cannot_be_reached_is_said(error: Exception, told: str) -> None:
    if isinstance(error, URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
        error.reason.verify_message = "self-signed certificate"
    assert told in doctor._unreachable("a:8443", error)


def test_three_seconds_of_speech_are_spoken() -> None:
    speech = shipped_speech("two_cities.wav", seconds=3)
    assert len(speech) == 3 * SAMPLE_RATE
    assert abs(speech).max() > 0.05
