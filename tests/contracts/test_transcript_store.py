"""What every TranscriptStore owes, asked of SQLite and of a real PostgreSQL."""

import asyncio
import string
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import SHARED_FIXTURES

from transcribed.errors import BadRequest, NotFound, StorageFailure
from transcribed.principal import NOBODY
from transcribed.storage.opening import open_transcripts
from transcribed.storage.search import words_of
from transcribed.storage.transcripts import (
    Excerpt,
    OwnersTranscripts,
    Page,
    Query,
    StoredSegment,
    Transcript,
    TranscriptInfo,
    TranscriptSource,
    TranscriptStore,
)
from transcribed.transcript import Entity, LanguageScore, Segment, Word

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SECONDS = [START + second * SECOND for second in range(-1, 7)]
WORDS = (
    Word("This", start=0.1, end=0.30000000000000004, confidence=0.99, stable=True, filtered=True),
    Word("is", start=0.4, end=None, confidence=None, stable=False),
)
SCRIPTS = [
    "Grüße aus Köln",
    "Ελληνικά κείμενα",
    "русский текст",
    "עברית כתובה",
    "نص عربي",
    "हिन्दी में लिखा",
    "ภาษาไทยไม่มีช่องว่าง",
    "日本語の録音です",
    "中文录音",
    "한국어 녹음",
    "🎙 emoji 🎧",
    "e\u0301 is not precomposed",
    "'; DROP TABLE segments; -- %s %(x)s :y ? \\ {}",
    "𐌰𐌽𐌳 𠮷野家",
]


def info(id_: str, after: float = 0.0, **more: object) -> TranscriptInfo:
    made = TranscriptInfo(id_, TranscriptSource.LIVE, "moonshine", "en-US", START + after * SECOND)
    return replace(made, **more)


def said(session: str, number: int, text: str) -> Segment:
    return Segment(session, number, number * 1.5, number * 1.5 + 1, text, final=True, language="en-US")


async def keep(store: OwnersTranscripts, id_: str, *texts: str, after: float = 0.0, **more: object) -> None:
    """A transcript of some segments, which has not ended."""
    await store.add(info(id_, after, **more))
    for number, text in enumerate(texts):
        await store.append(said(id_, number, text))


async def found(store: OwnersTranscripts, **query: object) -> list[str]:
    """The ids of one page."""
    return ids(await store.page(Query(**query)))  # type: ignore[arg-type]


def ids(page: Page) -> list[str]:
    return [entry.info.id for entry in page.found]


def shown(excerpt: Excerpt) -> str:
    """An excerpt with its hits in brackets."""
    return "".join(f"[{piece}]" if hit else piece for piece, hit in excerpt.pieces)


async def texts(store: OwnersTranscripts, id_: str) -> list[str]:
    return [segment.text for segment in (await store.get(id_)).segments]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> str:
    made: str = request.getfixturevalue(f"{request.param}_place")
    return made


@pytest.fixture
def sqlite_place(tmp_path: Path) -> str:
    return str(tmp_path / "made" / "when missing" / "transcripts.db")


@pytest.fixture
async def whole(place: str) -> AsyncIterator[TranscriptStore]:
    """The store of all owners' transcripts."""
    opened = await open_transcripts(place)
    yield opened
    await opened.aclose()


@pytest.fixture
def store(whole: TranscriptStore) -> OwnersTranscripts:
    """The transcripts of one owner."""
    return whole.of("anna")


# --- What is kept


async def test_whether_there_is_a_transcript_is_known_without_reading_it(store: OwnersTranscripts) -> None:
    await store.add(info("one"))
    assert await store.has("one")
    for unknown in ("two", "on%", "", "\ud800", "\0"):
        assert not await store.has(unknown)
    await store.delete("one")
    assert not await store.has("one")


async def test_a_transcript_comes_back_as_it_was_kept(store: OwnersTranscripts, place: str) -> None:
    began = info("one", recording="speech.wav", source=TranscriptSource.FILE)
    segments = [
        Segment("one", 0, 0.1, 2.0000000000000004, "This is", final=True, language="en-US", words=WORDS),
        Segment("one", 7, 3.0, 4.25, "Ende.", final=True, language="de-DE"),
    ]
    await store.add(began)
    for segment in segments:
        await store.append(segment)
    stored = tuple(StoredSegment(segment) for segment in segments)
    assert await store.get("one") == Transcript(replace(began, audio_seconds=4.25), stored)

    await store.end("one", START + 9 * SECOND, 8.5)
    ended = replace(began, ended=START + 9 * SECOND, audio_seconds=8.5)
    assert await store.get("one") == Transcript(ended, stored)

    again = await open_transcripts(place)
    assert await again.of("anna").get("one") == Transcript(ended, stored)
    await again.aclose()


