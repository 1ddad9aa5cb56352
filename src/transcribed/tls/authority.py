"""A local certificate authority, in memory: no file access, and the time is passed in."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
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

MIN_REMAINING = timedelta(days=365)
"""An authority with less time left is replaced when a server starts, so that it can run this long."""

_AUTHORITY_LIFETIME = timedelta(days=3650)
# Apple accepts at most 825 days for certificates of an authority that the user added
# ("Requirements for trusted certificates in iOS 13 and macOS 10.15").
_SERVER_LIFETIME = timedelta(days=730)
# Certificates are backdated by this much, for clients whose clock is slow.
_BACKDATED_BY = timedelta(days=1)

_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LONGEST_NAME = 253


def subject_name(host: str) -> str | None:
    """A host name or IP address as a subject alternative name; None if a certificate cannot contain it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
        return None if address.is_unspecified else str(address)
    except ValueError:
        name = host.lower().removesuffix(".")
        return name if _HOST_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME else None


@dataclass(frozen=True)
class Authority:
    """A self-signed CA certificate and its private key."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, machine: str, now: datetime) -> Self:
        """A new authority. `machine` appears in its name, for people who read a list of authorities."""
        key = ec.generate_private_key(ec.SECP256R1())
        # The name is unique because some clients look an authority up by its name alone.
        name = _name(f"transcribed {token_hex(2)} on {machine}"[:64])
        builder = _builder(key, name, name, now, now + _AUTHORITY_LIFETIME, ca=True)
        certificate = builder.sign(key, hashes.SHA256())
        return cls(certificate, key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The authority that the property `pem` wrote. Raises ValueError for any other content."""
        try:
            key = load_pem_private_key(pem, None)
        except TypeError as error:  # The key is encrypted; `pem` never encrypts.
            raise ValueError(str(error)) from error
        certificate = x509.load_pem_x509_certificate(pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("The key is not the certificate's.")
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """Private key and certificate, with which any host can be impersonated to clients that trust it."""
        return _private_pem(self._key) + self.certificate_pem

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone, for clients to trust."""
        return self.certificate.public_bytes(Encoding.PEM)

    def expires_soon(self, now: datetime) -> bool:
        """Whether at most MIN_REMAINING is left, too little for a server that starts now."""
        return self.certificate.not_valid_after_utc - now <= MIN_REMAINING

    def issue(self, names: Iterable[str], now: datetime) -> bytes:
        """A new key (PKCS#8) and a server certificate for these host names and IP addresses, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject, expires = _name("transcribed"), self.certificate.not_valid_after_utc
        authority_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(
                key, subject, self.certificate.subject, now, min(now + _SERVER_LIFETIME, expires), ca=False
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return _private_pem(key) + certificate.public_bytes(Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    issuer: x509.Name,
    now: datetime,
    expires: datetime,
    *,
    ca: bool,
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED_BY)
        .not_valid_after(expires)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
