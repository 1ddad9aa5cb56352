"""Parsing of the Content-Disposition header of a form's part: the field's name and the file's name.

Clients write a file's name in various ways: quoted or not, in UTF-8 or Latin-1, as `filename*` (RFC 5987,
RFC 8187), or as encoded words of mail (RFC 2047).
"""

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

# Possessive quantifiers make matching linear in the header's length. An open quotation extends to its end.
_PARAMETER = re.compile(
    r""";[ \t\r\n]*+([^ \t\r\n=;"]++)[ \t\r\n]*+=[ \t\r\n]*+("(?:[^"\\]|\\.?)*+"?+|[^;]*+)""", re.DOTALL
)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"([^']*)'[^']*'(.*)", re.DOTALL)
_CHARSETS = {"utf-8", "iso-8859-1", "us-ascii"}


@dataclass(frozen=True, slots=True)
class Disposition:
    """A parsed header; `filename` is None for a field that is not a file."""

    name: str
    filename: str | None


def disposition(header: bytes) -> Disposition:
    """Parse the header of a part. Invalid parameters are ignored."""
    parameters: dict[str, str] = {}
    for key, value in _PARAMETER.findall(_text(header)):
        parameters.setdefault(key.lower(), _unquoted(value))
    plain = parameters.get("filename")
    # `filename*` has precedence: `filename` is then a fallback for servers that do not support it.
    found = _extended(parameters.get("filename*", ""))
    if found is None and plain is not None:
        found = _decoded_words(plain)
    return Disposition(_decoded_words(parameters.get("name", "")), found)


def _text(header: bytes) -> str:
    """Decode UTF-8, or else Windows-1252. Invalid bytes become surrogates, which no valid name has."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("cp1252", errors="surrogateescape")


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip(" \t\r\n")
    # Other backslashes remain, such as those of a Windows path, and make the name invalid.
    return _ESCAPED.sub(r"\1", value[1:].removesuffix('"'))


def _extended(value: str) -> str | None:
    """Decode CHARSET'LANGUAGE'NAME with a percent-encoded name; None if it is invalid."""
    found = _EXTENDED.fullmatch(value)
    if found is None or found[1].lower() not in _CHARSETS:
        return None
    try:
        return unquote_to_bytes(found[2]).decode(found[1])
    except UnicodeDecodeError:
        return None


def _decoded_words(value: str) -> str:
    """The text with its encoded words decoded; unchanged if they are invalid."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