async def test_every_field_is_kept(store: OwnersTranscripts) -> None:
    entity = Entity("This", 1.25, 1.5, "PII", "NAME", 0.75)
    scores = (LanguageScore("en-GB", 0.75), LanguageScore("en-US", 0.25))
    segment = Segment(
        "one",
        3,
        1.0,
        2.0,
        "This is",
        final=True,
        language="en-GB",
        words=(replace(WORDS[0], speaker="0"), *WORDS[1:]),
        channel=1,
        entities=(entity, Entity("is", 1.5, 2.0)),
        languages=scores,
        model="base-en",
    )
    whole = info("one", ended=START + SECOND, recording="a.wav", audio_seconds=7.5)
    for value in (segment, whole, segment.words[0], entity, scores[0]):
        unset = [f.name for f in fields(value) if getattr(value, f.name) == f.default]
        assert not unset, "the test must give every field a value of its own"
    await store.add(whole)
    await store.append(segment)
    assert await store.get("one") == Transcript(whole, (StoredSegment(segment),))


async def test_a_version_is_another_one_after_each_change(store: OwnersTranscripts) -> None:
    await keep(store, "1a", "one", "two", recording="a.wav")
    await keep(store, "1b", "one", after=1)

    async def changed() -> None:
        """Do nothing."""

    versions = []
    for change in (
        changed(),
        store.append(said("1a", 2, "three")),
        store.correct("1a", 1, "2"),
        store.correct("1a", 0, "2"),
        store.correct("1a", 0, ""),
        store.end("1a", START + 9 * SECOND, 9.0),
        store.rename_recording("a.wav", "b.wav"),
    ):
        await change
        versions.append(await store.version("1a"))
        assert versions[-1] == await store.version("1a") == (await store.get("1a")).version
    assert len(set(versions)) == len(versions)
    before = await store.version("1a")
    await store.correct("1b", 0, "1")
    await store.delete("1b")
    assert await store.version("1a") == before
    for correction in (0, 1):
        await store.correct("1a", correction, None)
    assert await store.version("1a") not in versions
    await store.add(info("1c"))
    assert await store.version("1c") == (await store.get("1c")).version
    with pytest.raises(NotFound):
        await store.version("1b")


async def test_segments_are_in_the_order_of_their_numbers(store: OwnersTranscripts) -> None:
    await store.add(info("one"))
    for number in (5, 0, 100_000, 2):
        await store.append(said("one", number, str(number)))
    assert await texts(store, "one") == ["0", "2", "5", "100000"]
    assert (await store.get("one")).info.audio_seconds == 150_001.0


async def test_what_is_there_already_is_left_as_it_is(store: OwnersTranscripts) -> None:
    await keep(store, "one", "first")
    await store.add(info("one", after=60))
    await store.append(said("one", 0, "second"))
    assert await texts(store, "one") == ["first"]
    assert (await store.get("one")).info.started == START
    assert await found(store, words="second") == []
    assert await found(store, words="first") == ["one"]


@pytest.mark.parametrize("text", SCRIPTS)
async def test_names_and_texts_in_any_script(store: OwnersTranscripts, text: str) -> None:
    await keep(store, text, text, recording=text, engine=text, language=text)
    await store.correct(text, 0, text + "!")
    assert await found(store, recording=text) == [text]
    assert await found(store, words=text) == [text]
    kept = await store.get(text)
    assert kept.info.recording == kept.info.engine == kept.info.language == text
    assert kept.segments == (StoredSegment(said(text, 0, text), text + "!"),)
    await store.delete(text)
    assert await found(store) == []


