"""The command line."""

import asyncio
import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from transcribed import __version__, logs
from transcribed.audio.formats import (
    HIGHEST_RATE,
    LOWEST_RATE,
    MOST_CHANNELS,
    SAMPLE_RATE,
    Encoding,
    InputFormat,
)
from transcribed.engines.amazon.options import AmazonOptions
from transcribed.errors import TranscribedError
from transcribed.options import TranscriptForm
from transcribed.principal import Role
from transcribed.settings import JobsSettings, ModelsSettings, RecognitionSettings, ServerSettings
from transcribed.terminal.writing import FileFormat
from transcribed.wire.native import Format

if TYPE_CHECKING:
    from transcribed.server import Started
    from transcribed.terminal.jobs import JobsClient

T = TypeVar("T")


def _format_option(choices: Sequence[str], description: str) -> Callable[[Any], Any]:
    return click.option(
        "--format", "form", type=click.Choice(choices), default="text", show_default=True, help=description
    )


def _track_option(command: Any) -> Any:
    return click.option(
        "--track",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="The audio track, counted from 1.  [default: the one that a player would play]",
    )(command)


def _transcript_form_option(command: Any) -> Any:
    return click.option(
        "--transcript-format",
        "transcript_form",
        type=click.Choice([each.value for each in TranscriptForm]),
        callback=lambda _context, _option, value: None if value is None else TranscriptForm(value),
        help="Numbers, dates and money in digits, or as words.  [default: as the engine writes them]",
    )(command)


def settings_options(kind: type[BaseSettings], *only: str) -> Callable[[Any], Any]:
    """An option of the command for every setting, or for those named."""

    def decorate(command: Any) -> Any:
        for name, field in reversed(kind.model_fields.items()):
            if only and name not in only:
                continue
            choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
            flag = field.annotation is bool
            option = f"--{name.replace('_', '-')}"
            command = click.option(
                _switch(option) if field.default is True else option,
                name,
                is_flag=flag,
                default=None,
                type=bool if flag else click.Choice(choices) if choices else str,
                metavar=None if flag or choices else _metavar(field),
                help=f"{field.description}  [default: {_default(field)}; TRANSCRIBED_{name.upper()}]",
            )(command)
        return command

    return decorate


def _switch(option: str) -> str:
    """The two forms of a flag that is on by default."""
    return f"{option}/--no-{option.removeprefix('--')}"


def _metavar(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["metavar"])
    kind: Any = field.annotation
    return {int: "NUMBER", float: "SECONDS", str: "TEXT"}.get(kind, "PATH")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises an error without a home folder
    if value in {None, ""}:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value).replace(home, "~")


def _settings(kind: type[Any], given: dict[str, Any]) -> Any:
    """Settings from the options that were given, then the environment, then the defaults."""
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise click.ClickException(
            f"--{name.replace('_', '-')} (TRANSCRIBED_{name.upper()}) is {first['input']!r}: "
            f"{first['msg']}."
        ) from error


class InOrder(click.Group):
    """A group whose commands are listed as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Their names."""
        return list(self.commands)


_IN_SIGHT = (
    "The password of the transcripts' database is on the command line, where every user of this machine "
    "can read it. Set the address in TRANSCRIBED_TRANSCRIPTS, or leave the password out of it and put it "
    "into PGPASSWORD or ~/.pgpass."
)


def _shows_password(given: dict[str, Any]) -> bool:
    return bool(re.search(r"://[^/]*:[^/]*@|[?&]password=", given.get("transcripts") or ""))


@click.group(epilog="Every option can also be set by the environment variable that its help names.")
@click.version_option(__version__)
def cli() -> None:
    """Real-time speech transcription on this machine.

    \b
    transcribed serve                  run a server on http://localhost:3000
    transcribed transcribe talk.mp3    print the text of a recording
    transcribed listen                 print captions of the microphone
    transcribed env                    print the environment for Amazon's clients
    transcribed keys add phone         add a key; the server then requires keys
    transcribed jobs submit talk.mp3   transcribe a stored recording in the background
    transcribed models list            list models that can be pulled
    transcribed doctor amazon          check access to Amazon Transcribe
    """  # noqa: D301 - \b is for click


