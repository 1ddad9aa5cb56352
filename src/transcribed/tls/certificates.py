"""The certificate of the TLS listener, and what clients must trust: files.

The local authority is one file, `authority.pem`, so that its key and its certificate cannot come apart.
Beside it lie copies for clients: `ca.pem`, its certificate, and `bundle.pem`, the system's authorities and
this one. What a server shows is made anew at each start, `server-….pem`, so that it is never out of date.
"""

import logging
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname

import certifi
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from filelock import FileLock, Timeout

from transcribed.errors import ConfigurationError
from transcribed.storage.private import make_private_folder, read_secret, write_private
from transcribed.tls.authority import Authority, subject_name

_LOCK_SECONDS = 10.0
_RSA_BITS = range(2048, 4097)
_ALWAYS = ("localhost", "127.0.0.1", "::1")

_SYSTEMS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD, macOS
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trust:
    """Files for clients: the local authority, and a bundle of it and the system's authorities."""

    authority: Path
    bundle: Path

    def covers(self, others: Path) -> bool:
        """Whether the bundle holds all that such a file of somebody else's does."""
        try:
            return others.read_bytes().strip() in self.bundle.read_bytes()
        except OSError:  # What is not there cannot be missed.
            return True


@dataclass(frozen=True)
class ServerCertificate:
    """What a TLS listener shows. `trust` is for its clients; None: the certificate is the user's own."""

    certificate: Path
    key: Path
    trust: Trust | None = None


def own_certificate(certificate: Path, key: Path) -> ServerCertificate:
    """The user's own files, in PEM. Raises ConfigurationError for files that cannot serve."""
    try:
        secret = read_secret(key)
        expires = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
        if not _can_serve(load_pem_private_key(secret, None)):
            raise ConfigurationError(
                f"The key {key} is of a kind that cannot be used here. Take one of RSA with 2048 to 4096 "
                "bits, ECDSA on P-256 or P-384, or Ed25519, and a certificate for it."
            )
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except TypeError as error:
        raise ConfigurationError(
            f"The key {key} is encrypted. Decrypt it: openssl pkey -in {key} -out NEW.pem"
        ) from error
    except (ssl.SSLError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{certificate} and {key} are no certificate with its key{_reason(error)}. Name PEM files with "
            "--tls-certificate (the server's certificate first, then its chain) and --tls-key."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be read: {error.strerror}. Name PEM files with --tls-certificate and "
            "--tls-key."
        ) from error
    if expires <= _now():
        raise ConfigurationError(
            f"The certificate {certificate} expired on {expires:%Y-%m-%d}. Renew it, or leave out "
            "--tls-certificate and --tls-key for one of the local authority."
        )
    return ServerCertificate(certificate, key)


def _can_serve(key: PrivateKeyTypes) -> bool:
    """Granian's process aborts for a key that its TLS library does not know."""
    match key:
        case rsa.RSAPrivateKey():
            return key.key_size in _RSA_BITS
        case ec.EllipticCurvePrivateKey():
            return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
        case _:
            return isinstance(key, ed25519.Ed25519PrivateKey)


def _reason(error: Exception) -> str:
    reason: str | None = getattr(error, "reason", None)
    return f" ({reason.lower().replace('_', ' ')})" if reason else ""


def local_certificate(
    folder: Path, listener: str, hosts: Iterable[str], more: Iterable[str]
) -> ServerCertificate:
    """A new certificate by the local authority. `listener` tells apart those that run at the same time.

    It is for this machine's names, for `hosts` where a certificate can name them, and for `more`, which it
    must be able to name. Raises ConfigurationError.
    """
    for host in more:
        if subject_name(host) is None:
            raise ConfigurationError(
                f"{host!r} is no name or address of a host. --tls-names takes them separated by commas, as "
                "in scribe.lan,192.168.1.20. A name with letters beyond ASCII needs its xn-- form."
            )
    names = {subject_name(host) for host in (*_ALWAYS, gethostname(), *hosts, *more)}
    authority, trust = _authority(folder)
    path = trust.authority.with_name(f"server-{listener}.pem")
    with _translated(str(path)):
        write_private(path, authority.issue(sorted(name for name in names if name), _now()))
    return ServerCertificate(path, path, trust)


def local_trust(folder: Path) -> Trust:
    """The files for clients of the local authority, which is made where there is none yet.

    Raises ConfigurationError.
    """
    return _authority(folder)[1]


def _authority(folder: Path) -> tuple[Authority, Trust]:
    folder = folder.expanduser().resolve()
    path, trust = folder / "authority.pem", Trust(folder / "ca.pem", folder / "bundle.pem")
    with _translated(str(folder)):
        make_private_folder(folder)
        authority = _kept(path)
        if authority is None:
            with FileLock(folder / ".lock", timeout=_LOCK_SECONDS, mode=0o600):
                authority = _kept(path)  # Another server may have made it meanwhile.
                if authority is None:
                    authority = _make(path)
        _keep(trust.authority, authority.certificate_pem)
        _keep(trust.bundle, _system_authorities() + authority.certificate_pem)
    return authority, trust


def _kept(path: Path) -> Authority | None:
    """The authority, unless there is none or it is near its end."""
    if not path.exists():
        return None
    try:
        authority = Authority.parsed(read_secret(path))
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is damaged: {error}. Delete it: a new authority is then made, which clients must be "
            "told to trust anew."
        ) from error
    return authority if authority.lasts(_now()) else None


def _make(path: Path) -> Authority:
    if path.exists():
        _log.warning("%s is near its end. What was told to trust it must be told anew.", path)
    authority = Authority.made(gethostname(), _now())
    write_private(path, authority.pem)
    return authority


def _keep(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)


def _system_authorities() -> bytes:
    for path in (*map(Path, _SYSTEMS), Path(certifi.where())):
        with suppress(OSError):
            return path.read_bytes().rstrip() + b"\n"
    return b""


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, Timeout) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"The local certificate authority cannot be kept in {place}: {reason}. Name a folder of your "
            "own with --certificates."
        ) from error


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - certificates are dated by the wall clock