@pytest.mark.parametrize("text", ["a\0b", "half \ud83c", "x" * 20_001])
async def test_a_text_that_cannot_be_kept_is_told(store: OwnersTranscripts, text: str) -> None:
    await keep(store, "one", "said")
    with pytest.raises(BadRequest):
        await store.correct("one", 0, text)
    with pytest.raises(BadRequest):
        await store.append(said("one", 1, text))
    with pytest.raises(BadRequest):
        await store.add(info("two", recording=text))
    with pytest.raises(BadRequest):
        await found(store, recording=text)
    assert await texts(store, "one") == ["said"]
    assert await found(store) == ["one"]


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda store: store.add(replace(info("x"), started=datetime(2026, 1, 1))), BadRequest),
        (lambda store: store.add(replace(info("x"), started=datetime(1969, 1, 1, tzinfo=UTC))), BadRequest),
        (lambda store: store.add(replace(info("x"), started=datetime(9999, 1, 1, tzinfo=UTC))), BadRequest),
        (lambda store: store.append(said("one", -1, "x")), BadRequest),
        (lambda store: store.append(said("one", 1 << 21, "x")), BadRequest),
        (lambda store: store.append(said("none", 0, "x")), NotFound),
        (lambda store: store.append(said("\0", 0, "x")), NotFound),
        (lambda store: store.end("none", START, 1.0), NotFound),
        (lambda store: store.end("one", datetime(2026, 1, 1), 1.0), BadRequest),
        (lambda store: store.get("none"), NotFound),
        (lambda store: store.get("\ud800"), NotFound),
        (lambda store: store.get(""), NotFound),
        (lambda store: store.correct("none", 0, "x"), NotFound),
        (lambda store: store.correct("one", 2, "x"), NotFound),
        (lambda store: store.correct("one", -1, "x"), NotFound),
        (lambda store: store.correct("one", 1 << 21, "x"), NotFound),
        (lambda store: store.delete("none"), NotFound),
        (lambda store: store.delete("on%"), NotFound),
        (lambda store: store.page(Query(since=datetime(2026, 1, 1))), BadRequest),
        (lambda store: store.page(Query(limit=0)), BadRequest),
        (lambda store: store.page(Query(limit=1001)), BadRequest),
        (lambda store: store.page(Query(before="")), BadRequest),
        (lambda store: store.page(Query(before="what")), BadRequest),
        (lambda store: store.page(Query(before="١٢")), BadRequest),
        (lambda store: store.page(Query(before="f" * 99)), BadRequest),
        (lambda store: store.page(Query(words="")), BadRequest),
    ],
)
async def test_what_cannot_be_is_told(
    store: OwnersTranscripts,
    ask: Callable[[OwnersTranscripts], Awaitable[object]],
    error: type[Exception],
) -> None:
    await keep(store, "one", "said", "and the neighbour", after=-0.001)
    await keep(store, "two", "of it")
    before = [await store.get("one"), await store.get("two")]
    with pytest.raises(error):
        await ask(store)
    assert [await store.get("one"), await store.get("two")] == before
    assert await found(store) == ["two", "one"]


async def test_ten_thousand_segments(store: OwnersTranscripts) -> None:
    await keep(store, "before", "needle")
    await store.add(info("long"))
    for start in range(0, 10_000, 500):
        batch = range(start, start + 500)
        await asyncio.gather(*(store.append(said("long", n, f"needle number {n}")) for n in batch))
    await keep(store, "after", "needle")

    kept = await store.get("long")
    assert [segment.number for segment in kept.segments] == list(range(10_000))
    assert await found(store, words="needle") == ["after", "long", "before"]
    (entry,) = (await store.page(Query(words='"number 9876"'))).found
    assert [shown(excerpt) for excerpt in entry.excerpts] == ["needle [number 9876]"]
    await store.delete("long")
    assert await found(store, words="needle") == ["after", "before"]
    assert await found(store, words="number") == []


# --- Pages


async def test_pages_are_newest_first(store: OwnersTranscripts) -> None:
    for number in (2, 0, 3, 1):
        await keep(store, str(number), after=number)
    assert await found(store) == ["3", "2", "1", "0"]