@cli.command()
@settings_options(ServerSettings)
def serve(**given: Any) -> None:
    """Serve until Ctrl-C.

    \b
    Then, in another terminal:
      curl -F 'file=@talk.wav;type=audio/wav' http://localhost:3000/audio
      npx wscat -c ws://localhost:3000/stream      and type: talk.wav
    """  # noqa: D301 - \b is for click
    settings: ServerSettings = _settings(ServerSettings, given)
    # The start makes many objects and hardly any garbage: without collections it takes a tenth less time.
    gc.disable()
    from transcribed import server  # noqa: PLC0415 - so that --help does not wait for it

    def ready(started: "Started") -> None:
        # What there is by now stays, so that later collections need not look at it.
        gc.freeze()
        gc.enable()
        _announce(settings, started)

    logs.configure(settings.log_level, settings.log_format)
    if _shows_password(given):
        logging.getLogger(__name__).warning("%s", _IN_SIGHT)
    try:
        asyncio.run(server.serve(settings, ready))
        code = 0
    except TranscribedError as error:
        click.echo(f"Error: {error.message}", err=True)
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Granian's threads may still call into the interpreter, which aborts if it is being taken down.
    os._exit(code)


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_format_option(
    ["text", "json", "srt", "vtt"],
    "One line of text for each segment, Amazon's TranscriptEvent JSON, or subtitles.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A folder for transcripts, or a file for the transcript of one recording.  "
    "[default: -, standard output]",
)
@click.option("--force", is_flag=True, help="Also transcribe recordings that have a transcript.")
@_track_option
@_transcript_form_option
@settings_options(RecognitionSettings)
def transcribe(
    *,
    files: Sequence[str],
    form: FileFormat,
    output: str | None,
    force: bool,
    track: int | None,
    transcript_form: TranscriptForm | None,
    **given: Any,
) -> None:
    """Transcribe recordings.

    All common audio and video formats are supported; "-" is standard input. The text goes to standard
    output, one file after the other. A terminal also shows a progress bar and the growing text.

    With -o each recording gets a transcript file of its own. As many are transcribed at once as there are
    threads (or, with a remote engine, as it may have streams). A FILE may then be a folder: all audio and
    video below it is transcribed, and OUTPUT gets folders of the same names. A transcript that is newer
    than its recording is not made again. Files are never written partially.

    The exit code is 0 on success, 1 if a recording could not be transcribed (the others are), 2 for a
    wrong command, 130 after Ctrl-C.

    \b
    transcribed transcribe talk.mp3 > talk.txt
    transcribed transcribe --format srt -o film.srt film.mkv
    transcribed transcribe --format vtt -o transcripts/ lectures/ interview.mp3
    ffmpeg -i film.mkv -f wav - | transcribed transcribe --format json -
    """  # noqa: D301 - \b is for click
    _check_output(files, form, output, force=force)
    settings: RecognitionSettings = _settings(RecognitionSettings, given)
    from transcribed.terminal import batch  # noqa: PLC0415 - as above
    from transcribed.terminal import files as single  # noqa: PLC0415

    if output in {None, "-"}:
        failed = _run(single.print_transcripts(settings, files, form, track, transcript_form))
    else:
        failed = _run(
            batch.transcribe_to_files(
                settings, files, output, form, force=force, track=track, transcript_form=transcript_form
            )
        )
    sys.exit(min(1, failed))


def _check_output(files: Sequence[str], form: FileFormat, output: str | None, *, force: bool) -> None:
    """Raise UsageError for formats that standard output cannot hold, and options without effect."""
    if "" in files:
        raise click.UsageError("The name of a FILE is empty.")
    if output == "":
        raise click.UsageError("-o is empty. Name a folder, a file, or '-' for standard output.")
    if output not in {None, "-"}:
        return
    if force:
        raise click.UsageError("--force requires transcripts in files. Name their folder with -o.")
    if len(files) > 1 and (form in {"srt", "vtt"} or output == "-"):
        raise click.UsageError("One file cannot hold the transcripts of several recordings: -o FOLDER.")


