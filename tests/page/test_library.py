"""Files on the page: upload, hear, search, correct, download, rename and delete."""

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import srt
import webvtt
from playwright.sync_api import Page, Route, WebSocketRoute, expect
from tests.page.conftest import KEYS
from tests.page.test_listen import problems
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.page.conftest import Watch

NewPage = Callable[..., Page]

DATA = Path(__file__).parents[1] / "data"
LONG = 30_000
"""Milliseconds within which a recording of some seconds is recognised on a busy machine."""


def stored(server: "Server", name: str, source: str) -> str:
    """The name of a recording that the server has, from a file of the tests' data."""
    server.upload(name, (DATA / source).read_bytes())
    return name


@pytest.fixture(scope="session")
def transcribed_recording(server: "Server") -> Callable[[str, bytes], dict[str, Any]]:
    """Stores a recording, has it transcribed, and returns the transcript as the server has it."""

    def transcribe(name: str, content: bytes) -> dict[str, Any]:
        server.upload(name, content)
        with connect(f"{server.stream_url}?format=json") as stream:
            stream.send(name)
            while "Done" not in (message := json.loads(stream.recv(timeout=30))):
                assert "Transcript" in message, message
        found: dict[str, Any] = server.http.get(f"/transcripts/{message['Done']['SessionId']}").json()
        return found

    return transcribe


@pytest.fixture(scope="module")
def speech(
    server: "Server", transcribed_recording: Callable[[str, bytes], dict[str, Any]]
) -> dict[str, Any]:
    """The whole transcript of a recording, "And so, my fellow Americans, ...", as the server has it."""
    return transcribed_recording("speech.mp3", (DATA / "jfk.mp3").read_bytes())


def opened(new_page: NewPage, transcript: dict[str, Any], query: str = "") -> Page:
    page = new_page(f"/#/transcript/{transcript['SessionId']}{query}")
    expect(page.locator(".segment .word").first).to_be_visible()
    return page


def until(page: Page, condition: str) -> None:
    """Wait until a condition on `audio`, the page's player, holds. (The page's policy forbids `eval`.)"""
    page.evaluate(
        f"""async () => {{
          for (const end = Date.now() + {LONG}; Date.now() < end; ) {{
            const audio = document.querySelector("audio");
            if (audio && {condition}) return;
            await new Promise(requestAnimationFrame);
          }}
          throw new Error("It never was so.");
        }}"""
    )


def text_of(page: Page) -> str:
    return " ".join(page.locator(".segment-text").all_inner_texts())


def downloaded(page: Page, form: str, name: str) -> str:
    """A transcript as it is downloaded, in a form of the menu."""
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as downloading:
        page.get_by_role("menuitem", name=form).click()
    assert downloading.value.suggested_filename == name
    return Path(downloading.value.path()).read_text()


@pytest.mark.parametrize("source", ["test.wav", "jfk.mp3", "cases/antiphase.m4a"])
def test_a_file_is_uploaded_and_its_words_appear(new_page: NewPage, server: "Server", source: str) -> None:
    name = f"page-{Path(source).name}"
    page = new_page("/#/library")
    content = (DATA / source).read_bytes()
    page.set_input_files(
        "input[type=file]", files=[{"name": name, "mimeType": "audio/mpeg", "buffer": content}]
    )
    page.wait_for_url("**/#/transcript/*", timeout=LONG)
    expect(page.get_by_role("heading", level=1)).to_have_text(name)

    transcript = page.url.rsplit("/", 1)[1]
    said = server.http.get(f"/transcripts/{transcript}.txt").text.split()
    assert said
    assert text_of(page).split() == said
    expect(page.get_by_label("Position in the recording")).to_be_visible()
    expect(page.locator(".player-times")).to_contain_text(re.compile(r"/ 0:\d\d"))


