"""Who is let in, by what a request says of where it goes and where it comes from."""

from dataclasses import replace

import pytest

from transcribed.errors import ForeignHost, ForeignOrigin
from transcribed.http.origins import (
    EntryRequest,
    EntryRules,
    Hosts,
    Origins,
    host_and_port,
    is_host,
    normal_origin,
)

ENTRY = EntryRules(
    Hosts.of(["mybox", "scribe.lan", "proxied.lan:8080", ".example.org", "*.wild.net"]),
    Origins.of(["https://app.example.com", "http://localhost:8000", "chrome-extension://abcdef"]),
)
ASKED = EntryRequest("GET", "/audio", "http", ["localhost:3000"], [])


def asked(host: str = "localhost:3000", origin: str | None = None, **more: str) -> EntryRequest:
    return replace(ASKED, hosts=[host], origins=[] if origin is None else [origin], **more)  # type: ignore[arg-type]


# --- Host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:3000",
        "LocalHost:3000",
        "localhost.:3000",
        "tauri.localhost",
        "127.0.0.1:3000",
        "0.0.0.0:3000",
        "192.168.1.20",
        "10.42.8.201:8000",  # a Kubernetes probe's
        "[::1]:3000",
        "[fe80::1%25eth0]:3000",
        "203.0.113.7:1",
        "mybox:3000",
        "MyBox.",
        "scribe.lan:443",
        "proxied.lan:8080",
        "example.org",
        "a.b.example.org:3000",
        "a.wild.net",
        "",  # HTTP/1.0
    ],
)
def test_a_host_of_this_servers_is_let_in(host: str) -> None:
    ENTRY.check(asked(host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "evilexample.org",
        "wild.net",
        "proxied.lan",
        "proxied.lan:3000",
        "2130706433",
        "127.1",
        "127.0.0.1%evil.example",
        "localhost@evil.example",
        "evil.example/localhost",
        "localhost:3000:80",
        "localhost, evil.example",
        "[::1",
        " ",
        "*",
    ],
)
@pytest.mark.parametrize("path", ["/audio", "/health", "/docs"])
def test_any_other_is_not(host: str, path: str) -> None:
    with pytest.raises(ForeignHost):
        ENTRY.check(asked(host, path=path))


def test_one_of_two_is_not_enough() -> None:
    with pytest.raises(ForeignHost):
        ENTRY.check(replace(ASKED, hosts=["localhost", "evil.example"]))


def test_the_error_says_what_to_do() -> None:
    with pytest.raises(ForeignHost, match=r"start it with --allow-host my_app\.internal\.$"):
        ENTRY.check(asked("my_app.internal:3000"))
    EntryRules(Hosts.of(["my_app.internal"]), Origins.of([])).check(asked("my_app.internal:3000"))


def test_all_hosts_can_be_let_in_but_what_is_none() -> None:
    every = EntryRules(Hosts.of(["*"]), Origins.of([]))
    every.check(asked("evil.example"))
    with pytest.raises(ForeignHost):
        every.check(asked("a b"))


@pytest.mark.parametrize(
    "entry", ["http://scribe.lan", "scribe.lan/", "a b", "a*b", ".scribe.lan:80", ".", "*."]
)
def test_what_is_no_host_is_no_setting(entry: str) -> None:
    assert not is_host(entry)
    with pytest.raises(ValueError, match="no host name"):
        Hosts.of([entry])


def test_addresses_need_no_entry() -> None:
    assert Hosts.of(["::1", "[::1]", "10.0.0.1", "fe80::1"]) == Hosts.of([])


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("A.b:80", ("a.b", 80)),
        ("a", ("a", None)),
        ("[::1]:8", ("::1", 8)),
        ("a:", ("a", None)),
        ("a:b", None),
    ],
)
def test_a_host_is_a_name_and_a_port(text: str, parsed: object) -> None:
    assert host_and_port(text) == parsed


