"""The setting of a model for the commands that tests run."""

from collections.abc import Mapping, Sequence

_WITHOUT_MODELS = {"scripted", "amazon", "--engine=scripted", "--engine=amazon"}


def suited(environment: Mapping[str, str], arguments: Sequence[object]) -> dict[str, str]:
    """Return the environment for a command, with the small model if it would use the default one.

    With the small model a command starts faster. Tests of the default name it.
    """
    given = {*map(str, arguments), environment.get("TRANSCRIBED_ENGINE", "")}
    if _WITHOUT_MODELS.isdisjoint(given):
        return {"TRANSCRIBED_MODEL": "tiny", **environment}
    return dict(environment)
