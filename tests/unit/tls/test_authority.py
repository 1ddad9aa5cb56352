import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import verification
from hypothesis import given
from hypothesis import strategies as st

from transcribed.tls.authority import MIN_REMAINING, Authority, subject_name

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ["localhost", "127.0.0.1", "::1", "scribe.lan", "*.scribe.lan"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("desk", NOW)


def chain(authority: Authority, leaf: bytes, name: str, at: datetime) -> list[x509.Certificate]:
    """As a strict client builds it. Raises VerificationError where it would not trust the leaf."""
    store = verification.Store([authority.certificate])
    builder = verification.PolicyBuilder().store(store).time(at)
    subject: verification.Subject
    try:
        subject = x509.IPAddress(ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    return builder.build_server_verifier(subject).verify(x509.load_pem_x509_certificate(leaf), [])


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "scribe.lan", "a.scribe.lan"])
def test_a_client_that_trusts_the_authority_trusts_what_it_issues(authority: Authority, name: str) -> None:
    assert chain(authority, authority.issue(NAMES, NOW), name, NOW)[-1] == authority.certificate


@pytest.mark.parametrize("name", ["elsewhere.lan", "127.0.0.2", "scribe.lan.evil.example"])
def test_and_under_no_other_name(authority: Authority, name: str) -> None:
    with pytest.raises(verification.VerificationError):
        chain(authority, authority.issue(NAMES, NOW), name, NOW)


def test_another_authority_of_this_machine_is_not_taken_for_it(authority: Authority) -> None:
    other = Authority.create("desk", NOW)
    assert other.certificate.subject != authority.certificate.subject
    with pytest.raises(verification.VerificationError):
        chain(other, authority.issue(NAMES, NOW), "localhost", NOW)


def test_a_server_may_run_for_a_year_after_its_start() -> None:
    """Also one that starts on the last day on which the authority is not renewed."""
    authority = Authority.create("desk", NOW)
    last = authority.certificate.not_valid_after_utc - MIN_REMAINING - DAY
    assert not authority.expires_soon(last)
    assert authority.expires_soon(last + DAY)
    for start in (NOW, last):
        leaf = authority.issue(NAMES, start)
        chain(authority, leaf, "localhost", start + MIN_REMAINING)
        assert x509.load_pem_x509_certificate(leaf).not_valid_after_utc - start <= 825 * DAY


def test_a_clock_that_is_hours_behind_does_no_harm(authority: Authority) -> None:
    chain(authority, authority.issue(NAMES, NOW), "localhost", NOW - DAY / 2)


def test_each_has_a_key_of_its_own(authority: Authority) -> None:
    first, second = (authority.issue(NAMES, NOW) for _ in range(2))
    assert first.startswith(b"-----BEGIN PRIVATE KEY-----"), "PKCS#8"
    assert load_pem_private_key(first, None) != load_pem_private_key(second, None)
    for leaf in (first, second):
        key = load_pem_private_key(leaf, None)
        assert key.public_key() == x509.load_pem_x509_certificate(leaf).public_key()


def test_an_authority_is_its_bytes(authority: Authority) -> None:
    again = Authority.from_pem(authority.pem)
    assert again.certificate == authority.certificate
    chain(authority, again.issue(NAMES, NOW), "localhost", NOW)


def test_the_key_is_in_no_copy_for_clients_and_in_no_text(authority: Authority) -> None:
    assert b"PRIVATE" not in authority.certificate_pem
    assert "key" not in repr(authority)
    ssl.create_default_context(cadata=authority.certificate_pem.decode())


def _broken(authority: Authority) -> Iterator[bytes]:
    yield b""
    yield b"\xff\x00"
    yield authority.certificate_pem
    yield authority.pem.replace(authority.certificate_pem, b"")
    yield authority.pem[:-40]
    other = Authority.create("desk", NOW)
    yield other.pem.replace(other.certificate_pem, authority.certificate_pem)


def test_anything_else_is_refused(authority: Authority) -> None:
    for pem in _broken(authority):
        with pytest.raises(ValueError, match=r"."):
            Authority.from_pem(pem)


def test_the_machine_s_name_may_be_long() -> None:
    assert len(Authority.create("x" * 300, NOW).certificate.subject.rfc4514_string()) < 80


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("Desk.LAN.", "desk.lan"),
        ("*.lan", "*.lan"),
        ("my_host", "my_host"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.168.1.20", "192.168.1.20"),
        ("0:0::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("0.0.0.0", None),  # noqa: S104 - the point
        ("::", None),
        ("bücher.example", None),
        ("two words", None),
        ("-a", None),
        ("a..b", None),
        ("a.*.b", None),
        ("", None),
        ("a" * 254, None),
        ("https://a.lan", None),
    ],
)
def test_what_a_certificate_can_name(host: str, name: str | None) -> None:
    assert subject_name(host) == name


@given(st.text(max_size=40))
def test_every_name_that_is_let_through_can_be_issued(host: str) -> None:
    name = subject_name(host)
    if name is not None:
        assert subject_name(name) == name
        leaf = x509.load_pem_x509_certificate(_AUTHORITY.issue([name], NOW))
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(each.value) for each in found] == [name]


_AUTHORITY = Authority.create("desk", NOW)