@cli.command()
@click.argument("source", required=False, metavar="[-]")
@click.option("--device", metavar="NAME|NUMBER", help="The microphone.  [default: the system's]")
@click.option("--devices", is_flag=True, help="List the microphones and exit.")
@click.option(
    "--encoding",
    type=click.Choice([encoding.value for encoding in Encoding]),
    help="The encoding of standard input: raw samples, or auto for a container.  [default: auto]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(LOWEST_RATE, HIGHEST_RATE),
    metavar="HZ",
    help=f"The sample rate of raw samples.  [default: {SAMPLE_RATE}]",
)
@click.option(
    "--channels",
    type=click.IntRange(1, MOST_CHANNELS),
    metavar="NUMBER",
    help="The number of interleaved channels of raw samples.  [default: 1]",
)
@_track_option
@_transcript_form_option
@_format_option(["text", "json"], "One line of text for each segment, or Amazon's TranscriptEvent JSON.")
@settings_options(RecognitionSettings)
def listen(
    *,
    source: str | None,
    device: str | None,
    devices: bool,
    encoding: str | None,
    sample_rate: int | None,
    channels: int | None,
    track: int | None,
    transcript_form: TranscriptForm | None,
    form: Format,
    **given: Any,
) -> None:
    """Print captions of a microphone, or of a pipe.

    The microphone needs the package sounddevice (pip install 'transcribed[microphone]') and the library
    PortAudio (apt install libportaudio2). "-" reads standard input as it arrives: a container (wav, mp3,
    ogg, webm), or raw samples with --encoding. The text goes to standard output, one line for each segment;
    a terminal also shows the growing text. Ctrl-C ends the audio and prints the last words, a second
    Ctrl-C exits at once.

    \b
    transcribed listen
    ffmpeg -i rtsp://camera -f wav - | transcribed listen -
    arecord -f S16_LE -r 16000 | transcribed listen - --encoding pcm
    """  # noqa: D301 - \b is for click
    _check_source(source, device, encoding, sample_rate, channels)
    if track is not None and (source is None or encoding not in {None, "auto"}):
        raise click.UsageError("--track requires a container: '-' with --encoding auto.")
    settings: RecognitionSettings = _settings(RecognitionSettings, given)
    from transcribed.terminal import listen as live  # noqa: PLC0415 - as above
    from transcribed.terminal import microphone  # noqa: PLC0415
    from transcribed.terminal.standard_input import StandardInput  # noqa: PLC0415

    try:
        if devices:
            click.echo("\n".join(microphone.devices()))
            return
        audio: live.LiveSource
        if source is None:
            audio = microphone.Microphone(device)
        else:
            written = InputFormat(Encoding(encoding or "auto"), sample_rate or SAMPLE_RATE, channels or 1)
            audio = StandardInput(written)
    except TranscribedError as error:
        raise click.ClickException(error.message) from error
    _run(live.listen(settings, audio, form, track, transcript_form))


@cli.command()
@settings_options(ServerSettings, "host", "tls_port", "tls_certificate", "certificates", "access_keys")
def env(**given: Any) -> None:
    """Print the environment that directs Amazon's clients to `transcribed serve --tls`.

    The output is lines for a shell: the server's address, and the files that make programs trust its
    certificate. Use the options of the server, which need not be running.

    \b
    eval "$(transcribed env)"           in sh, bash and zsh
    transcribed env | source            in fish
    """  # noqa: D301 - \b is for click
    settings: ServerSettings = _settings(ServerSettings, given)
    from transcribed.terminal.environment import print_environment  # noqa: PLC0415 - as above

    try:
        print_environment(settings)
    except TranscribedError as error:
        raise click.ClickException(error.message) from error


@cli.group(cls=InOrder)
def keys() -> None:
    """Manage the keys of `transcribed serve`.

    Once there is a key, every request needs one: see docs/operations.md, Access. Keys are stored in the
    transcript database. Servers may be running, and notice changes within seconds. Run this in the server's
    folder, or use the options of the server.

    \b
    transcribed keys add phone
    transcribed keys add dashboard --role read --owner anna
    transcribed keys list
    """  # noqa: D301 - \b is for click


def _key_settings(command: Any) -> Any:
    return settings_options(ServerSettings, "transcripts", "keys_key")(command)


def _secret_file(command: Any) -> Any:
    return click.option(
        "--secret-file",
        metavar="FILE",
        help="A file with a secret of your own; - is standard input.  [default: a new secret]",
    )(command)


def _run_keys(given: dict[str, Any], main: Callable[[ServerSettings], Coroutine[Any, Any, None]]) -> None:
    if _shows_password(given):
        click.echo(f"Warning: {_IN_SIGHT}", err=True)
    _run(main(_settings(ServerSettings, given)))


