import pytest

from transcribed.engines.amazon.request import amazon_endpoint, endpoint_at, with_parameters
from transcribed.errors import ConfigurationError

PATH = "/stream-transcription-websocket"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://localhost:8443", f"https://localhost:8443{PATH}"),
        ("https://transcribestreaming.eu-west-1.amazonaws.com", None),
        ("wss://a.example:443/", f"https://a.example:443{PATH}"),
        ("http://127.0.0.1:3000", f"http://127.0.0.1:3000{PATH}"),
        ("ws://a.example", f"http://a.example{PATH}"),
        ("HTTPS://A.example/gateway/", f"https://a.example:8443/gateway{PATH}"),
        ("http://[::1]:3000", f"http://[::1]:3000{PATH}"),
    ],
)
def test_an_endpoint_is_where_amazons_sdks_have_it(url: str, endpoint: str | None) -> None:
    assert endpoint_at(url) == (endpoint or amazon_endpoint("eu-west-1", "amazonaws.com"))


@pytest.mark.parametrize(
    "url", ["", "localhost:8443", "ftp://a", "https://", "https://a:port", "https://[a"]
)
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no URL"):
        endpoint_at(url)


def test_parameters_are_encoded_as_they_are_signed() -> None:
    found = with_parameters("https://a", {"language-options": "en-US,de-DE", "vocabulary-name": "a b"})
    assert found == "https://a?language-options=en-US%2Cde-DE&vocabulary-name=a%20b"
