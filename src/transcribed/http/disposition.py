"""The header Content-Disposition of a part of a form: a field's name, and a file's, however it is written.

Programs write a file's name in all the ways that were ever legal: quoted or not, as UTF-8 or Latin-1, as
`filename*` (RFC 5987, 8187), or as encoded words of mail (RFC 2047).
"""

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

# Linear in the length of the header: nothing is tried twice. A quotation that is open lasts to the end.
_PARAMETER = re.compile(
    r""";[ \t\r\n]*+([^ \t\r\n=;"]++)[ \t\r\n]*+=[ \t\r\n]*+("(?:[^"\\]|\\.?)*+"?+|[^;]*+)""", re.DOTALL
)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"([^']*)'[^']*'(.*)", re.DOTALL)
_CHARSETS = {"utf-8", "iso-8859-1", "us-ascii"}


@dataclass(frozen=True, slots=True)
class Disposition:
    """What the header says; `filename` is None for a field that is no file."""

    name: str
    filename: str | None


def disposition(header: bytes) -> Disposition:
    """What the header of a part says. What cannot be read is left out."""
    parameters: dict[str, str] = {}
    for key, value in _PARAMETER.findall(_text(header)):
        parameters.setdefault(key.lower(), _unquoted(value))
    plain = parameters.get("filename")
    # Where there are both, the other is for clients, and servers, that know no better.
    found = _extended(parameters.get("filename*", ""))
    if found is None and plain is not None:
        found = _decoded_words(plain)
    return Disposition(_decoded_words(parameters.get("name", "")), found)


def _text(header: bytes) -> str:
    """UTF-8, as it should be, or Windows' Latin-1, as it was; what is neither becomes no valid name."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("cp1252", errors="surrogateescape")


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip(" \t\r\n")
    # A lone backslash stays, as that of a Windows path: no valid name has one.
    return _ESCAPED.sub(r"\1", value[1:].removesuffix('"'))


def _extended(value: str) -> str | None:
    """CHARSET'LANGUAGE'NAME in percent-encoding; None where it is not valid."""
    found = _EXTENDED.fullmatch(value)
    if found is None or found[1].lower() not in _CHARSETS:
        return None
    try:
        return unquote_to_bytes(found[2]).decode(found[1])
    except UnicodeDecodeError:
        return None


def _decoded_words(value: str) -> str:
    """The text with its encoded words decoded; as it is where they are not valid."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
