"""Languages as clients write them (a locale, two letters, or an English name) and as an engine does."""

import re
from collections.abc import Sequence

_NAMES: dict[str, str] = dict(
    re.findall(
        r"(\w+)=(\w+)",
        """
        af=afrikaans am=amharic ar=arabic be=belarusian bg=bulgarian bn=bengali bs=bosnian ca=catalan
        cs=czech cy=welsh da=danish de=german el=greek en=english es=spanish et=estonian eu=basque
        fa=persian fi=finnish fr=french gl=galician gu=gujarati he=hebrew hi=hindi hr=croatian ht=haitian
        hu=hungarian hy=armenian id=indonesian is=icelandic it=italian ja=japanese jv=javanese
        ka=georgian kk=kazakh km=khmer kn=kannada ko=korean lt=lithuanian lv=latvian mk=macedonian
        ml=malayalam mr=marathi ms=malay my=burmese ne=nepali nl=dutch no=norwegian pa=punjabi pl=polish
        ps=pashto pt=portuguese ro=romanian ru=russian si=sinhala sk=slovak sl=slovenian so=somali
        sq=albanian sr=serbian su=sundanese sv=swedish sw=swahili ta=tamil te=telugu th=thai tl=tagalog
        tr=turkish uk=ukrainian uz=uzbek vi=vietnamese zh=chinese zu=zulu
        """,
    )
)
_CODES = {name: code for code, name in _NAMES.items()}
_SEPARATOR = re.compile(r"[-_]")


def matching(asked: str, languages: Sequence[str]) -> str | None:
    """The one of an engine's languages that a client means, or None.

    The same region is preferred to another one of the same language: of "en-US" and "en-GB" the latter for
    "en_gb", and the first for "en", "EN-nz" and "English".
    """
    wanted = _parts(_CODES.get(asked.strip().lower(), asked))
    same = [each for each in languages if _parts(each)[0] == wanted[0]]
    return next((each for each in same if _parts(each) == wanted), same[0] if same else None)


def name_of(language: str) -> str:
    """The English name of a language, in lower case; its code without a region if the name is unknown."""
    code = _parts(language)[0]
    return _NAMES.get(code, code)


def _parts(language: str) -> list[str]:
    return _SEPARATOR.split(language.strip().lower())
