"""`transcribed env`: the environment variables that point Amazon's clients to this server."""

import os
import shlex
from pathlib import Path

import click

from transcribed.settings import ServerSettings
from transcribed.tls.certificates import TrustFiles, local_trust

# The first two replace the authorities that a program trusts, the last one adds to those of Node.js. They
# may already name a private network's authority, so each file includes all authorities of the system.
_TRUST = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


def exports(settings: ServerSettings, trust: TrustFiles | None) -> list[str]:
    """Return lines for a shell. `trust` is None if the user provides the server's certificate."""
    variables = {} if trust is None else dict.fromkeys(_TRUST, str(trust.bundle))
    variables["AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING"] = settings.tls_address
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def describe_keys(settings: ServerSettings, *, needed: bool = False) -> str:
    """Return a sentence about what Amazon's SDKs need; `needed` if the database has keys."""
    if settings.access_keys is None and needed:
        return "The access key must be one of `transcribed keys list`; any region will do."
    if settings.access_keys is None:
        return "Any access key, secret and region will do."
    return f"The access key must be one of {settings.access_keys}; any region will do."


def print_environment(settings: ServerSettings) -> None:
    """Print the exports, for `eval`; create the local certificate authority if there is none.

    Raises ConfigurationError.
    """
    trust = None if settings.tls_certificate else local_trust(settings.certificates)
    if trust is not None:
        _warn_of_replaced_values(trust)
    click.echo("\n".join(exports(settings, trust)))
    # The comment is last, since a shell may join all lines.
    click.echo(f"# {describe_keys(settings)}")


def _warn_of_replaced_values(trust: TrustFiles) -> None:
    for name in _TRUST:
        before = os.environ.get(name)
        if before and not trust.covers(Path(before)):
            click.echo(
                f"{name} was {before}, and now names the system's authorities and the local one. If you "
                f"need what is in {before} too, append {trust.authority} to it and leave {name} as it was.",
                err=True,
            )
