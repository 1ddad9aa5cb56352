"""The contract of a realtime session's events: which may follow which, as OpenAI's clients rely on it."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass
class Item:
    """One item, as far as its events tell."""

    started: int | None = None
    stopped: int | None = None
    committed: bool = False
    added: bool = False
    told: str = ""
    transcript: str | None = None
    failed: bool = False
    done: bool = False


class Contract:
    """Checks the events of one session, in the order in which they come.

    `greeted` is whether the session's first event has come already, or is not part of what is checked.
    """

    def __init__(self, *, greeted: bool = False) -> None:
        self.items: dict[str, Item] = {}
        self.errors: list[dict[str, Any]] = []
        self.kinds: list[str] = []
        self._greeted = greeted
        self._ids: set[str] = set()
        self._previous: str | None = None
        self._open: str | None = None
        self._forgotten: set[str] = set()

    def read(self, message: str) -> dict[str, Any]:
        """Check a message, and return the event."""
        event: dict[str, Any] = json.loads(message)
        assert event["event_id"] not in self._ids, "each event has an id of its own"
        self._ids.add(event["event_id"])
        self.check(event)
        return event

    def check(self, event: dict[str, Any]) -> None:
        """Check an event."""
        kind = event["type"]
        self.kinds.append(kind)
        created = kind in {"session.created", "transcription_session.created"}
        assert created != self._greeted, f"{kind}: a session is created once, before all else"
        self._greeted = True
        if created or kind in {"session.updated", "transcription_session.updated"}:
            session = event["session"]
            assert session["id"].startswith("sess_")
            assert session["object"] == "realtime.transcription_session"
        elif kind == "error":
            error = event["error"]
            assert set(error) == {"message", "type", "code", "param", "event_id"}
            assert error["message"]
            self.errors.append(error)
        elif kind == "input_audio_buffer.cleared":
            for item_id, item in self.items.items():
                if not item.committed:
                    self._forgotten.add(item_id)
            self._open = None
        else:
            self._check_item(kind, event)

    def _check_item(self, kind: str, event: dict[str, Any]) -> None:
        item_id = event["item"]["id"] if "item" in event else event["item_id"]
        known = item_id in self.items
        item = self.items.setdefault(item_id, Item())
        assert item_id not in self._forgotten, "a cleared item is over"
        assert not item.done, "a done item is over"
        if kind.startswith("input_audio_buffer."):
            self._check_buffer(kind, event, item_id, item, known=known)
        else:
            self._check_conversation(kind, event, item)

    def _check_buffer(
        self, kind: str, event: dict[str, Any], item_id: str, item: Item, *, known: bool
    ) -> None:
        match kind:
            case "input_audio_buffer.speech_started":
                assert not known, "an item begins with its speech"
                assert self._open is None, "speech starts after other speech has stopped"
                item.started, self._open = event["audio_start_ms"], item_id
                assert item.started >= 0
            case "input_audio_buffer.speech_stopped":
                assert item.started is not None
                assert self._open == item_id
                item.stopped, self._open = event["audio_end_ms"], None
                assert item.stopped >= item.started
            case "input_audio_buffer.committed":
                assert not item.committed
                assert (item.started is None) == (item.stopped is None), "speech stops before its commit"
                assert event["previous_item_id"] == self._previous
                item.committed, self._previous = True, item_id
            case _:
                raise AssertionError(f"{kind} is no event of a transcription session")

    def _check_conversation(self, kind: str, event: dict[str, Any], item: Item) -> None:
        match kind:
            case "conversation.item.added" | "conversation.item.created":
                assert item.committed
                assert not item.added
                item.added = True
                assert event["item"]["content"] == [{"type": "input_audio", "transcript": None}]
            case "conversation.item.input_audio_transcription.delta":
                assert item.transcript is None
                assert not item.failed
                assert event["delta"]
                assert event["content_index"] == 0
                item.told += event["delta"]
            case "conversation.item.input_audio_transcription.completed":
                assert item.added
                assert item.transcript is None
                assert not item.failed
                item.transcript = event["transcript"]
                assert item.transcript.startswith(item.told)
                assert event["usage"]["type"] == "duration"
                assert event["usage"]["seconds"] >= 0
            case "conversation.item.input_audio_transcription.failed":
                assert item.added
                assert item.transcript is None
                item.failed = True
                assert set(event["error"]) == {"message", "type", "code", "param"}
            case "conversation.item.done":
                assert item.transcript is not None
                assert event["item"]["content"][0]["transcript"] == item.transcript
                item.done = True
            case _:
                raise AssertionError(f"{kind} is no event of a transcription session")

    @property
    def transcripts(self) -> list[str]:
        """The transcripts of the completed items, in the order of their commits."""
        return [item.transcript for item in self.items.values() if item.transcript is not None]

    def check_end(self) -> None:
        """Every item that was committed has ended."""
        for item_id, item in self.items.items():
            if item.committed:
                assert item.failed or item.transcript is not None, f"{item_id} was never completed"
        assert self._open is None, "speech goes on"