@pytest.mark.parametrize("words", [None, "words"])
async def test_pages_go_on_where_the_one_before_ended(store: OwnersTranscripts, words: str | None) -> None:
    for number in range(7):
        await keep(store, str(number), "same words", after=number // 3)
    first = await store.page(Query(words=words, limit=3))
    assert ids(first) == ["6", "5", "4"]
    await keep(store, "new", "same words", after=60)
    await store.delete("4")
    second = await store.page(Query(words=words, limit=3, before=first.next))
    assert ids(second) == ["3", "2", "1"]
    last = await store.page(Query(words=words, limit=3, before=second.next))
    assert (ids(last), last.next) == (["0"], None)
    whole = await store.page(Query(words=words, limit=4, before=first.next))
    assert (ids(whole), whole.next) == (["3", "2", "1", "0"], None)


@given(
    starts=st.lists(st.integers(0, 5), max_size=12),
    query=st.builds(
        Query,
        words=st.none() | st.just("said"),
        source=st.none() | st.sampled_from(TranscriptSource),
        since=st.none() | st.sampled_from(SECONDS),
        until=st.none() | st.sampled_from(SECONDS),
        limit=st.integers(1, 5),
    ),
)
@settings(SHARED_FIXTURES, max_examples=25)
async def test_pages_together_are_what_was_asked_for(
    whole: TranscriptStore, store: OwnersTranscripts, starts: list[int], query: Query
) -> None:
    await whole.delete_before(START + timedelta(days=1))
    kept = []
    for number, start in enumerate(starts):
        infos = info(
            str(number),
            start,
            source=TranscriptSource.FILE if number % 2 else TranscriptSource.LIVE,
            recording=f"{number % 3}",
        )
        kept.append(infos)
        await store.add(infos)
        await store.append(said(infos.id, 0, "said" if number % 4 else "written"))
    expected = [
        entry.id
        for entry in kept
        if (query.words is None or int(entry.id) % 4)
        and (query.source is None or entry.source is query.source)
        and (query.since is None or entry.started >= query.since)
        and (query.until is None or entry.started < query.until)
    ]
    pages = [await store.page(query)]
    while (following := pages[-1].next) is not None:
        pages.append(await store.page(replace(query, before=following)))
    assert all(len(page.found) == query.limit for page in pages[:-1])
    listed = [entry.info for page in pages for entry in page.found]
    assert sorted(entry.id for entry in listed) == sorted(expected)
    assert [e.started for e in listed] == sorted((e.started for e in listed), reverse=True)


async def test_any_dates_can_be_asked_for(store: OwnersTranscripts) -> None:
    await keep(store, "one", "said")
    for words in (None, "said"):
        earliest, latest = (moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))
        assert await found(store, words=words, since=earliest, until=latest) == ["one"]
        assert await found(store, words=words, since=latest) == []
        assert await found(store, words=words, until=earliest) == []
        assert await found(store, words=words, since=START, until=START) == []


async def test_a_page_shows_the_first_words(store: OwnersTranscripts) -> None:
    await keep(store, "silent")
    await store.add(info("long", after=1))
    await store.append(said("long", 3, "word " * 100))
    long, silent = (await store.page(Query())).found
    assert silent.excerpts == ()
    (excerpt,) = long.excerpts
    assert (excerpt.number, excerpt.start) == (3, 4.5)
    assert shown(excerpt) == "word " * 31 + "word…"


# --- Search


async def test_all_words_must_be_in_one_segment(store: OwnersTranscripts) -> None:
    await keep(store, "apart", "the treasure", "an island")
    await keep(store, "together", "nothing", "On this island, a treasure!")
    assert await found(store, words="island treasure") == ["together"]
    assert await found(store, words="treasure") == ["together", "apart"]


async def test_words_in_quotes_stand_one_behind_the_other(store: OwnersTranscripts) -> None:
    await keep(store, "one", "a treasure on an island")
    await keep(store, "two", "Treasure, island.")
    await keep(store, "three", "treasure", "island")
    assert await found(store, words='"treasure island"') == ["two"]
    assert await found(store, words='"island treasure"') == []


async def test_hits_are_shown_in_their_context(store: OwnersTranscripts) -> None:
    await keep(store, "one", *["Nothing.", "A treasure, my treasure!"], *["More Tréasure."] * 4)
    (entry,) = (await store.page(Query(words="treasure"))).found
    assert [(e.number, e.start, shown(e)) for e in entry.excerpts] == [
        (1, 1.5, "A [treasure], my [treasure]!"),
        (2, 3.0, "More [Tréasure]."),
        (3, 4.5, "More [Tréasure]."),
    ]


