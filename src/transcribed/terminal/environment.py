"""`transcribed env`: what sends Amazon's clients to this server."""

import os
import shlex
from pathlib import Path

import click

from transcribed.settings import ServerSettings
from transcribed.tls.certificates import TrustFiles, local_trust

# The first two take the place of what a program trusts, the last is added to what Node.js trusts. Where a
# network has an authority of its own, they may name it already: so all get all that the system trusts.
_TRUST = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


def exports(settings: ServerSettings, trust: TrustFiles | None) -> list[str]:
    """Lines for a shell. `trust` is None where the server has a certificate of the user's own."""
    variables = {} if trust is None else dict.fromkeys(_TRUST, str(trust.bundle))
    variables["AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING"] = settings.tls_address
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def about_keys(settings: ServerSettings) -> str:
    """What to say about the credentials that Amazon's SDKs ask for."""
    if settings.access_keys is None:
        return "Any access key, secret and region will do."
    return f"The access key must be one of {settings.access_keys}; any region will do."


def print_environment(settings: ServerSettings) -> None:
    """Print the exports, for eval. The local authority is made where there is none.

    Raises ConfigurationError.
    """
    trust = None if settings.tls_certificate else local_trust(settings.certificates)
    if trust is not None:
        _tell_what_is_lost(trust)
    click.echo("\n".join(exports(settings, trust)))
    # Last, so that nothing is lost where the shell joins the lines.
    click.echo(f"# {about_keys(settings)}")


def _tell_what_is_lost(trust: TrustFiles) -> None:
    for name in _TRUST:
        before = os.environ.get(name)
        if before and not trust.covers(Path(before)):
            click.echo(
                f"{name} was {before}, and now names the system's authorities and the local one. If you "
                f"need what is in {before} too, append {trust.authority} to it and leave {name} as it was.",
                err=True,
            )
