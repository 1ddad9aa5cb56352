"""A certificate authority of this machine's own, as its bytes: no files, no clock."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ENOUGH = timedelta(days=365)
"""What must be left of an authority when a server starts, so that it may run for as long."""

_AUTHORITY_LASTS = timedelta(days=3650)
# What Apple's systems accept at most, under an authority that a user added, is 825.
_LEAF_LASTS = timedelta(days=730)
# A client's clock may be behind.
_BEFORE = timedelta(days=1)

_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LONGEST_NAME = 253


def subject_name(host: str) -> str | None:
    """A host name or address as a certificate says it; None where no certificate can."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
        return None if address.is_unspecified else str(address)
    except ValueError:
        name = host.lower().removesuffix(".")
        return name if _HOST_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME else None


@dataclass(frozen=True)
class Authority:
    """A certificate that others can be told to trust, and the key that signs for it."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def made(cls, machine: str, now: datetime) -> Self:
        """A new one. `machine` is for people who look through lists of authorities."""
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        # Two of the same name would be taken for each other by what looks an authority up by its name.
        name = _name(f"transcribed {serial % 0x10000:04x} on {machine}"[:64])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now - _BEFORE)
            .not_valid_after(now + _AUTHORITY_LASTS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def parsed(cls, pem: bytes) -> Self:
        """What `pem` gave. Raises ValueError for anything else."""
        try:
            key = load_pem_private_key(pem, None)
        except TypeError as error:  # Encrypted, as no key of ours is.
            raise ValueError(str(error)) from error
        certificate = x509.load_pem_x509_certificate(pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("The key is not the certificate's.")
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """Key and certificate. Whoever has them can pass for any host before those who trust it."""
        return _private(self._key) + self.certificate_pem

    @property
    def certificate_pem(self) -> bytes:
        """The certificate: what is trusted."""
        return self.certificate.public_bytes(Encoding.PEM)

    def lasts(self, now: datetime) -> bool:
        """Whether enough time is left for a server that starts now."""
        return self.certificate.not_valid_after_utc - now > ENOUGH

    def issue(self, names: Iterable[str], now: datetime) -> bytes:
        """A key (PKCS#8) and a certificate for a server that is reached under these names, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        ours = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("transcribed"))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEFORE)
            .not_valid_after(min(now + _LEAF_LASTS, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(map(_alternative, names)), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return _private(key) + certificate.public_bytes(Encoding.PEM)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
