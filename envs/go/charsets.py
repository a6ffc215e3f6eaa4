"""The charset of a game record: declared, marked, or guessed."""

import codecs
import re

from sgfmill import sgf_grammar

_DECLARED = re.compile(rb"(?<![A-Z])CA\s*\[\s*([^\]\s]{1,40})\s*\]")
_HEAD = 1 << 14
"""Bytes at the start of a record in which its charset is looked for."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDER = {
    "ascii": ("cp1252",),
    "iso8859-1": ("cp1252", "iso8859-1"),
    "shift_jis": ("cp932", "shift_jis_2004"),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "big5": ("big5hkscs", "cp950"),
    "euc_kr": ("cp949",),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
}
"""What programs that name a charset write: its extensions, as browsers know."""
_CHARSETS = {
    *("utf-8", "utf-16-le", "utf-16-be", "gb18030", "big5hkscs", "cp950", "hz"),
    *("cp932", "shift_jis_2004", "euc_jp", "euc_jis_2004", "iso2022_jp", "cp949", "johab"),
    *("koi8-r", "koi8-u", "mac-roman", "tis-620", "cp437", "cp850", "cp852", "cp866", "cp874"),
    *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859-{number}" for number in (*range(1, 12), *range(13, 17))),
}
"""Charsets that records use, by Python's names. Other codecs of Python's may be slow or not for text."""
_GUESSED = ("gb18030", "cp932", "big5hkscs", "euc_jp", "cp949", "cp1252", "cp1251", "iso8859-1")
"""The last one reads any bytes."""


def as_utf8(data: bytes) -> bytes:
    """A record in UTF-8: by its mark, its charset property CA, as UTF-8, or by a guess.

    Bytes that are not of the charset become �.
    """
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return _encoded(data[len(mark) :].decode(charset, "replace"))
    if b"\0" in data[:64]:
        charset = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
        return _encoded(data.decode(charset, "replace"))
    if data.isascii() and b"\x1b" not in data and b"~{" not in data:
        return data
    declared = _DECLARED.search(data, 0, _HEAD)
    charsets = _extensions(declared[1]) if declared else ()
    for charset in charsets or ("utf-8",):
        if (text := _decoded(data, charset)) is not None:
            return _encoded(text)
    return _guessed(data, charsets)


def _extensions(declared: bytes) -> tuple[str, ...]:
    """The charsets that a declared one may stand for; none if it is not known."""
    label = declared.decode("ascii", "replace").lower().removeprefix("x-")
    try:
        charset = codecs.lookup(label).name
    except (LookupError, ValueError):
        return ()
    return tuple(name for name in _WIDER.get(charset, (charset,)) if name in _CHARSETS)


def _decoded(data: bytes, charset: str, errors: str = "strict") -> str | None:
    try:
        return data.decode(charset, errors)
    except UnicodeError:
        return None


def _guessed(data: bytes, first: tuple[str, ...]) -> bytes:
    """The likeliest of the readings with most moves: in a wrong charset a bracket may be half of a letter."""
    from charset_normalizer import from_bytes

    likely = [match.encoding for match in from_bytes(data, cp_isolation=list(_GUESSED))]
    order = dict.fromkeys((*first, *likely, *_GUESSED))
    readings = [text for name in order if (text := _decoded(data, name)) is not None]
    return max(map(_encoded, readings), key=_moves)


def _moves(data: bytes) -> int:
    tokens, _ = sgf_grammar.tokenise(data)
    return sum(kind == "I" and token in (b"B", b"W") for kind, token in tokens)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
