"""The main paths of the page in Firefox, with a microphone of the machine."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from tests.conftest import Server

SAID = re.compile("sick")
LINES = "[...document.querySelectorAll('.line .said')].map((said) => said.textContent).filter(Boolean)"
LONG = 30_000


def test_what_is_said_is_read_by_the_speaker_and_by_a_viewer(
    new_firefox_page: Callable[..., Page], speak: Callable[[], None], server: "Server"
) -> None:
    page = new_firefox_page()
    page.get_by_role("button", name="Share these captions").click()
    page.get_by_role("button", name="Share", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator(".status-text")).to_have_text("Listening")
    speak()
    expect(page.locator(".line.open .unsettled").filter(has_text=re.compile(r"\w"))).to_be_visible()
    expect(page.locator(".level")).not_to_have_js_property("value", 0)
    expect(page.locator(".line:not(.open)").filter(has_text=SAID)).to_be_visible()

    page.get_by_role("button", name="Share these captions").click()
    viewer = new_firefox_page(page.get_by_label("Link for viewers").input_value())
    expect(viewer.locator(".lines")).to_contain_text(SAID)
    expect(viewer.locator("#state")).to_have_text("Live")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(viewer.locator("#state")).to_have_text("Ended")
    link = page.get_by_role("link", name="Open the transcript").get_attribute("href") or ""
    shown = page.evaluate(LINES)
    assert shown == viewer.evaluate(LINES)
    assert shown == server.http.get(f"/transcripts/{link.rpartition('/')[2]}.txt").text.splitlines()


def test_the_sample_is_transcribed_and_a_word_of_it_is_heard(
    new_firefox_page: Callable[..., Page], server: "Server"
) -> None:
    page = new_firefox_page("/#/library")
    page.evaluate(
        """() => {
          window.grown = [];
          new MutationObserver(() => {
            const length = document.querySelector(".segments")?.textContent.length ?? 0;
            if (length > (grown.at(-1) ?? 0)) grown.push(length);
          }).observe(document.body, { childList: true, characterData: true, subtree: true });
        }"""
    )
    page.get_by_role("button", name="Try a sample").click()
    page.wait_for_url("**/#/transcript/*", timeout=LONG)
    transcript = server.http.get(f"/transcripts/{page.url.rpartition('/')[2]}.json").json()
    items = [
        item
        for result in transcript["Transcript"]["Results"]
        for item in result["Alternatives"][0]["Items"]
        if item["Type"] == "pronunciation"
    ]
    expect(page.locator(".segment .word").nth(len(items) - 1)).to_be_attached()
    assert len(page.evaluate("grown")) >= 2
    place = len(items) // 2
    begin = items[place]["StartTime"]
    player = page.locator("audio")
    page.wait_for_function("document.querySelector('audio').readyState >= 2")
    page.locator(".segment .word").nth(place).click()
    expect(page.locator(".word.playing")).to_have_count(1)
    page.keyboard.press("Escape")
    assert begin <= player.evaluate("(audio) => audio.currentTime") < begin + 2
