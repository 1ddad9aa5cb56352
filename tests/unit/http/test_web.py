"""The pages and the files that they load."""

import asyncio
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from transcribed.http.web import routes

NAMES = sorted(file.name for file in (files("transcribed.http.web") / "static").iterdir())
PAGES = {"/": "index.html", "/live/103076a7": "live.html"}
PATHS = PAGES | {f"/web/{name}": name for name in NAMES if not name.endswith(".html")}
MOST_BYTES = 150_000


Get = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def get() -> Get:
    """Requests a path of the page's routes."""
    app = FastAPI()
    app.include_router(routes.router())

    async def requested(path: str, headers: Mapping[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return lambda path, **headers: asyncio.run(requested(path, headers))


@pytest.mark.parametrize("path", PATHS)
def test_a_file_is_served_once_and_then_known(get: Get, path: str) -> None:
    answer = get(path)
    assert answer.content == (files("transcribed.http.web") / "static" / PATHS[path]).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"
    again = get(path, **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert get(path, **{"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_a_page_may_use_a_microphone_and_runs_nothing_from_elsewhere(get: Get, path: str) -> None:
    answer = get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    assert "display-capture=(self)" in answer.headers["permissions-policy"]
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", PAGES)
def test_all_that_a_page_names_is_here(get: Get, path: str) -> None:
    page = get(path).text
    named = re.findall(r'<(?:link|script|img)\b[^>]*?(?:href|src)="([^"]*)"', page)
    assert named
    for address in named:
        assert urljoin(path, address) in PATHS, address
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", page)


def test_scripts_are_javascript_and_import_what_is_here(get: Get) -> None:
    for name in NAMES:
        if name.endswith(".js"):
            answer = get(f"/web/{name}")
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            for address in re.findall(r"""(?:\bfrom|\bimport)\s*\(?\s*["'](\.[^"']+)["']""", answer.text):
                assert urljoin(f"/web/{name}", address) in PATHS, (name, address)


def test_other_files_and_pages_without_their_path_are_not_found(get: Get) -> None:
    for path in ("/web/", "/web/index.html", "/web/routes.py", "/web/..%2froutes.py", "/web/unknown.js"):
        assert get(path).status_code == 404, path


def _loaded(names: set[str]) -> set[str]:
    """The files, and all that they import at once."""
    found: set[str] = set()
    while names:
        found |= names
        imports = {
            address
            for name in names
            if name.endswith(".js")
            for address in re.findall(r"""\bfrom\s+["']\./([^"']+)["']""", _text(name))
        }
        names = imports - found
    return found


def _text(name: str) -> str:
    return (files("transcribed.http.web") / "static" / name).read_text()


def test_every_part_of_the_page_is_small() -> None:
    for page in ("index.html", "live.html"):
        named = re.findall(
            r'<(?:link|script|img)\b[^>]*?(?:href|src)="(?:/|\.\./)?web/([^"]*)"', _text(page)
        )
        shell = _loaded({page, *named})
        modules = set(re.findall(r"""module: ["']\./([^"']+)["']""", "".join(map(_text, shell))))
        for part in modules or {page}:
            sizes = {name: len(_text(name).encode()) for name in shell | _loaded({part} & set(NAMES))}
            assert sum(sizes.values()) <= MOST_BYTES, (page, part, sizes)