async def test_search_with_every_filter(store: OwnersTranscripts) -> None:
    await keep(store, "one", "said", recording="a.wav", source=TranscriptSource.FILE)
    await keep(store, "two", "said", after=1, recording="a.wav")
    await keep(store, "three", "said", after=2, source=TranscriptSource.FILE)
    await keep(store, "four", "written", after=3, recording="a.wav", source=TranscriptSource.FILE)
    assert await found(store, words="said", recording="a.wav") == ["two", "one"]
    assert await found(store, words="said", recording="a.wav", source=TranscriptSource.FILE) == ["one"]
    assert await found(store, words="said", since=START + SECOND) == ["three", "two"]
    assert await found(store, words="said", until=START + 2 * SECOND) == ["two", "one"]
    assert await found(store, recording="b.wav") == []


async def test_a_correction_is_what_is_found_and_shown(store: OwnersTranscripts) -> None:
    await keep(store, "one", "The weather man", "and more")
    machine = said("one", 0, "The weather man")

    corrected = StoredSegment(machine, "The other man")
    assert await store.correct("one", 0, "The other man") == corrected
    assert (await store.get("one")).segments[0] == corrected
    assert await found(store, words="weather") == []
    (entry,) = (await store.page(Query(words="other"))).found
    assert shown(entry.excerpts[0]) == "The [other] man"
    (entry,) = (await store.page(Query())).found
    assert shown(entry.excerpts[0]) == "The other man"

    assert await store.correct("one", 0, "") == StoredSegment(machine, "")
    assert await found(store, words="man") == []
    assert await store.correct("one", 0, None) == StoredSegment(machine)
    assert await found(store, words="weather") == ["one"]
    assert await found(store, words="other") == []


@pytest.mark.parametrize("text", SCRIPTS)
async def test_each_word_of_any_script_is_found(store: OwnersTranscripts, text: str) -> None:
    await keep(store, "one", text)
    for word in text.split():
        if any(character.isalnum() for character in word):
            assert await found(store, words=word) == ["one"], word
            assert await found(store, words=f'"{word.upper()}"') == ["one"], word
    assert await found(store, words="录音") == (["one"] if text == "中文录音" else [])


@pytest.mark.parametrize("mark", string.punctuation)
async def test_punctuation_is_no_operator(store: OwnersTranscripts, mark: str) -> None:
    await keep(store, "one", "alpha beta gamma")
    for words in (
        f"alpha{mark}",
        f"{mark}alpha",
        f"beta {mark} alpha",
        f"{mark * 3} alpha {mark * 2} beta",
    ):
        assert await found(store, words=words) == ["one"], words
    assert await found(store, words=f"alph{mark}") == []
    assert await found(store, words=f"alpha{mark}beta") == ["one"]


@pytest.mark.parametrize(
    "words", ["alpha AND", "OR", "NOT alpha", "NEAR(alpha beta)", "alpha near", "and or not"]
)
async def test_operators_are_words(store: OwnersTranscripts, words: str) -> None:
    await keep(store, "one", "alpha beta")
    await keep(store, "two", f"alpha and {words}")
    assert await found(store, words=words) == ["two"]


@given(
    words=st.text(alphabet=st.characters() | st.sampled_from(string.punctuation + " abAND"), max_size=60)
)
@settings(SHARED_FIXTURES, max_examples=150)
async def test_whatever_is_searched_is_found_or_told(store: OwnersTranscripts, words: str) -> None:
    id_ = str(uuid.uuid4())
    await store.add(info(id_))
    try:
        await store.append(said(id_, 0, words))
    except BadRequest:
        return
    if words_of(words):
        assert id_ in await found(store, words=words, limit=1000)
    else:
        with pytest.raises(BadRequest, match="at least one letter"):
            await found(store, words=words)


# --- Deleting


async def test_deleting_removes_all(store: OwnersTranscripts) -> None:
    await keep(store, "one", "said here", after=-0.001)
    await keep(store, "two", "said there")
    await keep(store, "three", "said everywhere", after=0.001)
    await store.delete("two")
    assert await found(store) == ["three", "one"]
    assert await found(store, words="said") == ["three", "one"]
    assert await found(store, words="there") == []
    for call in (
        store.get("two"),
        store.delete("two"),
        store.append(said("two", 1, "late")),
        store.end("two", START, 1.0),
        store.correct("two", 0, "x"),
    ):
        with pytest.raises(NotFound, match="'two'"):
            await call
    await keep(store, "two", "begun anew")
    assert await texts(store, "two") == ["begun anew"]
    assert await found(store, words="there") == []


