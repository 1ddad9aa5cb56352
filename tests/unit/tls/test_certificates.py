import multiprocessing
import os
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from transcribed.errors import ConfigurationError
from transcribed.tls import certificates
from transcribed.tls.authority import MIN_REMAINING, Authority
from transcribed.tls.certificates import (
    ServerCertificate,
    local_certificate,
    local_trust,
    user_certificate,
)

DAY = timedelta(days=1)
LISTENER = "127.0.0.1-8443"


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - as the code under test


def shown(certificate: ServerCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.certificate.read_bytes())


def names(certificate: ServerCertificate) -> set[str]:
    found = shown(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in found}


def issued_by(certificate: ServerCertificate) -> x509.Certificate:
    assert certificate.trust is not None
    authority = x509.load_pem_x509_certificate(certificate.trust.authority.read_bytes())
    shown(certificate).verify_directly_issued_by(authority)
    return authority


# --- The local authority


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "certificates"


def test_it_is_made_once(folder: Path) -> None:
    first = issued_by(local_certificate(folder, LISTENER, [], []))
    assert issued_by(local_certificate(folder, LISTENER, [], [])) == first
    assert local_trust(folder).authority.read_bytes() == first.public_bytes(Encoding.PEM)


def test_it_is_nobody_else_s(folder: Path) -> None:
    umask = os.umask(0)
    try:
        local_certificate(folder, LISTENER, [], [])
    finally:
        os.umask(umask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes) == {"authority.pem", "ca.pem", "bundle.pem", f"server-{LISTENER}.pem", ".lock"}
    assert set(modes.values()) == {0o600}


