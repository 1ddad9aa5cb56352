"""The setting of a model for the commands that tests run."""

from collections.abc import Mapping, Sequence

_WITHOUT_MODELS = {"scripted", "amazon", "--engine=scripted", "--engine=amazon"}


def suited(environment: Mapping[str, str], arguments: Sequence[object]) -> dict[str, str]:
    """Return the environment for a command, without a model if its engine has none to choose from."""
    if _WITHOUT_MODELS.isdisjoint(map(str, arguments)):
        return dict(environment)
    return {name: value for name, value in environment.items() if name != "TRANSCRIBED_MODEL"}
