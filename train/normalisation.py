"""One normalisation for every classifier: NFC, plain spaces, one kind of quotation mark and apostrophe.

It is applied to slices of the raw text after segmentation, never before: NFC changes lengths, and offsets
point into the raw text.
"""

from __future__ import annotations

import re
import unicodedata

#: Debris of scraped pages: soft hyphen, zero-width space, joiners, word joiner, byte order mark.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: In wrapped lines a word is oftener cut (« impor-/tant ») than a compound at its hyphen, unless what follows tells.
_CUT_WORD = re.compile(
    r"(?<=[^\W\d_])[-‐\u00ad][ \t]*(?:\r\n|\n|\r)[ \t]*(?=[a-zà-öø-ÿœ])"
    r"(?!(?:ils?|elles?|on|je|tu|nous|vous|ce|là|ci|t)\b)"
)
_SPACES = re.compile(r"\s+")
#: Spaces inside a quotation, where the mark itself says on which side it stands.
_INNER_SPACE = re.compile(r"(?<=[«‹]) | (?=[»›])|(?<=(?<!\S)[“„‟]) | (?=”(?!\w))")
_MARKS = str.maketrans("’‘ʼ“”„‟″«»‹›‐‑", "'''" + 9 * '"' + "--", "") | {ord("…"): "..."}
#: ``" oui "``: straight marks are a pair only where white space says so. A sentence often has one mark of two.
_SPACED_PAIR = re.compile(r'(?<!\S)" ([^"\s][^"]*) "(?!\w)')


def rejoin(text: str) -> str:
    """Return ``text`` with the words whole that its lines cut in two."""
    return _CUT_WORD.sub("", text)


def normalise(text: str) -> str:
    """Return ``text`` in the one form that classifiers see.

    Quotation marks become ``"`` without inner spaces (outlets differ in nothing but habit there), apostrophes
    ``'``, runs of white space one space; control characters and soft hyphens go. Idempotent.
    """
    text = _CONTROL.sub(" ", rejoin(text).translate(_INVISIBLE))
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", text))
    text = _INNER_SPACE.sub("", text).translate(_MARKS)
    return _SPACED_PAIR.sub(r'"\1"', text).strip()
