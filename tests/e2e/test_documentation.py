"""The pages /docs and /redoc: nothing of them comes from another server."""

import json
import os
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest
from environments import CLIENTS, chromium, node_environment

if TYPE_CHECKING:
    from tests.conftest import Server

PAGES = {"/docs": "Upload a recording", "/redoc": "Upload a recording"}


class Loaded(HTMLParser):
    """What a page has its browser load, and the text of its own scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts = ""
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        named = {"src", "srcset", "data", "action", "poster", "spec-url"} | (
            {"href"} if tag == "link" else set()
        )
        self.addresses += [value for name, value in attrs if name in named and value]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts += data


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_no_other_server_and_all_it_names_is_here(server: "Server", path: str) -> None:
    answer = server.http.get(path)
    loaded = Loaded(answer.text)

    assert len(loaded.addresses) >= 2
    for address in loaded.addresses:
        assert urlsplit(address).netloc == ""
        assert server.http.get(urljoin(path, address)).status_code == 200
    assert "//" not in loaded.scripts.replace("window.location.protocol + '//'", "")
    assert '"validatorUrl": null' in loaded.scripts or path == "/redoc"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert all("http" not in sources and "*" not in sources for sources in policy.values())


@pytest.mark.parametrize(("path", "shown"), PAGES.items())
def test_a_browser_shows_it_and_asks_no_other_server(server: "Server", path: str, shown: str) -> None:
    if chromium() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed: apt-get install chromium")
        pytest.skip("Chromium is not installed (on Debian the package chromium)")
    node_environment()
    done = subprocess.run(
        ["node", "documentation.mjs", json.dumps({"url": f"{server.url}{path}", "until": shown})],
        cwd=CLIENTS / "javascript",
        env=os.environ | {"CHROMIUM": chromium() or ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "Delete a recording" in seen["text"]
    assert any(address.endswith("/openapi.json") for address in seen["requested"])
    own = (server.url, "data:", "blob:")
    assert [address for address in seen["requested"] if not address.startswith(own)] == []