async def test_deleting_while_it_is_written(store: OwnersTranscripts) -> None:
    await store.add(info("one"))

    async def write() -> int:
        for number in range(1_000_000):
            try:
                await store.append(said("one", number, "said"))
            except NotFound:
                return number
        raise AssertionError

    writing = asyncio.create_task(write())
    async with asyncio.timeout(60):
        while not await found(store, words="said"):
            pass
        await store.delete("one")
        assert await writing > 0
    assert await found(store) == []
    assert await found(store, words="said") == []


async def test_transcripts_follow_the_new_name_of_their_recording(
    whole: TranscriptStore, store: OwnersTranscripts
) -> None:
    others = whole.of("somebody else")
    for number, each in enumerate((store, others)):
        await keep(each, "one", "said", after=number, recording="a.wav")
        await keep(each, "two", "said", after=2 + number, recording="a.wav")
        await keep(each, "three", "said", after=4 + number, recording="b.wav")
        await keep(each, "live", "said", after=6 + number)
    await store.rename_recording("a.wav", "ß '1'.wav")
    assert await found(store, recording="ß '1'.wav") == ["two", "one"]
    assert await found(store, recording="a.wav") == []
    assert await found(store, recording="b.wav") == ["three"]
    assert await found(others, recording="a.wav") == ["two", "one"]
    await store.rename_recording("no such recording", "c.wav")
    assert await found(store, recording="c.wav") == []


async def test_what_is_old_is_deleted(whole: TranscriptStore, store: OwnersTranscripts) -> None:
    await keep(store, "ended", "said", ended=START + 10 * SECOND)
    await keep(store, "ended later", "said", ended=START + 20 * SECOND)
    await keep(store, "growing", *["said"] * 10)  # Heard of until 14.5 s after its start.
    await keep(store, "begun")
    with pytest.raises(BadRequest):
        await whole.delete_before(datetime(2026, 1, 1))
    assert await whole.delete_before(START) == 0
    assert await whole.delete_before(START + SECOND) == 1
    assert await found(store) == ["growing", "ended later", "ended"]
    assert await whole.delete_before(START + 10 * SECOND) == 0
    gone: list[tuple[str, str]] = []
    assert await whole.delete_before(START + 10.001 * SECOND, lambda *of: gone.append(of)) == 1
    assert gone == [("anna", "ended")]
    assert await whole.delete_before(START + 14.6 * SECOND) == 1
    assert await found(store) == ["ended later"]
    assert await whole.delete_before(datetime.max.replace(tzinfo=UTC)) == 1
    assert await found(store, words="said") == []


# --- Owners

OWNERS = (NOBODY, "anna", "Anna", "bert")


async def test_the_same_id_is_another_transcript_of_each_owner(whole: TranscriptStore) -> None:
    for owner in OWNERS:
        await keep(whole.of(owner), "one", f"said by <{owner}>", recording="same.wav")
        await whole.of(owner).end("one", START + len(owner) * SECOND, 1.5)
    await whole.of("anna").append(said("one", 1, "and more"))
    await whole.of("anna").correct("one", 0, "corrected")
    await whole.of("bert").delete("one")
    for owner, expected in (
        (NOBODY, ["said by <>"]),
        ("Anna", ["said by <Anna>"]),
        ("anna", ["corrected", "and more"]),
    ):
        assert await texts(whole.of(owner), "one") == expected
        assert (await whole.of(owner).get("one")).info.ended == START + len(owner) * SECOND
        assert await found(whole.of(owner), recording="same.wav") == ["one"]
        assert await found(whole.of(owner), words="said") == ([] if owner == "anna" else ["one"])
    assert not await whole.of("bert").has("one")


async def test_a_page_of_all_says_whose_each_is(whole: TranscriptStore) -> None:
    for number, owner in enumerate(OWNERS):
        await keep(whole.of(owner), "one", "said", after=number)
    for query in (Query(limit=3), Query(words="said", limit=3)):
        first = await whole.page(query)
        rest = await whole.page(replace(query, before=first.next))
        assert [entry.owner for page in (first, rest) for entry in page.found] == [*reversed(OWNERS)]
    (entry,) = (await whole.of("anna").page(Query())).found
    assert entry.owner == "anna"


