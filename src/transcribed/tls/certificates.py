"""Certificate files: those that the TLS listener serves, and those that its clients trust.

The local authority's key and certificate are in one file, `authority.pem`, so that they cannot get
separated. Two files beside it are for clients: `ca.pem`, the authority's certificate, and `bundle.pem`, the
system's authorities and this one. The server's own certificate, `server-….pem`, is issued anew at each
start, so that it never expires in use.
"""

import logging
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

import certifi
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from filelock import FileLock, Timeout

from transcribed.clock import utc_now
from transcribed.errors import ConfigurationError
from transcribed.storage.private import make_private_folder, read_secret, write_private
from transcribed.tls.authority import Authority, subject_name

_LOCK_SECONDS = 10.0
_RSA_BITS = range(2048, 4097)
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD, macOS
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrustFiles:
    """CA files for clients: the local authority alone, and a bundle with the system's authorities."""

    authority: Path
    bundle: Path

    def covers(self, other: Path) -> bool:
        """Whether the bundle contains the content of another CA file, which a client uses now."""
        try:
            return other.read_bytes().strip() in self.bundle.read_bytes()
        except OSError:  # A client does not lose a file that it cannot read.
            return True


@dataclass(frozen=True)
class ServerCertificate:
    """PEM files of a TLS listener, and the CA files for its clients (None for a user's own certificate)."""

    certificate: Path
    key: Path
    trust: TrustFiles | None = None
    names: tuple[str, ...] = ()
    """Host names that the user's own is for, some with `*.` in front."""


def user_certificate(certificate: Path, key: Path) -> ServerCertificate:
    """The user's own PEM files. Raises ConfigurationError if the TLS listener cannot use them."""
    try:
        secret = read_secret(key)
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
        expires, names = parsed.not_valid_after_utc, _names(parsed)
        if not _is_supported(load_pem_private_key(secret, None)):
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
    if expires <= utc_now():
        raise ConfigurationError(
            f"The certificate {certificate} expired on {expires:%Y-%m-%d}. Renew it, or leave out "
            "--tls-certificate and --tls-key for one of the local authority."
        )
    return ServerCertificate(certificate, key, names=names)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.get_values_for_type(x509.DNSName))


def _is_supported(key: PrivateKeyTypes) -> bool:
    """Whether Granian's TLS library (rustls) supports the key; for any other, its process aborts."""
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
    """A new certificate, issued by the local authority and written to `folder`.

    It is valid for this machine's names, for `more`, and for those of `hosts` that a certificate can name.
    `listener` distinguishes servers that share the folder. Raises ConfigurationError, also if a certificate
    cannot name one of `more`.
    """
    for host in more:
        if subject_name(host) is None:
            raise ConfigurationError(
                f"{host!r} is no name or address of a host. --tls-names takes them separated by commas, as "
                "in scribe.lan,192.168.1.20. A name with letters beyond ASCII needs its xn-- form."
            )
    names = {subject_name(host) for host in (*_LOCAL_NAMES, gethostname(), *hosts, *more)}
    authority, trust = _load_or_create(folder)
    path = trust.authority.with_name(f"server-{listener}.pem")
    with _file_errors_as_configuration_errors(str(path)):
        write_private(path, authority.issue(sorted(name for name in names if name), utc_now()))
    return ServerCertificate(path, path, trust)


def local_trust(folder: Path) -> TrustFiles:
    """The CA files for clients, and a new local authority if there is none. Raises ConfigurationError."""
    return _load_or_create(folder)[1]


def _load_or_create(folder: Path) -> tuple[Authority, TrustFiles]:
    folder = folder.expanduser().resolve()
    path, trust = folder / "authority.pem", TrustFiles(folder / "ca.pem", folder / "bundle.pem")
    with _file_errors_as_configuration_errors(str(folder)):
        make_private_folder(folder)
        authority = _load(path)
        if authority is None:
            with FileLock(folder / ".lock", timeout=_LOCK_SECONDS, mode=0o600):
                authority = _load(path)  # Another server may have created it meanwhile.
                if authority is None:
                    authority = _create(path)
        _write_if_changed(trust.authority, authority.certificate_pem)
        _write_if_changed(trust.bundle, _system_authorities() + authority.certificate_pem)
    return authority, trust


def _load(path: Path) -> Authority | None:
    """The stored authority; None if there is none or it expires soon."""
    if not path.exists():
        return None
    try:
        authority = Authority.from_pem(read_secret(path))
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is damaged: {error}. Delete it: a new authority is then created, which clients must "
            "be told to trust."
        ) from error
    return None if authority.expires_soon(utc_now()) else authority


def _create(path: Path) -> Authority:
    if path.exists():
        _log.warning(
            "%s expires soon and is replaced. Clients must be told to trust the new one.",
            path,
        )
    authority = Authority.create(gethostname(), utc_now())
    write_private(path, authority.pem)
    return authority


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)


def _system_authorities() -> bytes:
    for path in (*map(Path, _SYSTEM_BUNDLES), Path(certifi.where())):
        with suppress(OSError):
            return path.read_bytes().rstrip() + b"\n"
    return b""


@contextmanager
def _file_errors_as_configuration_errors(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, Timeout) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"The local certificate authority cannot be kept in {place}: {reason}. Name a folder of your "
            "own with --certificates."
        ) from error
