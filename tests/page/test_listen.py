"""Listening: what is said into the microphone is read on the page."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from environments import CLIENTS, node_environment
from playwright.sync_api import Page, expect
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.page.conftest import Watch

LAST_WORD = re.compile("sick")
SAID = "it was followed by remorse i tried to drive it away i felt too sick"
LINES = "[...document.querySelectorAll('.line .said')].map((said) => said.textContent).filter(Boolean)"
SERIOUS = {"serious", "critical"}


def plain(text: str) -> str:
    """Words alone."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def focus_with_tab(page: Page, selector: str) -> None:
    """Come to an element as somebody without a pointer does."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab does not come to {selector}.")


def problems(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    axe = node_environment(CLIENTS) / "axe-core" / "axe.min.js"
    page.evaluate(axe.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def test_words_appear_as_they_are_said_and_are_those_of_the_transcript(
    page: Page, server: "Server"
) -> None:
    focus_with_tab(page, ".listen-button")
    page.keyboard.press("Space")
    expect(page.locator(".line.open .unsettled").filter(has_text=re.compile(r"\w"))).to_be_visible()
    expect(page.locator(".line:not(.open)").filter(has_text=LAST_WORD)).to_be_visible()
    expect(page.locator("#live-dot")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text(LAST_WORD)
    assert float(page.locator(".level-bar").evaluate("(bar) => bar.getBoundingClientRect().width")) >= 0
    page.keyboard.press("Space")
    transcript = page.get_by_role("link", name="Open the transcript")
    identity = (transcript.get_attribute("href") or "").rpartition("/")[2]
    shown = page.evaluate(LINES)
    assert shown == server.http.get(f"/transcripts/{identity}.txt").text.splitlines()
    assert plain(" ".join(shown)).startswith(SAID)
    times = page.locator(".line time").all_text_contents()
    assert times == sorted(times)

    # They are kept when the page is loaded again, and until they are cleared, which can be undone.
    page.reload()
    expect(page.locator(".line").first).to_be_visible()
    assert page.evaluate(LINES) == shown
    page.get_by_role("button", name="Clear the captions").click()
    expect(page.locator(".line")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate(LINES) == shown


def test_without_permission_the_page_says_what_to_do(new_page: Callable[..., Page]) -> None:
    page = new_page(permissions=())
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="The microphone is not allowed")).to_contain_text(
        "Allow it"
    )
    assert problems(page) == []


def test_from_another_machine_without_tls_the_page_says_what_to_do(
    new_page: Callable[..., Page], server: "Server", watch: "Watch"
) -> None:
    # The browser is told that this address, which is nobody's, is this machine: the page cannot know.
    watch.origin = f"192.0.2.1:{server.address[1]}"
    watch.expected = ["Cross-Origin-Opener-Policy header has been ignored"]
    page = new_page(f"http://{watch.origin}/", permissions=())
    expect(page.get_by_role("alert").filter(has_text="--tls")).to_contain_text("https")


def test_a_full_server_is_waited_for_and_one_that_dies_loses_no_words(
    new_page: Callable[..., Page],
    watch: "Watch",
    run_server: "Callable[..., AbstractContextManager[Server]]",
    free_port: int,
) -> None:
    watch.origin = f"127.0.0.1:{free_port}"
    watch.expected = [
        "ERR_CONNECTION_REFUSED",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
        "WebSocket connection",
    ]
    said = page_status = None
    with run_server("--max-sessions", "1", port=free_port) as first:
        page = new_page(first.url)
        said, page_status = page.locator(".lines"), page.locator(".status-text")
        with connect(f"{first.stream_url}?format=json") as other:
            other.send(bytes(3200))
            page.get_by_role("button", name="Listen", exact=True).click()
            expect(page_status).to_contain_text("No more live streams can be served well")
            expect(page_status).to_contain_text("Trying again in")
        expect(said).to_contain_text("remorse")
        before = page.evaluate(LINES)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(10)
        expect(page_status).to_contain_text("Reconnecting")
        expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    assert len(page.evaluate(LINES)) >= len(before)
    with run_server(port=free_port) as second:
        expect(page_status).to_contain_text("Listening")
        expect(page.locator(".line:not(.open)").filter(has_text=LAST_WORD).first).to_be_visible()
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_role("button", name="Listen", exact=True)).to_be_enabled()
        shown = plain(" ".join(page.evaluate(LINES)))
        assert SAID in shown, shown
        second.assert_no_errors()


def test_with_keys_the_page_asks_for_one_and_keeps_it_in_the_session(
    new_page: Callable[..., Page],
    watch: "Watch",
    run_server: "Callable[..., AbstractContextManager[Server]]",
    tmp_path: Path,
) -> None:
    keys, script = tmp_path / "keys", tmp_path / "script.json"
    keys.write_text("reader tr_of_nobody_else_0123456789 admin\n")
    script.write_text('{"events": [{"at": 0.1, "text": "Heard with a key.", "final": true}]}')
    options = ["--access-keys", str(keys), "--engine", "scripted", "--script", str(script)]
    watch.expected = ["401", "403"]
    with run_server(*options) as guarded:
        watch.origin = "{}:{}".format(*guarded.address)
        page = new_page(guarded.url)
        field = page.get_by_label("Access key")
        field.fill("wrong")
        field.press("Enter")
        expect(page.get_by_role("alert").filter(has_text=re.compile("key"))).to_be_visible()
        assert problems(page) == []
        field.fill("tr_of_nobody_else_0123456789")
        field.press("Enter")
        expect(field).to_have_count(0)
        page.get_by_role("button", name="Listen", exact=True).click()
        expect(page.locator(".line:not(.open)")).to_contain_text("Heard with a key.")
        assert page.evaluate("localStorage.length") == 0
        page.get_by_role("button", name="For developers").click()
        page.get_by_role("button", name="Programs").click()
        code = page.get_by_label("The program")
        expect(code).to_contain_text("YOUR_KEY")
        page.get_by_label("Show my key").check()
        expect(code).to_contain_text("tr_of_nobody_else_0123456789")
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_role("link", name="Open the transcript")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Access key")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


def test_a_viewer_who_joins_late_reads_what_was_said_and_then_the_rest(
    page: Page, new_page: Callable[..., Page]
) -> None:
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".status-text")).to_have_text("Listening")
    page.get_by_role("button", name="Share these captions").click()
    link = page.get_by_label("Link for viewers")
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Share", exact=True).click()
    expect(link).to_have_value(re.compile("/live/.+"))
    page.keyboard.press("Escape")
    expect(page.locator(".line:not(.open)").filter(has_text=LAST_WORD)).to_be_visible()
    viewer = new_page(link.input_value(), viewport={"width": 360, "height": 640})
    expect(viewer.locator(".lines")).to_contain_text(LAST_WORD)
    expect(viewer.locator("#state")).to_have_text("Live")
    assert problems(viewer) == []
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(viewer.locator("#state")).to_have_text("Ended")
    assert viewer.evaluate(LINES) == page.evaluate(LINES)
    viewer.goto("/live/unknown")
    expect(viewer.get_by_role("alert")).to_contain_text("Ask for a new link")


@pytest.fixture
def scripted(
    run_server: "Callable[..., AbstractContextManager[Server]]", watch: "Watch", tmp_path: Path
) -> "Iterator[Server]":
    """A server with room for one live stream, that hears the same words at the beginning of each."""
    script = tmp_path / "script.json"
    script.write_text('{"events": [{"at": 0.1, "text": "Said once.", "final": true}]}')
    with run_server("--engine", "scripted", "--script", str(script), "--max-sessions", "1") as server:
        watch.origin = "{}:{}".format(*server.address)
        yield server


def test_what_was_said_before_stop_is_heard_when_a_full_server_has_room(
    new_page: Callable[..., Page], scripted: "Server"
) -> None:
    page = new_page(scripted.url)
    with connect(f"{scripted.stream_url}?format=json") as other:
        other.send(bytes(3200))
        page.get_by_role("button", name="Listen", exact=True).click()
        expect(page.locator(".status-text")).to_contain_text("Trying again in")
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator(".status-text")).to_contain_text("Waiting for the server")
    expect(page.locator(".line:not(.open)")).to_have_text(re.compile("Said once."))
    expect(page.get_by_role("link", name="Open the transcript")).to_be_visible()
    expect(page.locator(".remark")).to_have_count(0)


def test_who_stops_sharing_ends_the_viewers_page_and_not_the_own_captions(
    new_page: Callable[..., Page], scripted: "Server"
) -> None:
    page = new_page(scripted.url)
    page.get_by_role("button", name="Share these captions").click()
    page.get_by_role("button", name="Share", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Listen", exact=True).click()
    page.get_by_role("button", name="Share these captions").click()
    link = page.get_by_label("Link for viewers")
    expect(link).to_have_value(re.compile("/live/.+"))
    viewer = new_page(link.input_value())
    expect(viewer.locator("#state")).to_have_text("Live")
    expect(viewer.locator(".lines")).to_contain_text("Said once.")
    sockets: list[str] = []
    viewer.on("websocket", lambda socket: sockets.append(socket.url))
    page.get_by_role("button", name="Stop sharing").click()
    expect(link).to_be_hidden()
    expect(viewer.locator("#state")).to_have_text("Ended")
    expect(viewer.locator(".remark")).to_contain_text("The captions have ended.")
    page.keyboard.press("Escape")
    expect(page.locator(".status-text")).to_have_text("Listening")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Listen", exact=True)).to_be_enabled()
    assert sockets == []


def test_a_connection_has_stalled_when_nothing_of_a_backlog_is_sent(page: Page) -> None:
    found = page.evaluate(
        """async () => {
          const { stalling } = await import("/web/connection.js");
          const isStalled = stalling(0);
          let [given, waiting] = [120 * 32000, 120 * 32000]; // What two minutes without a connection left.
          const seen = [];
          for (let second = 1; second <= 60; second += 1) {
            given += 32000;
            waiting += second <= 40 ? 32000 - 50000 : 32000;
            seen.push(isStalled(given, waiting, 1000 * second));
          }
          return seen.indexOf(true);
        }"""
    )
    assert 40 + 10 <= found <= 40 + 20


def test_a_connection_that_is_given_up_comes_back_after_a_wait(page: Page) -> None:
    states = page.evaluate(
        """async () => {
          const { connect } = await import("/web/connection.js");
          const { socketUrl } = await import("/web/api.js");
          const states = [];
          await new Promise((resolve) => {
            const link = connect({
              address: () => socketUrl("stream", { format: "json" }),
              onmessage() {},
              onstate(state, { seconds = 0 }) {
                states.push([state, seconds > 0.1]);
                if (state === "open") setTimeout(() => (states.length < 4 ? link.drop() : link.close()));
                if (state === "closed") resolve();
              },
            });
          });
          return states;
        }"""
    )
    assert states == [
        ["connecting", False],
        ["open", False],
        ["waiting", True],
        ["connecting", False],
        ["open", False],
        ["closed", False],
    ]


def test_words_whose_sound_is_not_sent_again_stay(page: Page) -> None:
    found = page.evaluate(
        """async () => {
          const { createCaptions } = await import("/web/captions.js");
          const result = (id, begin, text, IsPartial) => ({
            ResultId: id, StartTime: begin, EndTime: begin + 2, IsPartial,
            Alternatives: [{ Transcript: text }] });
          return [5, 150].map((resumed) => {
            const captions = createCaptions();
            document.body.append(captions.element);
            captions.result(result("a-0", 10, "lost words", true));
            captions.interrupted();
            captions.resumed(resumed);
            captions.result(result("b-0", 200 - resumed, "later words", false), resumed);
            return captions.text;
          });
        }"""
    )
    assert found == ["later words", "lost words\nlater words"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_and_nothing_is_wider_than_a_phone(
    new_page: Callable[..., Page], scheme: str
) -> None:
    page = new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert problems(page) == []
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".line").first).to_be_visible()
    page.get_by_role("button", name="For developers").click()
    message = page.locator(".messages summary").filter(has_text=re.compile("Partial|Final")).first
    message.click()
    expect(page.locator(".messages pre").first).to_contain_text("Alternatives")
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Programs").click()
    expect(page.get_by_label("The program")).to_contain_text("/stream?format=json")
    assert problems(page) == []
    page.get_by_role("button", name="Large type").click()
    assert (
        page.locator(".line .said").first.evaluate("(said) => parseFloat(getComputedStyle(said).fontSize)")
        >= 32
    )
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Listen", exact=True)).to_be_enabled()