@keys.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.TRANSCRIBE.value,
    show_default=True,
    help="Its rights: read; transcribe, also to create, change and delete; admin, for all owners.",
)
@click.option(
    "--owner", metavar="NAME", help="The owner of what is made with it.  [default: the key's name]"
)
@click.option(
    "--streams",
    type=click.IntRange(0),
    help="Streams at once; 0 means no limit.  [default: --key-streams]",
)
@click.option(
    "--seconds-a-day",
    type=click.FloatRange(0),
    help="Seconds of audio a day; 0 means no limit.  [default: --key-seconds-a-day]",
)
@_secret_file
@_key_settings
def add_key(
    *,
    name: str,
    role: str,
    owner: str | None,
    streams: int | None,
    seconds_a_day: float | None,
    secret_file: str | None,
    **given: Any,
) -> None:
    """Add a key NAME and print its secret, which cannot be shown again.

    A name is 1 to 128 letters, digits, '_', '.' and '-'. The secret goes to standard output, everything
    else to standard error.
    """
    from transcribed.terminal import keys as commands  # noqa: PLC0415 - as above

    key = commands.NewKey(name, Role(role), owner, streams, seconds_a_day)
    _run_keys(given, lambda settings: commands.add_key(settings, key, secret_file))


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_key_settings
def list_keys(*, as_json: bool, **given: Any) -> None:
    """List the keys of the database, and the use of each today (UTC) and in the last 30 days.

    Used keys that are not in the database are in a file, or were removed.
    """
    from transcribed.terminal import keys as commands  # noqa: PLC0415 - as above

    _run_keys(given, lambda settings: commands.list_keys(settings, as_json=as_json))


@keys.command("rotate")
@click.argument("name")
@_secret_file
@_key_settings
def rotate_key(*, name: str, secret_file: str | None, **given: Any) -> None:
    """Give the key NAME another secret and print it; it cannot be shown again.

    The old secret becomes invalid: streams and WebSockets that use it, or its tokens, end within 5 seconds.
    """
    from transcribed.terminal import keys as commands  # noqa: PLC0415 - as above

    _run_keys(given, lambda settings: commands.rotate_key(settings, name, secret_file))


@keys.command("remove")
@click.argument("name")
@_key_settings
def remove_key(*, name: str, **given: Any) -> None:
    """Remove the key NAME. Its owner's data remains.

    The key becomes invalid: streams and WebSockets that use it, or its tokens, end within 5 seconds.
    """
    from transcribed.terminal import keys as commands  # noqa: PLC0415 - as above

    _run_keys(given, lambda settings: commands.remove_key(settings, name))


@cli.group(cls=InOrder)
def jobs() -> None:
    """Submit, list, follow and cancel the jobs of a running server.

    A job transcribes a stored recording in the background; see docs/jobs.md. The commands talk to the
    server over HTTP. If it requires a key, put its secret into TRANSCRIBED_SECRET or into a file.

    \b
    transcribed jobs submit talk.mp3 --follow
    transcribed jobs submit --prefix lecture-
    transcribed jobs list --status FAILED
    """  # noqa: D301 - \b is for click


def _server_options(command: Any) -> Any:
    return settings_options(JobsSettings, "server", "secret_file")(command)


def _run_jobs(given: dict[str, Any], main: Callable[["JobsClient"], T]) -> T:
    from transcribed.terminal.jobs import JobsClient  # noqa: PLC0415 - as above

    try:
        with JobsClient(_settings(JobsSettings, given)) as client:
            return main(client)
    except KeyboardInterrupt:
        sys.exit(130)
    except TranscribedError as error:
        raise click.ClickException(error.message) from error


