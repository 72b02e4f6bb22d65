"""Repair of damaged text: doubly encoded letters, HTML entities, control characters, stray white space.

Belongs here: what is wrong with a text whatever it says. What it means (titles, years, names) is read
elsewhere.
"""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import unquote

import polars as pl

# Whatever may need work: anything but printable ASCII, white space but for one space between words, entities.
_SUSPECT = r"[^\x20-\x7E]|  |^ | $|&#?\w+;|\.mw-parser-output"

# Control characters and invisible marks. U+200C and U+200D stay: Persian and Indic words need them.
_INVISIBLE = r"[[\x00-\x1F\x7F]&&[^\s]]|[\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}\x{2066}-\x{2069}\x{FEFF}]"
# These may be halves of a doubly encoded letter, and go only after decoding: C1 controls and the soft hyphen.
_INVISIBLE_AT_LAST = _INVISIBLE + r"|[[\x{80}-\x{9F}]&&[^\s]]|\x{AD}"

# Letters and punctuation that are composed already (NFC): texts of nothing else need no composing.
_MAY_BE_DECOMPOSED = r"[^\x{00}-\x{2FF}\x{2010}-\x{2027}\x{2030}-\x{203A}\x{20AC}]"

# UTF-8 read as Latin-1 or Windows-1252 shows a letter from À to ô and then what a byte from 80 to BF looks
# like.
_DOUBLY_ENCODED = (
    r"[\x{80}-\x{84}\x{86}-\x{9F}]|[\x{C2}-\x{F4}][\x{80}-\x{BF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|"
    r"√[^\s\d]|Ã(?: |$)"
)
# The same, saved as Mac Roman and read as Latin-1: "é" has become "Ì©".
_VIA_MAC_ROMAN = re.compile("Ì[\xa0-\xbf]")
# "à" doubly encoded ends in a no-break space, which is easily lost at the end of a text.
_LOST_SPACE = re.compile("(?<=[a-z])Ã$")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Style sheets which copies of Wikipedia carry in the middle of sentences.
_STYLE_SHEET = r"\.mw-parser-output[^{}]*\{[^{}]*\}"


def _decoded(text: str) -> str:
    """Undo double encoding and entities until nothing changes: each may hide the other."""
    import ftfy

    text = _VIA_MAC_ROMAN.sub(lambda match: match[0].encode("latin-1").decode("mac_roman"), text)
    text = _LOST_SPACE.sub("à", text)
    while True:
        better = _ENTITY.sub(lambda match: html.unescape(match[0]), ftfy.fix_encoding(text))
        better = unicodedata.normalize("NFC", better)
        # Only ever shorter: two readings that turn into each other would never end.
        if better == text or len(better) > len(text):
            return better
        text = better


def _composed(texts: pl.Series) -> pl.Series:
    rows = texts.str.contains(_MAY_BE_DECOMPOSED).arg_true()
    return texts.scatter(rows, texts.gather(rows).str.normalize("NFC")) if rows.len() else texts


def _mended(texts: pl.Series) -> pl.Series:
    texts = _composed(texts.str.replace_all(_INVISIBLE, ""))
    frame = texts.to_frame("text")
    wrong = pl.col("text").str.contains(_DOUBLY_ENCODED) | pl.col("text").str.contains(r"&#?\w+;")
    damaged = frame.filter(wrong)["text"].unique()
    if damaged.len():
        decoded = pl.Series([_decoded(text) for text in damaged], dtype=pl.String)
        texts = texts.replace(damaged, decoded)
    texts = texts.str.replace_all(_STYLE_SHEET, "").str.replace_all(_INVISIBLE_AT_LAST, "")
    return _composed(texts).str.replace_all(r"\s+", " ").str.strip_chars(" ")


def repaired(texts: pl.Series) -> pl.Series:
    """Repair `texts` [str]: same length and order; null where nothing is left.

    Doubly encoded text is decoded (ftfy), HTML entities are unescaped, control and invisible characters go,
    letters are composed (NFC), and every run of white space, no-break spaces and line ends included,
    becomes one space.
    """
    suspect = texts.str.contains(_SUSPECT).fill_null(False)
    if suspect.any():
        rows = suspect.arg_true()
        # A copy of the column is written to: the caller's stays as it is.
        texts = texts.clone().scatter(rows, _mended(texts.gather(rows)))
    return texts.to_frame("text").select(pl.when(pl.col("text") != "").then("text")).to_series()


def percent_decoded(texts: pl.Series) -> pl.Series:
    """Undo URL escapes (`%22` -> `"`) where the result is printable text; everything else stays as it is."""
    escaped = texts.filter(texts.str.contains(r"%[0-9A-Fa-f]{2}")).unique().drop_nulls()
    if not escaped.len():
        return texts
    return texts.replace(escaped, pl.Series([_unquoted(text) for text in escaped], dtype=pl.String))


def _unquoted(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return decoded if decoded.isprintable() else text
