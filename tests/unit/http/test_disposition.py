import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.http.disposition import Disposition, disposition


def said(parameters: str | bytes) -> Disposition:
    encoded = parameters.encode() if isinstance(parameters, str) else parameters
    return disposition(b"form-data; " + encoded)


@pytest.mark.parametrize(
    ("client", "parameters", "name"),
    [
        ("curl, browsers", 'name="file"; filename="Müller.wav"', "Müller.wav"),
        ("Go", r'name="file"; filename="say \"hi\"; \\o/.wav"', r'say "hi"; \o/.wav'),
        (".NET", "name=file; filename=a.wav; filename*=utf-8''a.wav", "a.wav"),
        (
            ".NET, PowerShell",
            "name=file; filename=\"=?utf-8?B?TcO8bGxlci53YXY=?=\"; filename*=utf-8''M%C3%BCller.wav",
            "Müller.wav",
        ),
        ("PowerShell 5", 'name=file; filename="=?utf-8?B?TcO8bGxlci53YXY=?="', "Müller.wav"),
        ("Spring", 'name="file"; filename="=?UTF-8?Q?M=C3=BCller_1.wav?="', "Müller 1.wav"),
        (
            "JavaMail, in two words",
            'name="file"; filename="=?UTF-8?Q?M=C3=BC?= =?UTF-8?B?bGxlci53YXY=?="',
            "Müller.wav",
        ),
        ("JavaMail in Japan", 'name="file"; filename="=?iso-2022-jp?B?GyRCTyIbKEIud2F2?="', "連.wav"),
        ("requests", "name=\"file\"; filename*=utf-8''%E9%8C%B2%E9%9F%B3.wav", "録音.wav"),
        (
            "aiohttp",
            'name="file"; filename="M%C3%BCller.wav"; filename*=utf-8\'\'M%C3%BCller.wav',
            "Müller.wav",
        ),
        ("Latin-1", "name=file; filename*=ISO-8859-1'de'M%FCller.wav", "Müller.wav"),
        (
            "the other way round",
            "filename*=UTF-8'en'M%C3%BCller.wav; filename=x.wav; name=file",
            "Müller.wav",
        ),
        ("raw Latin-1", b'name="file"; filename="M\xfcller.wav"', "Müller.wav"),
        ("raw Windows-1252", b'name="file"; filename="\x93M\xfcller\x94\x85.wav"', "“Müller”….wav"),
        ("no quotation marks", "name=file; filename=my talk (1).wav", "my talk (1).wav"),
        ("in upper case", 'NAME="file"; FILENAME="A.wav"', "A.wav"),
        ("no spaces", 'name="file";filename="a;b=c, d.wav"', "a;b=c, d.wav"),
        ("an old browser on Windows", r'name="file"; filename="C:\talks\a.wav"', r"C:\talks\a.wav"),
        ("percent signs that are its own", 'name="file"; filename="100%22.wav"', "100%22.wav"),
        ("empty", 'name="file"; filename=""', ""),
        ("the first of two", 'name="file"; filename="a.wav"; filename="b.wav"', "a.wav"),
        ("an unknown charset", "name=file; filename=a.wav; filename*=utf-9''b.wav", "a.wav"),
        ("not of its charset", "name=file; filename=a.wav; filename*=utf-8''%ff.wav", "a.wav"),
        ("no charset", "name=file; filename=a.wav; filename*=b.wav", "a.wav"),
        ("a word that is none", 'name="file"; filename="=?utf-8?B?TcO8bGxlc?="', "=?utf-8?B?TcO8bGxlc?="),
        ("a word of no charset", 'name="file"; filename="=?bogus?Q?a?="', "=?bogus?Q?a?="),
        ("a word that is not UTF-8", 'name="file"; filename="=?utf-8?Q?=FF?="', "=?utf-8?Q?=FF?="),
        ("an open quotation", 'name="file"; filename="a.wav', "a.wav"),
        ("no bytes of any charset", b'name="file"; filename="\x81\xff.wav"', "\udc81ÿ.wav"),
    ],
)
def test_a_files_name_is_read_as_clients_write_it(client: str, parameters: str | bytes, name: str) -> None:
    assert said(parameters) == Disposition("file", name)


@pytest.mark.parametrize(
    "parameters", ['name="file"', "name=file; filename", "name=file; filename*=x", "name=file; xfilename=a"]
)
def test_what_has_no_file_name_is_no_file(parameters: str) -> None:
    assert said(parameters) == Disposition("file", None)


@pytest.mark.alone
@pytest.mark.parametrize(
    "parameters",
    [
        '; x="' * 1000,
        '; x="' + ";" * 4000,
        '; a="\\"' * 600,
        ';"\\' * 1300,
        "; " + "a" * 2000 + " " * 2000,
        ";" + " " * 4000,
        "; a=" + "=?a?q?" * 650,
        '; filename="' + "=?a?q?" * 650 + '"',
        "; filename*=" + "'" * 4000,
    ],
)
def test_no_header_takes_long(parameters: str) -> None:
    began = time.thread_time()
    said(parameters)
    assert time.thread_time() - began < 0.1


@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(st.sampled_from(";=\"\\' filenm*?0Qutf-8%"), max_size=80).map(str.encode),
    )
)
def test_whatever_comes_is_read(header: bytes) -> None:
    disposition(header)
    said(header)
