"""What is believed of what proxies say."""

import pytest

from transcribed.http.proxies import Forwarded, Proxies

PROXIES = Proxies.of(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.255.0.1", "::ffff:10.0.0.7", "fd00::1", "fd00::1%eth0"]
)
def test_proxies_are_known_by_their_addresses(address: str) -> None:
    assert PROXIES.include(address)


@pytest.mark.parametrize("address", ["127.0.0.2", "11.0.0.1", "::1", "203.0.113.7", ""])
def test_others_are_none(address: str) -> None:
    assert not PROXIES.include(address)
    assert not Proxies().include(address)


@pytest.mark.parametrize(
    ("fors", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        # What the client wrote itself stands in front.
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        # Proxies behind one another.
        (["198.51.100.1, 203.0.113.7, 10.0.0.2, 10.0.0.3"], "203.0.113.7"),
        # A client on the proxy's own machine.
        (["127.0.0.1"], "127.0.0.1"),
        (["10.0.0.9, 127.0.0.1"], "10.0.0.9"),
        # As Azure's and others write it.
        (["203.0.113.7:52383"], "203.0.113.7"),
        (["[2001:db8::7]:52383"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        # Nonsense, which is nobody's.
        (["unknown"], None),
        (["203.0.113.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        (["203.0.113.7, "], "203.0.113.7"),
        ([""], None),
        ([], None),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy(fors: list[str], client: str | None) -> None:
    assert PROXIES.forwarded(fors, [], []) == Forwarded(client, None, None)


@pytest.mark.parametrize(
    ("protos", "scheme"),
    [
        (["https"], "https"),
        (["HTTP"], "http"),
        (["wss"], "https"),
        (["https, http"], "http"),
        (["gopher"], None),
        ([""], None),
        ([], None),
    ],
)
def test_the_scheme_is_the_last(protos: list[str], scheme: str | None) -> None:
    assert PROXIES.forwarded([], protos, []).scheme == scheme


def test_so_is_the_host() -> None:
    assert PROXIES.forwarded([], [], ["spoofed.example, scribe.lan:8080"]).host == "scribe.lan:8080"
    assert PROXIES.forwarded([], [], ["spoofed.example", "scribe.lan"]).host == "scribe.lan"
    assert PROXIES.forwarded([], [], []).host is None


@pytest.mark.parametrize("entry", ["nginx", "10.0.0.0/33", "10.0.0.1:80"])
def test_names_are_no_setting(entry: str) -> None:
    with pytest.raises(ValueError, match=r"such as 10\.0\.0\.0/8"):
        Proxies.of([entry])
