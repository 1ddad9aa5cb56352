"""Listening: what is said into the microphone is read on the page."""

import re
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import srt
from environments import CLIENTS, node_environment
from playwright.sync_api import Browser, Page, expect
from tests.page.conftest import KEYS
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.page.conftest import Watch

DATA = Path(__file__).parents[1] / "data"
LAST_WORD = re.compile("sick")
SAID = "it was followed by remorse i tried to drive it away i felt too sick"
LINES = "[...document.querySelectorAll('.line .said')].map((said) => said.textContent).filter(Boolean)"
SERIOUS = {"serious", "critical"}


def plain(text: str) -> str:
    """Words alone."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def focus_with_tab(page: Page, selector: str) -> None:
    """Come to an element as somebody without a pointer does."""
    for _ in range(40):
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
    expect(page.locator(".level")).not_to_have_js_property("value", 0)
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


def test_the_keyboard_alone_goes_from_what_is_said_to_its_subtitles(
    new_page: Callable[..., Page], scripted: "Server"
) -> None:
    page = new_page(scripted.url)
    focus_with_tab(page, ".listen-button")
    page.keyboard.press("Space")
    expect(page.locator(".line:not(.open)")).to_contain_text("Said once.")
    page.keyboard.press("Space")
    opening = page.get_by_role("link", name="Open the transcript").get_attribute("href") or ""
    focus_with_tab(page, "nav a[href$=library]")
    page.keyboard.press("Enter")
    expect(page.locator(".library-list a").first).to_be_visible()
    focus_with_tab(page, f"a[href='{opening}']")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{opening}")
    expect(page.locator(".segment .word").first).to_be_visible()

    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    field = page.get_by_role("textbox", name=re.compile("Correct the segment"))
    for before, after in (("Said once.", "Said twice."), ("Said last.", "Said at last.")):
        expect(field).to_have_value(before)
        page.keyboard.press("Control+A")
        page.keyboard.type(after)
        page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    focus_with_tab(page, "article header [aria-haspopup=menu]")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    with page.expect_download() as downloading:
        page.keyboard.press("Enter")
    subtitles = srt.parse(Path(downloading.value.path()).read_text())
    said = " ".join(subtitle.content for subtitle in subtitles)
    assert said == "Said twice. Said at last."


def test_without_worklets_the_microphone_is_recorded(
    new_page: Callable[..., Page], server: "Server"
) -> None:
    page = new_page(before="delete window.AudioWorkletNode")
    with page.expect_websocket() as socket:
        page.get_by_role("button", name="Listen", exact=True).click()
    assert "encoding=auto" in socket.value.url
    expect(page.locator(".line:not(.open)").filter(has_text=LAST_WORD)).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    transcript = page.get_by_role("link", name="Open the transcript").get_attribute("href") or ""
    shown = page.evaluate(LINES)
    assert shown == server.http.get(f"/transcripts/{transcript.rpartition('/')[2]}.txt").text.splitlines()
    assert "followed by remorse" in plain(" ".join(shown))


def test_the_sound_of_a_tab_is_heard(
    new_page: Callable[..., Page], launch: Callable[..., Browser], server: "Server", watch: "Watch"
) -> None:
    # Chromium takes a tab's picture for a camera's when it looks at the page's policy.
    watch.expected = ["camera is not allowed"]
    server.upload("tab.mp3", (DATA / "jfk.mp3").read_bytes())
    title = "A tab with sound"
    # Playwright mutes the browser, tabs that are shared too.
    choice = f"--auto-select-tab-capture-source-by-title={title}"
    page = new_page(of=launch(choice, ignore_default_args=["--mute-audio"]))
    sounding = page.context.new_page()
    sounding.goto("/#/recording/tab.mp3")
    expect(sounding.get_by_role("button", name="Play (Esc)")).to_be_enabled()
    sounding.evaluate("(title) => (document.title = title)", title)
    page.bring_to_front()
    page.get_by_label("What to listen to").select_option(label="Sound of a tab or the system…")
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".status-text")).to_have_text("Listening")
    sounding.evaluate("document.querySelector('audio').play()")
    expect(page.locator(".lines")).to_contain_text(re.compile("fellow americans", re.IGNORECASE))
    sounding.close()
    expect(page.get_by_text("The sharing of the sound has ended.")).to_be_visible()
    expect(page.get_by_role("link", name="Open the transcript")).to_be_visible()


def test_without_permission_the_page_says_what_to_do(new_page: Callable[..., Page]) -> None:
    page = new_page(permissions=())
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="The microphone is not allowed")).to_contain_text(
        "Allow it"
    )
    assert problems(page) == []


def test_without_a_microphone_the_page_says_what_to_do(
    new_page: Callable[..., Page], launch: Callable[..., Browser]
) -> None:
    page = new_page(of=launch("--disable-audio-input"))
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="No microphone was found")).to_contain_text("Connect")


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
    script: Callable[..., list[str]],
    free_port: int,
) -> None:
    watch.origin = f"127.0.0.1:{free_port}"
    watch.expected = [
        "ERR_CONNECTION_REFUSED",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
        "WebSocket connection",
    ]
    first = script({"at": 2.2, "text": "One.", "final": True}, {"at": 2.5, "text": "two"})
    second = script({"at": 1, "text": "Two three.", "final": True})
    with run_server(*first, "--max-sessions", "2", port=free_port) as server, ExitStack() as others:
        page, stopping = new_page(server.url), new_page(server.url)
        for _ in range(2):
            others.enter_context(connect(f"{server.stream_url}?format=json")).send(bytes(3200))
        for each in (page, stopping):
            each.get_by_role("button", name="Listen", exact=True).click()
            status = each.locator(".status-text")
            expect(status).to_contain_text("No more live streams can be served well")
            expect(status).to_contain_text("Trying again in")
        # What was said before Stop is heard when there is room.
        expect(stopping.locator(".timer")).to_have_text(re.compile("0:0[3-9]"))
        stopping.get_by_role("button", name="Stop", exact=True).click()
        expect(stopping.locator(".status-text")).to_contain_text("Waiting for the server")
        others.close()
        expect(stopping.get_by_role("link", name="Open the transcript")).to_be_visible()
        assert stopping.evaluate(LINES)[0] == "One."
        expect(stopping.locator(".remark")).to_have_count(0)

        expect(page.locator(".line.open")).to_contain_text("two")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
        expect(page.locator(".status-text")).to_contain_text("Reconnecting")
        # The page looks again when it is seen again, and not only every few seconds.
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
        assert page.evaluate(LINES) == ["One.", "two"]
    with run_server(*second, port=free_port) as server:
        expect(page.locator(".status-text")).to_contain_text("Listening")
        expect(page.locator(".line:not(.open)").nth(1)).to_contain_text("Two three.")
        assert page.evaluate(LINES) == ["One.", "Two three."]
        # The sound that the first server had not settled begins there.
        assert page.locator(".line time").all_text_contents() == ["0:00", "0:02"]
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_role("button", name="Listen", exact=True)).to_be_enabled()
        server.assert_no_errors()


def test_with_keys_the_page_asks_for_one_and_keeps_it_in_the_session(
    new_page: Callable[..., Page], watch: "Watch", guarded: "Server"
) -> None:
    watch.expected = ["401", "403"]
    page = new_page(guarded.url)
    field = page.get_by_label("Access key")
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_role("alert").filter(has_text=re.compile("key"))).to_be_visible()
    assert problems(page) == []
    field.fill(KEYS["boss"])
    field.press("Enter")
    expect(field).to_have_count(0)
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".line:not(.open)").first).to_contain_text("Said once.")
    assert page.evaluate("localStorage.length") == 0
    page.get_by_role("button", name="For developers").click()
    page.get_by_role("button", name="Programs").click()
    code = page.get_by_label("The program")
    expect(code).to_contain_text("YOUR_KEY")
    page.get_by_label("Show my key").check()
    expect(code).to_contain_text(KEYS["boss"])
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("link", name="Open the transcript")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Access key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_viewer_who_joins_late_reads_what_was_said_and_then_the_rest(
    new_page: Callable[..., Page], scripted: "Server"
) -> None:
    page = new_page(scripted.url)
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".status-text")).to_have_text("Listening")
    page.get_by_role("button", name="Share these captions").click()
    link = page.get_by_label("Link for viewers")
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Share", exact=True).click()
    expect(link).to_have_value(re.compile("/live/.+"))
    page.keyboard.press("Escape")
    expect(page.locator(".line:not(.open)").filter(has_text="Said once.").last).to_be_visible()
    viewer = new_page(link.input_value(), viewport={"width": 360, "height": 640})
    expect(viewer.locator(".lines")).to_contain_text("Said once.")
    expect(viewer.locator("#state")).to_have_text("Live")
    assert problems(viewer) == []
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(viewer.locator("#state")).to_have_text("Ended")
    said = page.evaluate(LINES)
    assert said[-1] == "Said last."
    assert viewer.evaluate(LINES) == said[-2:]
    viewer.goto(f"{scripted.url}/live/unknown")
    expect(viewer.get_by_role("alert")).to_contain_text("Ask for a new link")


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


def test_a_shared_session_goes_on_under_its_link_after_a_lost_connection_and_a_reload(
    new_page: Callable[..., Page], scripted: "Server"
) -> None:
    page = new_page(scripted.url)
    page.add_init_script(
        """globalThis.sockets = [];
        globalThis.WebSocket = class extends WebSocket {
          constructor(...how) {
            super(...how);
            sockets.push(this);
          }
        };"""
    )
    page.reload()
    page.get_by_role("button", name="Share these captions").click()
    page.get_by_role("button", name="Share", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Listen", exact=True).click()
    link = page.get_by_label("Link for viewers")
    expect(link).to_have_value(re.compile("/live/.+"))
    address = link.input_value()
    viewer = new_page(address)
    expect(viewer.locator("#state")).to_have_text("Live")
    expect(viewer.locator(".lines")).to_contain_text("Said once.")

    page.evaluate("sockets.at(-1).close()")
    expect(viewer.locator("#state")).to_contain_text("The speaker is away")
    expect(viewer.locator("#state")).to_have_text("Live")
    expect(page.locator(".status-text")).to_have_text("Listening")

    page.reload()
    expect(viewer.locator("#state")).to_contain_text("The speaker is away")
    assert link.input_value() == address
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(viewer.locator("#state")).to_have_text("Live")
    assert link.input_value() == address
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(viewer.locator("#state")).to_have_text("Ended")
    assert viewer.locator(".line").all_text_contents().count("0:00Said once.") == 1


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
    new_page: Callable[..., Page], scripted: "Server", scheme: str
) -> None:
    page = new_page(scripted.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert problems(page) == []
    page.get_by_role("button", name="For developers").click()
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".line").first).to_be_visible()
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
