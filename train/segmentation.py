"""Cut raw French news text into sentences, and say where a quotation is open.

A paragraph is cut in two steps. ``_mask`` makes a copy of the same length without what could be mistaken for
the end of a sentence: quotation marks show their direction, addresses are plain words, the full stops of
abbreviations are gone. Then each run of ``. ? ! …`` left in the copy ends a sentence if what follows can
begin one. Offsets into the copy are offsets into the raw text, which is never changed.

Every pattern runs in linear time on text of any length and content.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from train.schema import Sentence

#: A paragraph ends where ``str.splitlines`` ends a line, unless the line was wrapped; no sentence crosses that.
_ENDS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_PARAGRAPH, _BREAK = re.compile(f"[^{_ENDS}]+"), re.compile(f"[{_ENDS}]")
#: Where this share of the lines is no longer, they may have been wrapped: mail, terminals and PDF files cut them to a
#: width. A headline's address or a notice may be longer.
_WIDTH, _MOSTLY = 120, 0.9
#: A wrapped line and the word after it fill this share of the width (letters differ in theirs), and of the breaks after
#: such lines, where no mark ends them, this share stands before a small letter. (Headlines begin with capitals.)
_FULL, _GOES_ON = 0.85, 0.4
#: Pages hold lines of nothing but zero-width characters or control codes: nobody sees a sentence there.
VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2060\ufeff]")
_MARK = re.compile('[«»“”„‟"″]')

_UPPER, _LOWER = "A-ZÀ-ÖØ-ÞŒŸ", "a-zß-öø-ÿœ"
_FIRST_WORDS = (
    "Le La Les Un Une Des Il Elle Ils Elles On Je Nous Vous Ce Cet Cette Ces Cela Ça Sa Ses Leur Leurs "
    "Mais Et Où Or Car Donc Si Selon En Dans Pour Par Avec Sans Sur Sous Au Aux À Après Avant Depuis Lors "
    "Lorsque Quand Comme Alors Ainsi Aussi Enfin Puis"
)
#: The beginning of a sentence even where a capital proves nothing. A small letter must follow:
#: « U.S.A. Le pays » and « Karim M. Il a » hold one, « J. Le Goff » and « M. La Fontaine » do not.
_OPENING = rf"(?:(?:{'|'.join(_FIRST_WORDS.split())})\s+[{_LOWER}]|(?:[LDCJNSM]|Qu)['’]\s?[{_LOWER}])"
_CERTAIN_START = re.compile(_OPENING)
#: Scraped text drops capitals; only these words are trusted to begin a sentence without one.
_SMALL_START = re.compile(r"(?:les?|la|une?|ils?|elles?|on|nous|je|ce|cette|mais|selon)\s|l['’]")

#: « Il part. (...) Elle reste » : the omission belongs to what follows; without a stop before it, it is one.
_OMISSION = re.compile(r"(?:(?<=[.?!…»]\s)|(?<=[.?!…»]\s\s))[(\[]\s?(?:\.{2,3}|…)\s?[)\]]")
_ADDRESS = re.compile(
    r"""(?:https?://|www\.)\S*[\w/]
      | (?<![\w.+-])[\w.+-]+@[\w.-]*\w
      | @\w+(?:\.\w+)* | \#\w+
      | (?<![\w.-])(?:[\w-]+\.)+(?:fr|com|org|net|eu|be|ch|uk|info|io|tv|js)\b(?:/\S*[\w/])?""",
    re.VERBOSE | re.IGNORECASE,
)
_ABBREVIATION = re.compile(
    rf"""(?<!\w)(?:
        (?:MM|Mmes?|Mlles?|Mrs?|Ms|Mgr|Mes?|Drs?|Prs?|Prof|Ste?|[Ff]bg|[Bb]d|Gén|Col|Cdt|Lt|[Cc]f|vs|feat|ft
          |env|av|apr|éd|c\.-à-d)\.
      | (?:[Nn]os?|n|pp?|t|vol|ch|chap|fig|al|[Tt]él|janv|févr|avr|juil|sept|oct|nov|déc)\.(?=\s*\d)
      | [Aa]rt\.(?=\s*(?:\d|[LRD]\.))
      | (?:(?<=:\s)1|(?<=:\s\s)1|(?<=;\s)\d\d?|(?<=;\s\s)\d\d?)\.
      | etc\.(?=\W+[{_LOWER}])
      | (?:[{_UPPER}]|[{_LOWER}](?:\.[{_LOWER}])+|Inc|Corp|Ltd|Co|Jr|Sr)\.(?!\s*{_OPENING})
    )""",
    re.VERBOSE,
)

#: A full stop with the closing marks, note numbers and emoji that belong to it (``. »``, ``.».``, ``.[1]``);
#: in group 1, what stands before the next word (zero-width characters are debris of scraped pages).
_STOP = re.compile(
    r"[.?!…]+(?:\s*[»)\]☀-➿\ufe0f\U0001f000-\U0001faff][.?!…]*|['’]+(?!\w)|\[\d{1,3}\])*"
    r"(?=([\s\u200b\ufeff]*(?:[«(\[*•–—'’-]\s*)*))"
)
#: A sentence holds more than a list number (« 2. », « IV. », « A. »).
_CONTENT = re.compile(r"[^\W\d_A-Z]|[A-HJ-UWYZ]\w")


def segment(text: str) -> tuple[Sentence, ...]:
    """Return the sentences of ``text`` in order.

    They do not overlap, neither begin nor end with white space, and cover every visible character. A quotation
    of several sentences is cut; its closing mark stays with the last one.
    """
    sentences = []
    for paragraph in _PARAGRAPH.finditer(unwrap(text)):
        masked = _mask(paragraph[0])
        begin = 0
        for end in (*_ends(masked), len(masked)):
            raw = paragraph[0][begin:end]
            if VISIBLE.search(raw):
                stripped = raw.strip()
                start = paragraph.start() + begin + len(raw) - len(raw.lstrip())
                sentences.append(Sentence(start, start + len(stripped)))
            begin = end
    return tuple(sentences)


def unwrap(text: str) -> str:
    """Return ``text`` with spaces for the line breaks inside wrapped paragraphs; the length and the rest stay.

    Paragraphs are what line breaks separate, but for text whose lines were cut to a width: there the lines that had
    room for more end one, and blank lines and indents do.
    """
    lines = [line for line in _PARAGRAPH.finditer(text) if line[0].strip()]
    sizes = [len(line[0].strip()) for line in lines if " " in line[0].strip()]
    short = [size for size in sizes if size <= _WIDTH]
    if not short or len(short) < _MOSTLY * len(sizes):
        return text
    room, margin = _FULL * max(short), min(map(_indent, lines))
    breaks = []
    for line, after in pairwise(lines):
        if text[line.end() : after.start()] in ("\n", "\r\n", "\r") and _indent(after) <= margin:
            following = after[0].split(maxsplit=1)[0]
            full = len(line[0].strip()) + 1 + len(following) >= room
            stopped = line[0].rstrip()[-1] in ".?!…:;"
            breaks.append((slice(line.end(), after.start()), full, stopped, following[0].islower()))
    goes_on = [small for _, full, stopped, small in breaks if full and not stopped]
    if len(goes_on) < 2 or sum(goes_on) < _GOES_ON * len(goes_on):
        return text
    characters = list(text)
    for place, full, stopped, small in breaks:
        if full or (small and not stopped):
            characters[place] = " " * (place.stop - place.start)
    return "".join(characters)


def _indent(line: re.Match[str]) -> int:
    return len(line[0]) - len(line[0].lstrip())


def new_paragraph(unwrapped: str, start: int, end: int) -> bool:
    """Return whether a paragraph ends between two places of a text that ``unwrap`` returned."""
    return _BREAK.search(unwrapped, start, end) is not None


def open_quotations(text: str, sentences: Sequence[Sentence]) -> tuple[bool, ...]:
    """Return for each sentence whether a quotation begun before it is still open where it starts.

    The end of a paragraph closes every quotation, for real pages lose closing marks, unless the next opens
    with a quotation mark: then the quotation goes on. ``sentences`` need not come from ``segment``.
    """
    offsets, states = [0], [False]
    for paragraph in _PARAGRAPH.finditer(unwrap(text)):
        indent = len(paragraph[0]) - len(paragraph[0].lstrip())
        if indent == len(paragraph[0]):
            continue
        marks = list(_marks(paragraph[0]))
        offsets.append(paragraph.start())
        states.append(states[-1] and bool(marks) and marks[0][:2] == (indent, True))
        for position, _, still_open in marks:
            offsets.append(paragraph.start() + position + 1)
            states.append(still_open)
    return tuple(states[bisect_right(offsets, sentence.start) - 1] for sentence in sentences)


def _marks(paragraph: str) -> Iterator[tuple[int, bool, bool]]:
    """Yield each quotation mark: its position, whether it opens, whether a quotation is open after it.

    « and » mean what they say. The others are used at both ends, and the white space beside one tells its
    direction; where it does not (``."Le``, ``. " Le``), a straight mark closes what is open and a curly one
    follows its shape. A closing mark closes whatever is open if its own kind is not (« en 2022″).
    """
    opened: list[str] = []
    for match in _MARK.finditer(paragraph):
        position, mark = match.start(), match[0]
        before, after = paragraph[position - 1 : position], paragraph[position + 1 : position + 2]
        kind = "«" if mark in "«»" else '"'
        may_open = not before or before.isspace() or before in "'’([-–—«"
        may_close = not after.isalnum()
        if mark in "«»„":
            opens = mark != "»"
        elif may_open != may_close:
            opens = may_open
        elif mark in '"‟':
            opens = kind not in opened and not before.isdigit()
        else:
            opens = mark == "“"
        if opens and kind not in opened:
            opened.append(kind)
        elif not opens:
            del opened[opened.index(kind) if kind in opened else 0 :]
        yield position, opens, bool(opened)


def _mask(paragraph: str) -> str:
    """Return a copy of the same length whose only full stops are those that may end a sentence."""
    characters = list(paragraph)
    for position, opens, _ in _marks(paragraph):
        characters[position] = "«" if opens else "»"
    masked = _OMISSION.sub(lambda m: "(" * len(m[0]), "".join(characters))
    masked = _ADDRESS.sub(lambda m: "X" + "x" * (len(m[0]) - 1), masked)
    return _ABBREVIATION.sub(lambda m: m[0].replace(".", "_"), masked)


def _ends(masked: str) -> Iterator[int]:
    """Yield where the sentences of a masked paragraph end, the last one excepted."""
    begin = 0
    for stop in _STOP.finditer(masked):
        if _starts_after(masked, stop):
            if _CONTENT.search(masked, begin, stop.start()):
                yield stop.end()
            begin = stop.end()  # no content up to here, or a new sentence: either way never searched again


def _starts_after(masked: str, stop: re.Match[str]) -> bool:
    """Return whether what follows ``stop`` can begin a sentence."""
    start = stop.end(1)
    first, second = masked[start : start + 1], masked[start + 1 : start + 2]
    if not first.isalnum():
        return False
    if not stop[1] and stop[0][-1] in ".?!…":
        # Words glued together by scraping: « fin.Il a dit », but not « 3.000 », « v2.0 » or « Node.JS ».
        capital_after_small = masked[stop.start() - 1].islower() and not (first.islower() or second.isupper())
        return capital_after_small or bool(_CERTAIN_START.match(masked, start))
    if first.islower():  # « iPhone », « b) », or a lost capital
        return second.isupper() or second == ")" or bool(stop[0] == "." and _SMALL_START.match(masked, start))
    return not (first.isdigit() and stop[0].startswith(("...", "…")))  # « depuis... 2012 » goes on
