"""The audit trail: a log line for each action, once it is done or refused.

The services write it, for all front ends. It contains neither transcribed text nor searched words.
"""

import logging
from enum import Enum

from transcribed.errors import AccessDenied, TranscribedError
from transcribed.logs import TRAIL
from transcribed.request_context import REQUEST, RequestContext

_log = logging.getLogger(TRAIL)


class Action(Enum):
    """An action. Its subject is the name or id of the object, unless stated otherwise."""

    RECORDING_UPLOADED = "recording.uploaded"
    RECORDING_READ = "recording.read"
    RECORDING_RENAMED = "recording.renamed"
    RECORDING_DELETED = "recording.deleted"
    TRANSCRIPT_READ = "transcript.read"
    TRANSCRIPTS_SEARCHED = "transcripts.searched"
    """A page of the list was read; the subject is the recording in the query, if any."""
    TRANSCRIPT_CORRECTED = "transcript.corrected"
    TRANSCRIPT_DELETED = "transcript.deleted"
    FILTER_STORED = "vocabulary-filter.stored"
    FILTER_READ = "vocabulary-filter.read"
    FILTER_DELETED = "vocabulary-filter.deleted"
    VOCABULARY_STORED = "vocabulary.stored"
    VOCABULARY_READ = "vocabulary.read"
    VOCABULARY_DELETED = "vocabulary.deleted"
    JOB_SUBMITTED = "job.submitted"
    """The subject of this and the next four is the job's name."""
    JOB_STARTED = "job.started"
    JOB_ENDED = "job.ended"
    JOB_READ = "job.read"
    JOB_DELETED = "job.deleted"
    JOBS_LISTED = "jobs.listed"
    """The subject is the searched part of names, if any."""
    SESSION_OPENED = "session.opened"
    SESSION_ENDED = "session.ended"
    SESSION_SHARED = "session.shared"
    SESSION_VIEWED = "session.viewed"
    TOKEN_MADE = "token.made"  # noqa: S105 - a name
    """The subject is the id of the key that it was made from."""
    KEY_ADDED = "key.added"
    """Like the next three, written by each server that notices the change; the subject is the key's id."""
    KEY_ROTATED = "key.rotated"
    KEY_CHANGED = "key.changed"
    KEY_REMOVED = "key.removed"
    ACCESS_REFUSED = "access.refused"
    """The subject is the method and path of the request."""


class Outcome(Enum):
    """The outcome of an action."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


def record(
    action: Action,
    subject: str,
    *,
    owner: str | None = None,
    outcome: Outcome = Outcome.OK,
    **details: str | float | bool | None,
) -> None:
    """Write a line about an action of the current request, or of the server itself.

    `owner` is the subject's owner; None is the request's. `details` are further fields of the line.
    """
    if not _log.isEnabledFor(logging.INFO):
        return
    context = REQUEST.get()
    principal = None if context is None else context.principal
    key = None if principal is None else principal.key
    if owner is None and principal is not None:
        owner = principal.owner
    address = None if context is None else context.address
    fields: dict[str, object] = {
        "action": action.value,
        "subject": subject,
        "outcome": outcome.value,
        "owner": owner,
        "key": key,
        "address": address,
        "by": _by(context),
        **details,
    }
    _log.info("%s", _in_words(fields, details), extra=fields)


def _by(context: RequestContext | None) -> str:
    if context is None:
        return "the server"
    return "unknown" if context.principal is None else context.principal.key or "anybody"


def record_refusal(error: TranscribedError, request: str) -> None:
    """Record once in a request that access was denied; does nothing for other errors.

    `request` is its method and path.
    """
    context = REQUEST.get()
    if not isinstance(error, AccessDenied) or (context is not None and context.is_refused):
        return
    if context is not None:
        context.is_refused = True
    record(Action.ACCESS_REFUSED, request, outcome=Outcome.REFUSED, error=error.code)


def _in_words(fields: dict[str, object], details: dict[str, str | float | bool | None]) -> str:
    """The line as text: `recording.read 'a.wav' of anna by key-1 at 192.0.2.7: ok, bytes 512`."""
    words = [f"{fields['action']} {fields['subject']!r}"]
    words += [f"of {fields['owner']}"] if fields["owner"] else []
    words += [f"by {fields['by']}"]
    words += [f"at {fields['address']}"] if fields["address"] else []
    parts = [
        fields["outcome"],
        *(f"{name} {value}" for name, value in details.items() if value is not None),
    ]
    return f"{' '.join(words)}: {', '.join(map(str, parts))}"
