"""`transcribed models`: lists, pulls and removes models. Servers may be running."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from transcribed.engines.pulled import lacking
from transcribed.errors import DamagedModel, NotFound
from transcribed.models.catalogue import catalogue, did_you_mean
from transcribed.models.folder import ModelFolder
from transcribed.models.pulling import megabytes, pull, pull_from
from transcribed.settings import ModelsSettings
from transcribed.terminal.table import aligned

_COLUMNS = ("MODEL", "LANGUAGE", "SIZE", "LICENCE", "PULLED", "RUNS HERE")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model of the catalogue, or one that was pulled. `size` is in bytes.

    `lacks` is why the model cannot run here; None if it can.
    """

    name: str
    language: str
    size: int
    licence: str
    pulled: str
    lacks: str | None


def listed_models(folder: ModelFolder) -> list[ListedModel]:
    """All models of the catalogue, and after them pulled models that are no longer in it."""
    models = catalogue().models
    listed = [
        ListedModel(m.name, m.language, m.size, m.licence, _state(folder, m.name), lacking(m.family))
        for m in models.values()
    ]
    for name in folder.names():
        manifest = folder.manifest(name) if name not in models else None
        if manifest is not None:
            size = sum(file.size for file in manifest.files)
            lacks = lacking(manifest.family)
            listed.append(ListedModel(name, manifest.language, size, manifest.licence, "yes", lacks))
    return listed


def _state(folder: ModelFolder, name: str) -> str:
    if name in folder.names():
        return "yes"
    try:
        return "damaged" if folder.manifest(name) is not None else _unfinished(folder, name)
    except DamagedModel:
        return "damaged"


def _unfinished(folder: ModelFolder, name: str) -> str:
    return "in part" if any(folder.unfinished(name).glob("*")) else "no"


def list_models(settings: ModelsSettings, *, as_json: bool) -> None:
    """Print all models. Raises TranscribedError."""
    models = listed_models(ModelFolder(settings.models))
    if as_json:
        click.echo(json.dumps([_described(model) for model in models], indent=2))
        return
    for line in aligned([_COLUMNS, *map(_row, models)]):
        click.echo(line)


def pull_model(settings: ModelsSettings, name: str, given: str | None) -> None:
    """Pull a model, from the network or from `given`, a folder or an archive. Raises TranscribedError."""
    model = catalogue()[name]
    folder = ModelFolder(settings.models)
    with _Shown(f"{name} ({megabytes(model.size)}, {model.licence})") as progress:
        if given is not None:
            home = pull_from(model, folder, Path(given).expanduser(), progress)
        else:
            from transcribed.models.fetching import Fetcher  # noqa: PLC0415 - nothing else needs requests

            with Fetcher(settings.models_mirror) as fetcher:
                home = pull(model, folder, fetcher, progress)
    _tell(f"Pulled {name} into {home}." if progress.began else f"{name} is already complete in {home}.")
    if (lacks := lacking(model.family)) is not None:
        _tell(f"It cannot run here: {lacks}.")
    else:
        _tell(f"Use it with: --model {name}")


def print_path(settings: ModelsSettings, name: str | None) -> None:
    """Print the folder of a pulled model, whose files are verified, or of all. Raises TranscribedError."""
    folder = ModelFolder(settings.models)
    if name is None:
        click.echo(folder.path)
        return
    home = folder.find(name)
    if home is None:
        known = [*catalogue().models, *folder.names()]
        how = f" Run: transcribed models pull {name}" if name in known else did_you_mean(name, known)
        raise NotFound(f"The model {name} is not in {folder.path}.{how}")
    click.echo(home)


def remove_model(settings: ModelsSettings, name: str) -> None:
    """Remove a pulled model, or what an interrupted pull left. Raises TranscribedError."""
    home = ModelFolder(settings.models).remove(name)
    _tell(f"Removed {home}. A running server that has loaded the model is not affected.")


class _Shown:
    """Shows the progress of a pull: a bar in a terminal, a line elsewhere. All on standard error."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.began = False
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def total(self, size: int, source: str) -> None:
        """Show what is pulled and from where."""
        self.began = True
        self._bar.console.print(f"Pulling {self._what} from {source}", highlight=False, soft_wrap=True)
        self._bar.update(self._task, total=size, visible=True)

    def done(self, size: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=size)


def _row(model: ListedModel) -> tuple[str, ...]:
    runs = "yes" if model.lacks is None else f"no: {model.lacks}"
    return (model.name, model.language, megabytes(model.size), model.licence, model.pulled, runs)


def _described(model: ListedModel) -> dict[str, object]:
    return {
        "Name": model.name,
        "Language": model.language,
        "Bytes": model.size,
        "Licence": model.licence,
        "Pulled": model.pulled,
        "Lacks": model.lacks,
    }


def _tell(line: str) -> None:
    """Print a line for people. Standard output is for programs."""
    click.echo(line, err=True)
