"""One form for every classifier: idempotent on any Unicode, and deaf to the habits of outlets."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.normalisation import normalise

#: A mark that touches a word on either side.
GLUED = re.compile(r'\w"\w')

any_unicode = st.text(st.characters(exclude_categories=()))
#: Dense in what the rules look at: marks with and without spaces, combining characters, debris between them.
tricky_text = st.text("\"«»‹›“”„‟″'’ \u00a0\n\x00\x1f\u200b\ufeff\u00ad\u0301\u0327\u0338=<e(.…a1\ud800\u1fef\u2001")


@settings(deadline=None, max_examples=400)
@given(any_unicode | tricky_text)
def test_idempotent_and_clean_on_any_unicode(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())
    assert not any(unicodedata.category(c) == "Cc" or c in "«»“”„’…\u200b\ufeff\u00ad" for c in once)


@settings(deadline=None)
@given(tricky_text)
def test_words_stay_as_they_are(text: str) -> None:
    without_marks = normalise(text.translate(dict.fromkeys(map(ord, '"«»‹›“”„‟″'), " ")))
    assert normalise(text).replace('"', " ").split() == without_marks.split()


@settings(deadline=None)
@given(st.text('"" a,'))
def test_straight_marks_never_glue_words(text: str) -> None:
    assert len(GLUED.findall(normalise(text))) <= len(GLUED.findall(" ".join(text.split())))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("« Il n’a rien dit »", '"Il n\'a rien dit"'),
        ("“Il n’a rien dit”", '"Il n\'a rien dit"'),
        ('" Il n\'a rien dit "', '"Il n\'a rien dit"'),
        ("«\u202fRien\u00a0», dit-il.", '"Rien", dit-il.'),
        ("e\u0301te\u0301", "été"),
        ("e\u200b\u0301te\u0301", "été"),
        ("co\u00adopé\u00adra\u00adtion", "coopération"),
        ("peut‑être…", "peut-être..."),
        (
            "impor- \n  tant, dé\u00ad\nmenti, Seine-Saint-\nDenis, dit-\nil, a-t-\nelle",
            "important, démenti, Seine-Saint- Denis, dit- il, a-t- elle",
        ),
        (
            "Le plan est impor-\ntant, peut-\r\nêtre - \ndit-il -\nbien.",
            "Le plan est important, peutêtre - dit-il - bien.",
        ),
        ("a\u2028b\tc\x00d", "a b c d"),
        ("", ""),
        (" \u00a0\n", ""),
    ],
)
def test_examples(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # A quotation that began in the sentence before: its closing mark comes first.
        ("C’est fini », a dit « le Figaro ».", 'C\'est fini", a dit "le Figaro".'),
        ('C\'est fini", a dit "le Figaro".', 'C\'est fini", a dit "le Figaro".'),
        ("Il parle de « honte", 'Il parle de "honte'),
        ('Le "Divan" et " rien', 'Le "Divan" et " rien'),
        ("„Wort“ dit-il", '"Wort" dit-il'),
        ('un écran de 12" ou de 15" environ', 'un écran de 12" ou de 15" environ'),
    ],
)
def test_unbalanced_marks_glue_no_words(raw: str, expected: str) -> None:
    assert normalise(raw) == expected