def test_a_folder_that_is_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    local_trust(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_the_certificate_is_for_this_machine_and_for_what_is_asked_for(folder: Path) -> None:
    machine = os.uname().nodename.lower()
    always = {"localhost", "127.0.0.1", "::1", machine}
    assert names(local_certificate(folder, LISTENER, [], [])) == always
    hosts, more = ["::", "192.168.1.20", "not a name"], ["Scribe.LAN", "*.scribe.lan"]
    found = names(local_certificate(folder, LISTENER, hosts, more))
    assert found == {*always, "192.168.1.20", "scribe.lan", "*.scribe.lan"}
    assert names(local_certificate(folder, LISTENER, [], [])) == always


@pytest.mark.parametrize("name", ["two words", "https://scribe.lan", "bücher.example", "::"])
def test_a_name_that_cannot_be_certified_is_told(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="--tls-names") as refused:
        local_certificate(folder, LISTENER, [], ["scribe.lan", name])
    assert repr(name) in refused.value.message


def test_servers_on_other_ports_do_not_disturb_each_other(folder: Path) -> None:
    first = local_certificate(folder, "127.0.0.1-8443", [], ["first.lan"])
    second = local_certificate(folder, "127.0.0.1-9443", [], ["second.lan"])
    assert "first.lan" in names(first)
    assert "second.lan" in names(second)
    assert issued_by(first) == issued_by(second)


def trusted(bundle: Path) -> list[bytes]:
    """What OpenSSL trusts that is given this file."""
    return ssl.create_default_context(cafile=bundle).get_ca_certs(binary_form=True)


def test_clients_trust_the_system_s_authorities_too(folder: Path) -> None:
    trust = local_trust(folder)
    (ours,) = trusted(trust.authority)
    system = next(
        Path(path) for path in (*certificates._SYSTEM_BUNDLES, certifi.where()) if Path(path).exists()
    )
    assert set(trusted(trust.bundle)) == {ours, *trusted(system)}
    assert len(trusted(trust.bundle)) > 50


def test_where_the_system_has_none_the_bundle_has_mozilla_s(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_SYSTEM_BUNDLES", ("/nonexistent/ca.crt",))
    trust = local_trust(folder)
    assert set(trusted(trust.bundle)) == {*trusted(trust.authority), *trusted(Path(certifi.where()))}


def test_what_the_bundle_covers(folder: Path, tmp_path: Path) -> None:
    trust = local_trust(folder)
    other = tmp_path / "other.pem"
    other.write_bytes(Authority.create("elsewhere", now()).certificate_pem)
    assert trust.covers(trust.bundle)
    assert trust.covers(trust.authority)
    assert trust.covers(tmp_path / "missing.pem")
    assert not trust.covers(other)


def test_the_bundle_follows_the_system_and_the_copies_the_authority(folder: Path) -> None:
    trust = local_trust(folder)
    before = {path: path.read_bytes() for path in (trust.authority, trust.bundle)}
    for path in before:
        path.write_bytes(b"old")
    local_trust(folder)
    assert {path: path.read_bytes() for path in before} == before


def test_an_authority_near_its_end_is_renewed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir(parents=True)
    lasting = Authority.create("desk", now()).certificate.not_valid_after_utc - now()
    old = Authority.create("desk", now() - lasting + MIN_REMAINING - DAY)
    (folder / "authority.pem").write_bytes(old.pem)
    (folder / "authority.pem").chmod(0o600)
    new = issued_by(local_certificate(folder, LISTENER, [], []))
    assert new != old.certificate
    assert "must be told to trust the new one" in caplog.text
    assert issued_by(local_certificate(folder, LISTENER, [], [])) == new


def test_an_authority_that_lasts_a_little_longer_is_kept(folder: Path) -> None:
    folder.mkdir(parents=True)
    lasting = Authority.create("desk", now()).certificate.not_valid_after_utc - now()
    old = Authority.create("desk", now() - lasting + MIN_REMAINING + DAY)
    (folder / "authority.pem").write_bytes(old.pem)
    assert issued_by(local_certificate(folder, LISTENER, [], [])) == old.certificate


def _start(folder: Path, listener: str) -> tuple[bytes, bytes, bytes]:
    certificate = local_certificate(folder, listener, [], [])
    assert certificate.trust is not None
    authority, bundle = certificate.trust.authority.read_bytes(), certificate.trust.bundle.read_bytes()
    return authority, bundle, certificate.certificate.read_bytes()


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield pool


@pytest.mark.parametrize("old", [False, True])
def test_servers_that_start_at_once_make_one_authority(
    folder: Path, processes: ProcessPoolExecutor, *, old: bool
) -> None:
    for attempt in range(20):
        place = folder / str(attempt)
        if old:
            place.mkdir(parents=True)
            (place / "authority.pem").write_bytes(Authority.create("desk", now() - 3650 * DAY).pem)
            (place / "authority.pem").chmod(0o600)
        made = list(processes.map(_start, [place] * 4, "abcd"))
        assert len({authority for authority, _, _ in made}) == 1
        assert len({bundle for _, bundle, _ in made}) == 1
        authority = x509.load_pem_x509_certificate(made[0][0])
        for _, _, leaf in made:
            x509.load_pem_x509_certificate(leaf).verify_directly_issued_by(authority)
        assert not list(place.glob(".*.pem-*")), "what was written on the way is gone"


def test_a_damaged_authority_is_told_and_kept(folder: Path) -> None:
    local_trust(folder)
    path = folder / "authority.pem"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match="is damaged") as refused:
        local_trust(folder)
    assert str(path) in refused.value.message
    assert "PRIVATE" not in refused.value.message
    assert len(path.read_bytes()) == 100


def test_an_authority_that_others_can_read_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    local_trust(folder)
    assert caplog.text == ""
    (folder / "authority.pem").chmod(0o644)
    local_trust(folder)
    assert "chmod 600" in caplog.text


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "certificates", Path("/proc/certificates")):
        with pytest.raises(ConfigurationError, match="--certificates") as refused:
            local_trust(folder)
        assert str(folder) in refused.value.message


def test_another_process_that_does_not_let_go_is_waited_for_no_longer_than_can_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    monkeypatch.setattr(certificates, "_LOCK_SECONDS", 0.2)
    lock = ["flock", str(folder / ".lock"), "sh", "-c", "echo locked; read line"]
    with subprocess.Popen(lock, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigurationError, match="lock"):
            local_trust(folder)
        holding.kill()
    local_trust(folder)


# --- Files of the user's own

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey
Files = tuple[Path, Path]


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Files]:
    """Writes a certificate of its own and its key."""

    def write(
        key: Key,
        ends: timedelta = DAY,
        form: PrivateFormat = PrivateFormat.PKCS8,
        names: Sequence[str] = (),
    ) -> Files:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now() - 30 * DAY).not_valid_after(now() + ends)
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(
            key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        )
        paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
        paths[1].chmod(0o600)
        return paths

    return write