@pytest.mark.parametrize(
    "owner", ["", " ", "*", "%", "ann_", "a" * 10_000, "'; --", "日本", "../anna", "\n"]
)
async def test_owners_of_any_name(whole: TranscriptStore, owner: str) -> None:
    await keep(whole.of("anna"), "one", "hers")
    await keep(whole.of(owner), "one", "its own")
    await whole.of(owner).delete("one")
    assert await found(whole.of(owner)) == []
    assert await texts(whole.of("anna"), "one") == ["hers"]


@pytest.mark.parametrize("owner", ["a\0b", "half \ud83c", "x" * 20_001])
async def test_owners_that_no_database_can_keep(whole: TranscriptStore, owner: str) -> None:
    nobodys = whole.of(owner)
    for call in (nobodys.add(info("one")), nobodys.page(Query())):
        with pytest.raises(BadRequest):
            await call
    for call in (nobodys.get("one"), nobodys.delete("one"), nobodys.append(said("one", 0, "x"))):
        with pytest.raises(NotFound):
            await call
    assert not await nobodys.has("one")


async def _all_that_is_read(store: OwnersTranscripts, names: Sequence[str]) -> object:
    pages = [await store.page(Query(words=words, limit=2)) for words in (None, "said", "corrected")]
    read: list[Page | Transcript | bool] = [*pages]
    read += [await store.page(Query(before=pages[0].next))] if pages[0].next else []
    for name in names:
        read.append(await store.has(name))
        if read[-1]:
            read.append(await store.get(name))
    return read


_NAMES = ("one", "two", "three")


@given(
    owner=st.sampled_from(OWNERS),
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "append", "end", "correct", "delete"]), st.sampled_from(_NAMES)),
        min_size=1,
        max_size=10,
    ),
)
@settings(SHARED_FIXTURES, max_examples=8)
async def test_what_one_owner_does_never_changes_what_another_reads(
    whole: TranscriptStore, owner: str, steps: list[tuple[str, str]]
) -> None:
    for each in OWNERS:
        for name in _NAMES:
            await keep(whole.of(each), name, f"said by {each}")
    others = [each for each in OWNERS if each != owner]
    before = [await _all_that_is_read(whole.of(other), _NAMES) for other in others]
    store = whole.of(owner)
    for number, (step, name) in enumerate(steps):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "add": lambda name=name: store.add(info(name, after=9)),
            "append": lambda name=name, n=number: store.append(said(name, n + 1, f"said {n}")),
            "end": lambda name=name: store.end(name, START, 1.0),
            "correct": lambda name=name, n=number: store.correct(name, 0, f"corrected {n}"),
            "delete": lambda name=name: store.delete(name),
        }
        with suppress(NotFound):
            await calls[step]()
    assert [await _all_that_is_read(whole.of(other), _NAMES) for other in others] == before


# --- Company and ends


async def test_many_write_at_once(store: OwnersTranscripts, place: str) -> None:
    reopened = await open_transcripts(place)
    other = reopened.of("anna")

    async def speak(through: OwnersTranscripts, id_: str) -> None:
        await through.add(info(id_))
        for number in range(20):
            await through.append(said(id_, number, f"{id_} {number}"))
        await through.end(id_, START + SECOND, 30.0)

    names = [f"speaker{number}" for number in range(16)]
    await asyncio.gather(*(speak((store, other)[n % 2], name) for n, name in enumerate(names)))
    for name in names:
        assert await texts(store, name) == [f"{name} {number}" for number in range(20)]
        assert await found(other, words=f'"{name} 19"') == [name]
    await reopened.aclose()


async def test_a_store_may_be_closed_twice_and_tells_afterwards(
    whole: TranscriptStore, store: OwnersTranscripts
) -> None:
    await keep(store, "one", "said")
    await whole.aclose()
    await whole.aclose()
    with pytest.raises(StorageFailure, match="closed"):
        await store.get("one")
    with pytest.raises(StorageFailure, match="closed"):
        await store.append(said("one", 1, "x"))


async def test_calls_that_are_cancelled_do_no_harm(store: OwnersTranscripts) -> None:
    await keep(store, "one")
    calls = [asyncio.create_task(store.append(said("one", n, "said"))) for n in range(50)]
    await asyncio.sleep(0)
    cancelled = [call for call in calls if call.cancel()]  # Not those that were quicker.
    assert len(cancelled) > len(calls) / 2
    results = await asyncio.gather(*cancelled, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await store.append(said("one", 50, "the last"))
    assert (await texts(store, "one"))[-1] == "the last"