@jobs.command("submit")
@click.argument("recordings", nargs=-1, metavar="[RECORDING...]")
@click.option("--prefix", metavar="TEXT", help="All stored recordings whose names begin with this.")
@click.option(
    "--name", metavar="NAME", help="The job's name, for a single recording.  [default: a new one]"
)
@click.option("--language", metavar="CODE", help="The language.  [default: the engine's]")
@click.option("--engine", metavar="NAME", help="One of the server's engines.  [default: its default one]")
@_track_option
@_transcript_form_option
@click.option(
    "--vocabulary", "vocabularies", multiple=True, metavar="NAME", help="A vocabulary; can be repeated."
)
@click.option(
    "--vocabulary-filter", "filters", multiple=True, metavar="NAME", help="A filter; can be repeated."
)
@click.option("--follow", is_flag=True, help="Show the progress until all have ended.")
@_server_options
def submit_jobs(
    *,
    recordings: tuple[str, ...],
    prefix: str | None,
    name: str | None,
    language: str | None,
    engine: str | None,
    track: int | None,
    transcript_form: TranscriptForm | None,
    vocabularies: tuple[str, ...],
    filters: tuple[str, ...],
    follow: bool,
    **given: Any,
) -> None:
    """Submit a job for each RECORDING, by its name in the server's library.

    The names of the jobs go to standard output. The exit code is 1 if one could not be submitted or, with
    --follow, failed.
    """
    if not recordings and prefix is None:
        raise click.UsageError("Name a RECORDING, or the beginning of several with --prefix.")
    if name is not None and (len(recordings) != 1 or prefix is not None):
        raise click.UsageError("--name is for a single RECORDING.")
    from transcribed.terminal import jobs as commands  # noqa: PLC0415 - as above

    wishes: dict[str, object] = {
        "Name": name,
        "LanguageCode": language,
        "Engine": engine,
        "Track": track,
        "TranscriptFormat": None if transcript_form is None else transcript_form.value,
        "Vocabularies": list(vocabularies),
        "VocabularyFilters": list(filters),
    }
    failed = _run_jobs(
        given, lambda client: commands.submit(client, recordings, prefix, wishes, follow=follow)
    )
    sys.exit(min(1, failed))