# --- Origin


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://localhost:3000", "localhost:3000", "http"),
        ("https://localhost:8443", "localhost:8443", "https"),
        ("https://scribe.lan", "scribe.lan", "https"),
        ("https://scribe.lan", "scribe.lan:443", "https"),
        ("http://scribe.lan", "scribe.lan:80", "http"),
        ("http://[::1]:3000", "[::1]:3000", "http"),
        ("HTTP://LOCALHOST:3000", "localhost:3000", "http"),
        ("https://app.example.com", "localhost:3000", "http"),
        ("https://app.example.com:443", "127.0.0.1", "http"),
        ("http://localhost:8000", "localhost:3000", "http"),
        ("chrome-extension://abcdef", "localhost:3000", "http"),
    ],
)
def test_its_own_pages_and_those_allowed_may_use_it(origin: str, host: str, scheme: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        ENTRY.check(asked(host, origin, scheme=scheme, method=method))


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://evil.example", "localhost:3000", "http"),
        ("http://localhost:8001", "localhost:3000", "http"),
        ("http://127.0.0.1:3000", "localhost:3000", "http"),
        ("https://localhost:3000", "localhost:3000", "http"),
        ("http://localhost:8443", "localhost:8443", "https"),
        ("http://app.example.com", "localhost:3000", "http"),
        ("https://app.example.com.evil.example", "localhost:3000", "http"),
        ("https://app.example.com@evil.example", "localhost:3000", "http"),
        ("null", "localhost:3000", "http"),
        ("null", "null", "http"),
        ("file://", "localhost:3000", "http"),
        ("chrome-extension://other", "localhost:3000", "http"),
        ("localhost:3000", "localhost:3000", "http"),
        ("", "localhost:3000", "http"),
        ("http://", "", "http"),
        ("http://localhost:3000", "", "http"),
        ("http://localhost:3000 http://evil.example", "localhost:3000", "http"),
    ],
)
def test_any_others_may_not(origin: str, host: str, scheme: str) -> None:
    entry = EntryRules(Hosts.of([*"ab", "null"]), ENTRY.origins)
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        with pytest.raises(ForeignOrigin):
            entry.check(asked(host, origin, scheme=scheme, method=method))
    # Not even if the browser says that it is a page of this server's.
    with pytest.raises(ForeignOrigin):
        entry.check(asked(host, origin, scheme=scheme, site="same-origin"))


def test_two_origins_are_none() -> None:
    with pytest.raises(ForeignOrigin):
        ENTRY.check(replace(ASKED, origins=["http://localhost:3000", "http://evil.example"]))


@pytest.mark.parametrize(
    "path", ["/health", "/docs", "/redoc", "/openapi.json", "/docs/files/swagger-ui.css"]
)
def test_what_reveals_nothing_is_open_to_all_pages(path: str) -> None:
    ENTRY.check(asked(origin="http://evil.example", path=path))
    ENTRY.check(asked(path=path, site="cross-site"))


@pytest.mark.parametrize(
    "path", ["/", "/stream", "/health/", "/docs/", "/docsx", "/openapi.jsonx", "/live", "/metrics"]
)
def test_and_nothing_else(path: str) -> None:
    with pytest.raises(ForeignOrigin):
        ENTRY.check(asked(origin="http://evil.example", path=path))


def test_pages_of_files_and_of_all_can_be_allowed() -> None:
    def check(allowed: str, **more: str) -> None:
        EntryRules(ENTRY.hosts, Origins.of([allowed])).check(asked(**more))

    check("null", origin="null")
    check("file://", origin="file://")
    for origin in ("null", "http://evil.example", "nonsense"):
        check("*", origin=origin)
    check("*", site="cross-site")


@pytest.mark.parametrize(
    "entry",
    ["app.example.org", "https://a.example/page", "https://a.example:x", "a b", "https://*.a.example"],
)
def test_what_is_no_origin_is_no_setting(entry: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        Origins.of([entry])


def test_origins_are_compared_as_browsers_write_them() -> None:
    assert normal_origin(" HTTPS://App.Example.com:443/ ") == "https://app.example.com"
    assert normal_origin("http://a.example:443") == "http://a.example:443"
    assert not Origins.of([])


def test_the_error_says_what_to_do_where_a_proxy_hides_what_the_browser_sees() -> None:
    # A proxy that speaks TLS and hands on the name; and one that leaves out its port.
    for origin, host in (("https://scribe.lan", "scribe.lan"), ("http://scribe.lan:5555", "scribe.lan")):
        with pytest.raises(ForeignOrigin, match=r"takes itself to be http://scribe\.lan: .* --proxies"):
            ENTRY.check(asked(host, origin))
    with pytest.raises(ForeignOrigin, match=r"--allow-origin http://evil\.example\.$"):
        ENTRY.check(asked(origin="http://evil.example"))


# --- Sec-Fetch


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("method", "mode", "dest"),
    [
        ("GET", "no-cors", "audio"),
        ("GET", "no-cors", "image"),
        ("GET", "navigate", "iframe"),
        ("GET", "navigate", "object"),
        ("POST", "navigate", "document"),
        ("GET", None, None),
        ("GET", "websocket", "empty"),
    ],
)
def test_what_a_page_of_another_site_loads_without_saying_so(
    site: str, method: str, mode: str, dest: str
) -> None:
    with pytest.raises(ForeignOrigin):
        ENTRY.check(asked(method=method, site=site, mode=mode, dest=dest))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_links_can_be_followed(site: str) -> None:
    ENTRY.check(asked(site=site, mode="navigate", dest="document"))


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_its_own_pages_and_the_address_bar_go_on(site: str) -> None:
    ENTRY.check(asked(site=site, mode="no-cors", dest="audio"))


def test_programs_that_are_no_browsers_go_on() -> None:
    for method in ("GET", "POST", "DELETE", "PATCH"):
        ENTRY.check(asked(method=method))
        ENTRY.check(asked(method=method, mode="cors"))  # fetch of Node.js
