"""A page that transcribes with OpenAI's package, and a secret that a program made for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from environments import CLIENTS, node_environment, run
from playwright.sync_api import Browser

if TYPE_CHECKING:
    from tests.conftest import Server

SESSION = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}


def test_a_page_opens_a_session_with_a_client_secret(
    browser: Browser,
    run_server: "Callable[..., AbstractContextManager[Server]]",
    free_port: int,
    tmp_path: Path,
) -> None:
    """The package selects TLS and shows the secret as a subprotocol, which browsers want confirmed."""
    script, keys, bundle = tmp_path / "script.json", tmp_path / "keys", tmp_path / "bundle.js"
    script.write_text('{"events": [{"at": "end", "text": "first", "final": true}]}')
    keys.touch(0o600)
    keys.write_text("app a-key-of-this-test\n")
    esbuild = node_environment() / ".bin" / "esbuild"
    run([str(esbuild), str(CLIENTS / "javascript" / "openai_page.mjs"), "--bundle", f"--outfile={bundle}"])
    options = ("--engine", "scripted", "--script", str(script), "--access-keys", str(keys))
    with (
        run_server(*options, "--tls", "--tls-port", str(free_port)) as server,
        browser.new_context(ignore_https_errors=True) as context,
    ):
        made = server.http.post("/v1/realtime/client_secrets", json={"session": SESSION}).json()
        page = context.new_page()
        page.goto(f"https://localhost:{free_port}/")
        page.evaluate(bundle.read_text())
        base = f"https://localhost:{free_port}/v1"
        said = page.evaluate("([base, secret]) => window.transcribe(base, secret)", [base, made["value"]])
        assert said == "first"
        server.assert_no_errors()