def ec_key(curve: type[ec.EllipticCurve]) -> Callable[[], Key]:
    return lambda: ec.generate_private_key(curve())


def rsa_key(bits: int) -> Callable[[], Key]:
    return lambda: rsa.generate_private_key(65537, bits)


@pytest.mark.parametrize(
    ("new_key", "form"),
    [
        (ec_key(ec.SECP256R1), PrivateFormat.PKCS8),
        (ec_key(ec.SECP384R1), PrivateFormat.TraditionalOpenSSL),
        (rsa_key(2048), PrivateFormat.TraditionalOpenSSL),
        (ed25519.Ed25519PrivateKey.generate, PrivateFormat.PKCS8),
    ],
)
def test_what_can_serve(own: Callable[..., Files], new_key: Callable[[], Key], form: PrivateFormat) -> None:
    certificate, path = own(new_key(), form=form)
    assert user_certificate(certificate, path) == ServerCertificate(certificate, path)


@pytest.mark.parametrize(
    "new_key",
    [
        ec_key(ec.SECP521R1),
        ec_key(ec.SECP256K1),
        rsa_key(1024),
        rsa_key(4608),
        lambda: dsa.generate_private_key(2048),
    ],
)
def test_a_kind_of_key_that_cannot_serve_is_told(
    own: Callable[..., Files], new_key: Callable[[], Key]
) -> None:
    """Given to Granian, most of them would end the process."""
    with pytest.raises(ConfigurationError, match="of a kind that cannot be used"):
        user_certificate(*own(new_key()))


def test_a_key_of_another_certificate_is_told(own: Callable[..., Files]) -> None:
    certificate, path = own(ec.generate_private_key(ec.SECP256R1()))
    kept = certificate.read_bytes()
    own(ec.generate_private_key(ec.SECP256R1()))
    certificate.write_bytes(kept)
    with pytest.raises(ConfigurationError, match="key values mismatch"):
        user_certificate(certificate, path)


def test_an_expired_certificate_is_told(own: Callable[..., Files]) -> None:
    files = own(ec.generate_private_key(ec.SECP256R1()), -DAY)
    with pytest.raises(ConfigurationError, match=f"expired on {now() - DAY:%Y-%m-%d}"):
        user_certificate(*files)


def test_an_encrypted_key_is_told_and_no_password_asked_for(own: Callable[..., Files]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, path = own(key)
    encrypted = BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encrypted))
    with pytest.raises(ConfigurationError, match="openssl pkey"):
        user_certificate(certificate, path)


@pytest.mark.parametrize("swapped", [False, True])
def test_files_of_something_else_are_told(own: Callable[..., Files], *, swapped: bool) -> None:
    certificate, path = own(ec.generate_private_key(ec.SECP256R1()))
    if not swapped:
        certificate.write_bytes(b"\xff no certificate")
    else:
        certificate, path = path, certificate
    with pytest.raises(ConfigurationError, match="--tls-certificate") as refused:
        user_certificate(certificate, path)
    assert "PRIVATE" not in refused.value.message


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_told(own: Callable[..., Files], missing: int) -> None:
    files = own(ec.generate_private_key(ec.SECP256R1()))
    files[missing].unlink()
    with pytest.raises(ConfigurationError, match="No such file") as refused:
        user_certificate(*files)
    assert str(files[missing]) in refused.value.message


def test_it_says_what_it_is_for(own: Callable[..., Files]) -> None:
    names = ("scribe.example.org", "*.example.org")
    files = own(ec.generate_private_key(ec.SECP256R1()), names=names)
    assert user_certificate(*files).names == names


def test_both_may_be_in_one_file(own: Callable[..., Files]) -> None:
    certificate, path = own(ec.generate_private_key(ec.SECP256R1()))
    for parts in ([certificate, path], [path, certificate]):
        both = path.with_name("both.pem")
        both.write_bytes(b"".join(part.read_bytes() for part in parts))
        both.chmod(0o600)
        assert user_certificate(both, both) == ServerCertificate(both, both)