def test_files_are_dropped_anywhere(new_page: NewPage) -> None:
    page = new_page("/#/listen")
    expect(page.get_by_role("main").get_by_role("button").first).to_be_visible()
    content = base64.b64encode((DATA / "test.wav").read_bytes()).decode()
    page.evaluate(
        """(content) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          for (const name of ["dropped-one.wav", "dropped-two.wav"])
            dataTransfer.items.add(new File([bytes], name));
          const how = { dataTransfer, bubbles: true, cancelable: true };
          const taken = ["dragenter", "dragover", "drop"].map(
            (kind) => !document.body.dispatchEvent(new DragEvent(kind, how)));
          if (!taken[1] || !taken[2]) throw new Error("The browser would go to the file.");
        }""",
        content,
    )
    for name in ("dropped-one.wav", "dropped-two.wav"):
        found = page.locator(".library-list").get_by_role("link", name=name)
        expect(found).to_be_visible(timeout=LONG)


def test_a_second_file_of_the_same_name_replaces_nothing(new_page: NewPage, server: "Server") -> None:
    first = (DATA / "test.wav").read_bytes()
    server.upload("twice.wav", first)
    page = new_page("/#/library")
    page.set_input_files(
        "input[type=file]",
        files=[
            {"name": "twice.wav", "mimeType": "audio/wav", "buffer": (DATA / "telephone.wav").read_bytes()}
        ],
    )
    page.wait_for_url("**/#/transcript/*", timeout=LONG)
    expect(page.get_by_role("heading", level=1)).to_have_text("twice (2).wav")
    assert server.http.get("/audio/twice.wav").content == first


def test_what_is_no_audio_is_refused_with_the_servers_reason(new_page: NewPage, watch: "Watch") -> None:
    watch.expected.append("415")
    page = new_page("/#/library")
    page.set_input_files(
        "input[type=file]", files=[{"name": "letter.wav", "mimeType": "audio/wav", "buffer": b"Dear Sir"}]
    )
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(row.get_by_text(re.compile("audio|format", re.IGNORECASE)).first).to_be_visible(timeout=LONG)
    expect(row.get_by_role("button", name="Try again")).to_be_visible()
    row.get_by_role("button", name="Close").click()
    expect(row).to_have_count(0)


