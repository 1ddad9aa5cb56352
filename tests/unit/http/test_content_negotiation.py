import pytest

from transcribed.http.content_negotiation import negotiate

OFFERED = ["application/json", "text/plain", "text/vtt"]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/plain", "text/plain"),
        ("TEXT/Plain; charset=utf-8", "text/plain"),
        ("text/*", "text/plain"),
        ("text/vtt, */*", "text/vtt"),
        ("text/*, application/json", "application/json"),
        ("text/plain;q=0.5, text/vtt;q=0.8", "text/vtt"),
        ("text/*;q=0.9, text/plain;q=0.1", "text/vtt"),
        ("*/*, application/json;q=0", "text/plain"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/plain;q=high, text/vtt", "text/vtt"),
        ("text/plain;q=nan, text/vtt;q=0.1", "text/vtt"),
        ("text/html", None),
        ("image/*, text/plain;q=0", None),
        (",;=,", None),
    ],
)
def test_the_form_that_a_client_wants_most(header: str | None, kind: str | None) -> None:
    assert negotiate(header, OFFERED) == kind