@jobs.command("list")
@click.option(
    "--status", type=click.Choice(["QUEUED", "IN_PROGRESS", "COMPLETED", "FAILED"]), help="Only these."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_server_options
def list_jobs(*, status: str | None, as_json: bool, **given: Any) -> None:
    """List the jobs, the last submitted first."""
    from transcribed.terminal import jobs as commands  # noqa: PLC0415 - as above

    _run_jobs(given, lambda client: commands.list_jobs(client, status, as_json=as_json))


@jobs.command("show")
@click.argument("name")
@click.option("--follow", is_flag=True, help="Show the progress until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_server_options
def show_job(*, name: str, follow: bool, as_json: bool, **given: Any) -> None:
    """Show the job NAME. The exit code is 1 if it has failed."""
    from transcribed.terminal import jobs as commands  # noqa: PLC0415 - as above

    failed = _run_jobs(
        given, lambda client: commands.show_job(client, name, follow=follow, as_json=as_json)
    )
    sys.exit(int(failed))


@jobs.command("cancel")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_server_options
def cancel_jobs(*, names: tuple[str, ...], **given: Any) -> None:
    """Delete jobs; those that wait or run are cancelled. Transcripts of completed jobs remain."""
    from transcribed.terminal import jobs as commands  # noqa: PLC0415 - as above

    sys.exit(min(1, _run_jobs(given, lambda client: commands.cancel_jobs(client, names))))


@cli.group(cls=InOrder)
def models() -> None:
    """List, pull and remove models.

    --model of other commands selects a pulled model. Only `pull` fetches anything, through the proxies of
    HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

    \b
    transcribed models list
    transcribed models pull small-streaming-en
    transcribed models pull small-streaming-en --from models.tar
    """  # noqa: D301 - \b is for click


def _run_models(given: dict[str, Any], main: Callable[[ModelsSettings], None]) -> None:
    settings: ModelsSettings = _settings(ModelsSettings, given)
    try:
        main(settings)
    except KeyboardInterrupt:
        click.echo("Interrupted. What has come is kept; pull again to go on.", err=True)
        sys.exit(130)
    except TranscribedError as error:
        raise click.ClickException(error.message) from error


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@settings_options(ModelsSettings, "models")
def list_models(*, as_json: bool, **given: Any) -> None:
    """List all models: whether they were pulled, whether they run here and, if not, what is missing."""
    from transcribed.terminal import models as commands  # noqa: PLC0415 - as above

    _run_models(given, lambda settings: commands.list_models(settings, as_json=as_json))


@models.command("pull")
@click.argument("name")
@click.option(
    "--from",
    "offered",
    metavar="PATH",
    help="A folder, or a tar or zip archive, that has the model's files; nothing is fetched.",
)
@settings_options(ModelsSettings)
def pull_model(*, name: str, offered: str | None, **given: Any) -> None:
    """Fetch the model NAME and verify it.

    An interrupted pull continues where it ended. Of a damaged model only the damaged files are fetched. A
    model can be used only when it is complete and verified.

    With --models-mirror models are fetched from that address, which must have the same paths as their
    origins.

    For a machine without a network, pull the model on another machine, copy the folder that `transcribed
    models path NAME` prints there, and name the copy with --from.
    """
    from transcribed.terminal import models as commands  # noqa: PLC0415 - as above

    _run_models(given, lambda settings: commands.pull_model(settings, name, offered))


@models.command("path")
@click.argument("name", required=False)
@settings_options(ModelsSettings, "models")
def model_path(*, name: str | None, **given: Any) -> None:
    """Verify the pulled model NAME and print its folder; without NAME, the folder of all models."""
    from transcribed.terminal import models as commands  # noqa: PLC0415 - as above

    _run_models(given, lambda settings: commands.print_path(settings, name))


@models.command("remove")
@click.argument("name")
@settings_options(ModelsSettings, "models")
def remove_model(*, name: str, **given: Any) -> None:
    """Remove the pulled model NAME, or what an interrupted pull of it left."""
    from transcribed.terminal import models as commands  # noqa: PLC0415 - as above

    _run_models(given, lambda settings: commands.remove_model(settings, name))


@cli.command()
@click.argument("what", type=click.Choice(["amazon"]))
@click.option("--yes", is_flag=True, help="Open the stream, which costs money, without asking.")
@settings_options(AmazonOptions)
def doctor(*, what: str, yes: bool, **given: Any) -> None:  # noqa: ARG001 - there is but one
    """Check that this machine can use Amazon Transcribe.

    The checks are the installed packages, credentials, region, endpoint, whether the service answers, this
    machine's clock, and finally a real stream of 3 seconds of speech. The stream's price is printed before;
    it requires --yes, or a yes in the terminal. Nothing secret is shown.

    The exit code is 0 if all checks succeed, 1 if one fails, 3 if none fails and the stream was not tried.

    \b
    transcribed doctor amazon
    transcribed doctor amazon --yes --amazon-profile work --amazon-region eu-west-1
    """  # noqa: D301 - \b is for click
    settings: AmazonOptions = _settings(AmazonOptions, given)
    from transcribed.terminal.doctor import check_amazon  # noqa: PLC0415 - as above

    sys.exit(check_amazon(settings.for_amazon(), agreed=yes))


def _check_source(
    source: str | None,
    device: str | None,
    encoding: str | None,
    sample_rate: int | None,
    channels: int | None,
) -> None:
    """Raise UsageError for options without effect."""
    if source not in {None, "-"}:
        raise click.UsageError(
            f"{source!r} is not '-' (standard input). For a recording: transcribed transcribe {source}"
        )
    if source is None and (encoding or sample_rate or channels):
        raise click.UsageError("--encoding, --sample-rate and --channels require '-', standard input.")
    if source == "-" and device is not None:
        raise click.UsageError("--device is a microphone, and '-' is standard input. Give one of them.")
    if encoding in {None, "auto"} and (sample_rate or channels):
        raise click.UsageError(
            "--sample-rate and --channels require raw samples. Select them with --encoding, such as pcm."
        )


def _run(main: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
    except TranscribedError as error:
        raise click.ClickException(error.message) from error


def _announce(settings: ServerSettings, started: "Started") -> None:
    address = settings.address
    click.echo(
        f"""
transcribed {__version__} serves on {address}

  Upload a recording:   curl -F 'file=@tests/data/test.wav;type=audio/wav' {address}/audio
  Watch its words:      npx wscat -c {address.replace("http", "ws", 1)}/stream
                        and type: test.wav
  Speak or look:        {address}/ in a browser
  Everything else:      {address}/docs
  Recordings are in:    {started.audio}
  Transcripts are in:   {started.transcripts}
"""
    )
    if started.keys:
        click.echo("  Access:               with a key (docs/operations.md, Access)\n")
    if started.certificate is not None:
        from transcribed.terminal.environment import describe_keys, exports  # noqa: PLC0415 - as above

        lines = [
            *exports(settings, started.certificate.trust),
            describe_keys(settings, needed=started.keys > 0),
        ]
        click.echo(f"  Over TLS:             {settings.tls_address}/\n")
        click.echo("  Amazon's clients:     " + f"\n{'':24}".join(lines) + "\n")


def main() -> None:
    """The console script."""
    cli()