def test_what_is_tried_again_is_not_uploaded_again(new_page: NewPage, server: "Server") -> None:
    refused: list[WebSocketRoute] = []

    def answer(socket: WebSocketRoute) -> None:
        if refused:
            socket.connect_to_server()
            return
        refused.append(socket)
        error = {"Code": "InternalFailureException", "Message": "The recognition has failed."}
        socket.on_message(lambda _: socket.send(json.dumps({"Error": error})))

    page = new_page("/health")
    page.route_web_socket(re.compile("/stream"), answer)
    page.goto("/#/library")
    content = (DATA / "test.wav").read_bytes()
    page.set_input_files(
        "input[type=file]", files=[{"name": "again.wav", "mimeType": "audio/wav", "buffer": content}]
    )
    page.wait_for_url("**/#/recording/again.wav", timeout=LONG)
    page.get_by_role("link", name="Library").click()
    page.get_by_role("searchbox").fill("again.wav")
    page.get_by_role("radio", name="Recordings").check()
    page.locator(".library-list").get_by_role("link", name="again.wav").click()
    expect(page.get_by_text("The recognition has failed.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.get_by_role("link", name="Library").click()
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(row).to_contain_text("The recognition has failed.")
    row.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/#/transcript/*", timeout=LONG)
    expect(page.get_by_role("heading", level=1)).to_have_text("again.wav")
    assert [name for name in server.stored if "again" in name] == ["again.wav"]


def test_what_was_stored_though_its_answer_was_lost_is_not_uploaded_again(
    new_page: NewPage, server: "Server", watch: "Watch"
) -> None:
    watch.expected.append("ERR_FAILED")
    content = (DATA / "test.wav").read_bytes()

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            server.upload("lost.wav", content)
            route.abort()
        else:
            route.continue_()

    page = new_page("/#/library")
    page.route("**/audio", answer)
    page.set_input_files(
        "input[type=file]", files=[{"name": "lost.wav", "mimeType": "audio/wav", "buffer": content}]
    )
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    row.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/#/transcript/*", timeout=LONG)
    assert [name for name in server.stored if "lost" in name] == ["lost.wav"]


def test_a_recording_that_has_a_transcript_is_opened_with_one_player(
    new_page: NewPage, speech: dict[str, Any]
) -> None:
    assert speech["Recording"] == "speech.mp3"
    page = new_page("/#/library?tab=recordings")
    peaks: list[str] = []
    page.on("request", lambda request: peaks.append(request.url) if "/peaks" in request.url else None)
    page.get_by_role("searchbox").fill("speech.mp3")
    page.get_by_role("link", name="speech.mp3").click()
    expect(page.locator(".segment .word").first).to_be_visible()
    until(page, "audio.readyState >= 1")
    assert len(peaks) == 1


def test_a_word_that_is_clicked_is_heard_from_its_start(new_page: NewPage, speech: dict[str, Any]) -> None:
    page = opened(new_page, speech)
    items = [item for r in speech["Transcript"]["Results"] for item in r["Alternatives"][0]["Items"]]
    word = next(item for item in items if item["Content"] == "country")
    until(page, "audio.readyState >= 2")
    page.locator(".word", has_text="country").first.click()
    played = "document.querySelector('audio').currentTime"
    until(page, f"!audio.paused && audio.currentTime > {word['StartTime']}")
    expect(page.locator(".word.playing")).to_have_count(1)
    page.keyboard.press("Escape")
    until(page, "audio.paused")
    assert word["StartTime"] <= page.evaluate(played) < word["StartTime"] + 2

    page.locator(".word", has_text="country").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("F1")
    assert page.evaluate(played) < word["StartTime"] - 3
    page.keyboard.press("F3")
    assert page.evaluate("document.querySelector('audio').playbackRate") == 0.9


def test_a_region_that_is_dragged_is_played_in_a_loop(new_page: NewPage, speech: dict[str, Any]) -> None:
    page = opened(new_page, speech)
    until(page, "audio.readyState >= 2")
    wave = page.get_by_label("Position in the recording")
    box = wave.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.53, box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Loop a segment")).to_have_attribute("aria-pressed", "true")
    page.evaluate(
        "() => { window.turns = 0; let last = 0; const audio = document.querySelector('audio');"
        "audio.addEventListener('seeking', () => { if (audio.currentTime < last) turns++; last = 0; });"
        "audio.addEventListener('timeupdate', () => { last = audio.currentTime; }); }"
    )
    page.keyboard.press("Escape")
    until(page, "turns >= 2")
    length = page.evaluate("document.querySelector('audio').duration")
    assert 0.45 * length < page.evaluate("document.querySelector('audio').currentTime") < 0.58 * length


def test_what_was_said_is_found_and_its_place_opened(new_page: NewPage, speech: dict[str, Any]) -> None:
    page = new_page("/#/library")
    page.get_by_role("searchbox").fill("fellow americans")
    hit = page.get_by_role("listitem").filter(has_text="speech.mp3").locator(".hits a").first
    expect(hit.locator("mark").first).to_have_text(re.compile("fellow", re.IGNORECASE))
    hit.click()
    page.wait_for_url(f"**/#/transcript/{speech['SessionId']}?t=*")
    expect(page.locator(".segment").first).to_be_in_viewport()
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("fellow americans")
    page.get_by_role("searchbox").fill("xylophone of nobody")
    expect(page.get_by_text("Nothing found")).to_be_visible()


def test_a_file_of_openais_api_is_not_shown_as_live(new_page: NewPage, server: "Server") -> None:
    files = {"file": ("sent.wav", (DATA / "test.wav").read_bytes())}
    server.http.post(
        "/v1/audio/transcriptions", data={"model": "whisper-1"}, files=files
    ).raise_for_status()
    (newest,) = server.http.get("/transcripts?source=openai&limit=1").json()["Transcripts"]
    page = new_page("/#/library")
    row = page.locator(f"a.title[href='#/transcript/{newest['SessionId']}']")
    expect(row).to_have_text("OpenAI's API")
    row.click()
    expect(page.get_by_role("heading", name="OpenAI's API, ")).to_be_visible()


def test_a_segment_is_corrected_and_the_subtitles_have_it(
    new_page: NewPage, server: "Server", transcribed_recording: Callable[[str, bytes], dict[str, Any]]
) -> None:
    transcript = transcribed_recording("corrected.wav", (DATA / "test.wav").read_bytes())
    before = transcript["Transcript"]["Results"][0]["Alternatives"][0]["Transcript"]
    page = opened(new_page, transcript)
    page.locator(".segment .word").first.dblclick()
    field = page.get_by_role("textbox", name=re.compile("Correct the segment"))
    expect(field).to_have_value(before)
    field.fill("This was\n a trial.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    expect(page.locator(".segment-text")).to_contain_text("This was a trial.")
    assert (
        server.http.get(f"/transcripts/{transcript['SessionId']}.txt").text.strip() == "This was a trial."
    )

    words = "This was a trial."
    (subtitle,) = srt.parse(downloaded(page, "Subtitles (SRT)", "corrected.srt"))
    assert subtitle.content == words
    assert timedelta(0) <= subtitle.start < subtitle.end < timedelta(seconds=2)
    (caption,) = webvtt.from_string(downloaded(page, "Subtitles for the web (VTT)", "corrected.vtt"))
    assert caption.text == words
    assert downloaded(page, "Text", "corrected.txt") == f"{words}\n"
    (result,) = json.loads(downloaded(page, "JSON, with times of words", "corrected.json"))["Transcript"][
        "Results"
    ]
    assert result["Alternatives"][0]["Transcript"] == words

    page.goto("/#/library?q=trial")
    hit = page.get_by_role("listitem").filter(has_text="corrected.wav").locator(".hits a")
    expect(hit.locator("mark")).to_have_text("trial")
    hit.click()
    expect(page.locator(".segment-text")).to_contain_text("This was a trial.")
    page.locator(".segment").hover()
    page.get_by_role("button", name="Restore the recognised text").click()
    expect(page.locator(".segment-text")).to_have_text(before)


def test_a_correction_that_cannot_be_saved_is_kept_and_saved_later(
    new_page: NewPage,
    server: "Server",
    transcribed_recording: Callable[[str, bytes], dict[str, Any]],
    watch: "Watch",
) -> None:
    watch.expected.append("ERR_INTERNET_DISCONNECTED")
    transcript = transcribed_recording("kept.wav", (DATA / "test.wav").read_bytes())
    page = opened(new_page, transcript)
    page.locator(".segment .word").first.dblclick()
    page.context.set_offline(True)
    page.keyboard.press("Control+A")
    page.keyboard.type("Kept")
    page.keyboard.press("Enter")
    expect(page.locator(".segment-text")).to_have_text("Kept not saved")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    assert server.http.get(f"/transcripts/{transcript['SessionId']}.txt").text.strip() == "Kept"


def test_a_correction_that_is_not_saved_is_shown_wherever_one_goes(new_page: NewPage) -> None:
    page = new_page("/#/library")
    found = page.evaluate(
        """async () => {
          const { Segments } = await import("/web/segments.js");
          const results = Array.from({ length: 200 }, (_, number) => ({
            ResultId: `kept-${number}`, StartTime: number * 5, EndTime: number * 5 + 4, IsPartial: false,
            Alternatives: [{ Transcript: "said", Items: [{ Type: "pronunciation", Content: "said",
              StartTime: number * 5, EndTime: number * 5 + 1 }] }] }));
          const list = document.createElement("div");
          document.getElementById("main").replaceChildren(list);
          const becomes = async (condition) => {
            for (const end = Date.now() + 20000; !condition() && Date.now() < end; )
              await new Promise(requestAnimationFrame);
          };
          const open = async (save) => {
            list.replaceChildren();
            const segments = new Segments(list, { save, onSaved() {}, onMessage() {}, onEdit() {} });
            await segments.fill(results);
            return segments;
          };
          const isLeft = () => dispatchEvent(new Event("beforeunload", { cancelable: true }));
          const found = {};

          const first = await open(async () => { throw new Error("The server is away."); });
          const line = first.at(0);
          first.edit(line);
          list.querySelector("textarea").value = "meant";
          first.leave();
          await becomes(() => line.failed);
          found.shown = line.body.textContent;
          found.leftUnsaved = isLeft();
          first.destroy();

          const saved = [];
          const again = await open(async (_, text) => { saved.push(text); return results[0]; });
          await becomes(() => again.at(0).draft === null);
          return { ...found, saved, leftSaved: isLeft() };
        }"""
    )
    assert found == {
        "shown": "meant not saved",
        "leftUnsaved": False,
        "saved": ["meant"],
        "leftSaved": True,
    }


def test_an_admin_has_the_recordings_of_others(
    new_page: NewPage, watch: "Watch", guarded: "Server", eventually: Callable[..., None]
) -> None:
    watch.expected = ["401"]
    for name in ("hers.wav", "more.wav"):
        stored(guarded, name, "test.wav")
    page = new_page(f"{guarded.url}/#/library?tab=recordings")
    page.get_by_label("Access key").fill(KEYS["boss"])
    page.keyboard.press("Enter")
    row = page.get_by_role("link", name="hers.wav")
    row.click()
    expect(page.get_by_label("Position in the recording")).to_be_visible()
    until(page, "audio.readyState >= 1")

    page.go_back()
    page.get_by_role("button", name="More: hers.wav").click()
    expect(page.get_by_role("menuitem", name="Transcribe")).to_have_count(0)
    page.get_by_role("menuitem", name="Delete").click()
    expect(row).to_have_count(0)
    expect(page.get_by_role("link", name="more.wav")).to_be_focused()
    page.keyboard.press("Control+Z")
    expect(row).to_be_focused()
    page.get_by_role("button", name="More: hers.wav").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.goto(f"{guarded.url}/health")
    eventually(lambda: guarded.http.get("/audio/hers.wav").status_code == 404, 5, "it is deleted")


def test_a_recording_is_renamed(new_page: NewPage, server: "Server") -> None:
    stored(server, "old name.wav", "test.wav")
    page = new_page("/#/library?tab=recordings")
    # The shared server has more recordings than the page shows at once.
    page.get_by_role("searchbox").fill("old name")
    expect(page.get_by_text("1 recordings found")).to_be_visible()
    page.get_by_role("button", name="More: old name.wav").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("new name.wav")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    page.get_by_role("searchbox").fill("new name")
    expect(page.get_by_role("link", name="new name.wav")).to_be_visible()
    assert server.http.get("/audio/old name.wav").status_code == 404


def test_a_deletion_is_undone_or_done_when_the_page_is_left(
    new_page: NewPage, server: "Server", eventually: Callable[..., None]
) -> None:
    stored(server, "unwanted.wav", "test.wav")
    page = new_page("/#/library?tab=recordings")
    page.get_by_role("searchbox").fill("unwanted")
    row = page.get_by_role("link", name="unwanted.wav")
    page.get_by_role("button", name="More: unwanted.wav").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row).to_be_focused()
    page.get_by_role("button", name="More: unwanted.wav").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(row).to_have_count(0)
    assert server.http.get("/audio/unwanted.wav").status_code == 200
    page.goto("/health")
    eventually(lambda: server.http.get("/audio/unwanted.wav").status_code == 404, 5, "it is deleted")


def test_the_keyboard_alone_goes_through_a_transcript(new_page: NewPage, speech: dict[str, Any]) -> None:
    page = opened(new_page, speech)
    until(page, "audio.readyState >= 2")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".segment-time").first).to_be_focused()
    page.keyboard.press("e")
    field = page.get_by_role("textbox", name=re.compile("Correct the segment"))
    expect(field).to_be_focused()
    page.keyboard.press("Alt+K")
    until(page, "!audio.paused")
    page.keyboard.press("Alt+K")
    until(page, "audio.paused")
    page.keyboard.press("Enter")
    expect(page.locator(".segment-time").first).to_be_focused()
    page.keyboard.press("l")
    until(page, "!audio.paused")
    expect(page.get_by_role("button", name="Loop a segment")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    until(page, "audio.paused")


def test_a_link_to_a_place_opens_it_there(new_page: NewPage, speech: dict[str, Any]) -> None:
    page = opened(new_page, speech, "?t=7.5")
    until(page, "audio.readyState >= 1")
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(7.5, abs=0.1)
    assert not page.evaluate("!document.querySelector('audio').paused")


def test_a_recording_without_transcript_offers_one_and_a_missing_one_says_so(
    new_page: NewPage, server: "Server", watch: "Watch"
) -> None:
    stored(server, "unheard.wav", "test.wav")
    page = new_page("/#/recording/unheard.wav")
    page.get_by_role("button", name="Transcribe").click()
    expect(page.locator(".segment-text")).to_have_text("This is a test.", timeout=LONG)
    watch.expected.append("404")
    page.goto("/#/recording/nobody.wav")
    expect(page.get_by_text("There is no such recording")).to_be_visible()


@pytest.mark.alone
def test_three_hours_are_shown_without_a_long_task(new_page: NewPage) -> None:
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    results = []
    for number in range(3000):
        start = number * 3.6
        items = [
            {
                "Type": "pronunciation",
                "Content": word,
                "Confidence": 0.5,
                "StartTime": time,
                "EndTime": time + 0.3,
            }
            for word, time in zip(words, [start + 0.38 * place for place in range(9)], strict=True)
        ]
        result = {
            "ResultId": f"long-{number}",
            "StartTime": start,
            "EndTime": start + 3.5,
            "IsPartial": False,
        }
        results.append(result | {"Alternatives": [{"Transcript": " ".join(words), "Items": items}]})
    head = {
        "SessionId": "long",
        "Recording": None,
        "Started": "2026-11-25T09:30:00Z",
        "AudioSeconds": 10800,
    }
    transcript = head | {"Ended": "2026-11-25T12:30:00Z", "Transcript": {"Results": results}}
    page = new_page("/#/library")
    page.route("**/transcripts/long.json", lambda route: route.fulfill(json=transcript))
    page.evaluate(
        """() => {
          window.tasks = [];
          new PerformanceObserver((seen) => tasks.push(...seen.getEntries().map((task) => task.duration)))
            .observe({ type: "longtask" });
          location.hash = "#/transcript/long?t=9000";
        }"""
    )
    expect(page.locator(".segment.playing")).to_be_in_viewport()
    assert page.evaluate("document.querySelectorAll('.word').length") == 3000 * len(words)
    tasks = page.evaluate("tasks")
    # The page has none of 50 ms; a busy machine may stretch a task.
    assert not [duration for duration in tasks if duration > 150], tasks


def test_axe_finds_nothing_serious(new_page: NewPage, server: "Server", speech: dict[str, Any]) -> None:
    stored(server, "axe.wav", "test.wav")
    page = opened(new_page, speech)

    def check() -> None:
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
            assert problems(page) == []

    page.locator(".segment").first.hover()
    check()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    check()
    page.keyboard.press("Escape")
    page.goto("/#/recording/axe.wav")
    expect(page.get_by_role("button", name="Transcribe")).to_be_visible()
    check()
    page.goto("/#/library?q=fellow")
    expect(page.locator(".hits").first).to_be_visible()
    check()
    page.goto("/#/library?tab=recordings")
    page.get_by_role("searchbox").fill("axe")
    page.get_by_role("button", name="More: axe.wav").click()
    expect(page.get_by_role("menuitem", name="Delete")).to_be_visible()
    check()
