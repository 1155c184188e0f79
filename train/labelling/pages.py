"""A web page saved on disk → the article in it: its text, headline, and what the page says of itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from train.normalisation import normalise

#: What a page may say of itself, for `--keep`.
METADATA = ("title", "author", "date", "url", "sitename")

#: Characters of a rubric before a headline, about.
_RUBRIC = 40
#: A date that the page states, not a year that its text happens to name.
_STATED = {"extensive_search": False, "original_date": True}


@dataclass(frozen=True)
class Page:
    """An article taken out of its page; paragraphs are separated by line breaks."""

    title: str
    text: str
    metadata: dict[str, Any]


def _repeats(line: str, title: str) -> bool:
    """Whether a line is the headline, which may have a rubric before it there, or the outlet's name behind it here."""
    return bool(title and line) and (
        title.startswith(line) or (line.endswith(title) and len(line) < len(title) + _RUBRIC)
    )


def read_page(raw: bytes) -> Page | None:
    """Return the article of a page, None where there is no text to be found.

    The text is made here, so that offsets point into it and not into the page. A first line that repeats the
    headline is left out: the headline is context, never a sentence.
    """
    from trafilatura import bare_extraction

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs what it reads
    found: Any = bare_extraction(
        raw, include_comments=False, include_tables=False, with_metadata=True, date_extraction_params=_STATED
    )
    if found is None or not (found.text or "").strip():
        return None
    title, text = (found.title or "").strip(), str(found.text)
    first, _, rest = text.partition("\n")
    if rest.strip() and _repeats(normalise(first), normalise(title)):
        text = rest
    return Page(title, text, {key: getattr(found, key, None) for key in METADATA})
