"""`transcribed transcribe -o`: recordings to transcript files, several at once."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from transcribed.errors import StorageFull, TranscribedError
from transcribed.loading import Recognition, recognition
from transcribed.options import StreamOptions, TranscriptForm
from transcribed.service.threads import in_thread
from transcribed.service.transcription import TranscriptionRequest
from transcribed.settings import RecognitionSettings
from transcribed.terminal.files import duration_of, opened
from transcribed.terminal.planning import Job, Plan, plan
from transcribed.terminal.writing import SUFFIXES, FileFormat, check_writable, document, write
from transcribed.transcript import Notice, Segment


async def transcribe_to_files(
    settings: RecognitionSettings,
    inputs: Sequence[str],
    output: str,
    form: FileFormat,
    *,
    force: bool,
    track: int | None = None,
    transcript_form: TranscriptForm | None = None,
) -> int:
    """Write a transcript of each recording, unless a newer one exists. Return the number of failures.

    `inputs` are files, folders, or only "-" for standard input. `output` is a folder, or a file for a
    single recording. `track` is the number of the audio track, `transcript_form` how numbers are written.
    With `force`, newer ones are replaced, too. Raises StorageFull, after which nothing more can be written.
    """
    planned = await in_thread(plan, inputs, output, SUFFIXES[form], force=force)
    with _ProgressDisplay(planned.jobs) as display:
        for problem in planned.problems:
            display.print(problem)
        options = StreamOptions(partials=False, transcript_form=transcript_form)
        batch = _Batch(planned, form, display, TranscriptionRequest(options=options, track=track))
        if planned.jobs:
            async with recognition(settings) as recogniser:
                threads = settings.threads or os.cpu_count() or 1
                engine = recogniser.engine
                await batch.run(recogniser, engine.capacity if engine.remote else threads)
    if len(planned.jobs) + len(planned.done) + len(planned.problems) > 1:
        print(
            f"{batch.written} written, {len(planned.done)} done before, {batch.failed} failed",
            file=sys.stderr,
        )
    return batch.failed


class _Batch:
    def __init__(
        self, planned: Plan, form: FileFormat, display: "_ProgressDisplay", request: TranscriptionRequest
    ) -> None:
        # The longest recordings come first, so that all threads finish at about the same time.
        self._waiting = iter(sorted(planned.jobs, key=lambda job: -job.size))
        self._form = form
        self._display = display
        self._request = request
        self.written = 0
        self.failed = len(planned.problems)

    async def run(self, recogniser: Recognition, at_once: int) -> None:
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(at_once):
                    tasks.create_task(self._work(recogniser))
        except* StorageFull as errors:
            # Raised below, since Python 3.11.2 (Debian) would wrap it in a group here.
            failure = errors.exceptions[0]
        if failure is not None:
            raise failure

    async def _work(self, recogniser: Recognition) -> None:
        for job in self._waiting:
            try:
                await self._transcribe(recogniser, job)
            except StorageFull:
                raise
            except (TranscribedError, OSError) as error:
                self.failed += 1
                self._display.print(f"{job.recording}: {_message(error)}")
            else:
                self.written += 1
                self._display.print(f"{job.recording} → {job.output}")

    async def _transcribe(self, recogniser: Recognition, job: Job) -> None:
        check_writable(job.output)
        finals: list[Segment] = []
        with opened(job.recording) as source:
            visible = self._display.visible
            duration = await duration_of(recogniser.decoders, source) if visible else None
            with self._display.recording(job, duration) as show_progress:
                events = recogniser.transcription.transcribe_upload(source, self._request)
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Segment):
                            finals.append(event)
                            show_progress(event.end)
                        elif isinstance(event, Notice):
                            self._display.print(f"{job.recording}: {event.message}")
        await in_thread(write, job.output, document(finals, self._form))


def _message(error: TranscribedError | OSError) -> str:
    return (
        error.message if isinstance(error, TranscribedError) else f"it cannot be read ({error.strerror})."
    )


class _ProgressDisplay(AbstractContextManager["_ProgressDisplay"]):
    """Messages on standard error, with progress bars below them if it is a terminal."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        console = Console(stderr=True, highlight=False, markup=False)
        self.visible = console.is_terminal and bool(jobs)
        name = TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", max_width=40),
        )
        self._bars = Progress(
            name,
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self.visible,
        )
        self._all = self._bars.add_task(f"{len(jobs)} recordings", total=sum(job.size for job in jobs))
        self._done = 0.0

    def __enter__(self) -> "_ProgressDisplay":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def print(self, line: str) -> None:
        if self.visible:
            self._bars.console.print(line, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def recording(self, job: Job, duration: float | None) -> Iterator[Callable[[float], None]]:
        """Show a bar for a recording. Yields a function that takes the seconds transcribed so far."""
        bar = self._bars.add_task(Path(job.recording).name, total=duration)
        counted = 0.0

        def show_progress(seconds: float) -> None:
            nonlocal counted
            self._bars.update(bar, completed=seconds)
            if duration:
                part = job.size * min(1.0, seconds / duration)
                self._bars.advance(self._all, part - counted)
                counted = part

        try:
            yield show_progress
        finally:
            self._bars.advance(self._all, job.size - counted)
            self._bars.remove_task(bar)
