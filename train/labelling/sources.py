"""An item → an article to label, or the reason why it is none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from train.labelling.choices import Kind
from train.labelling.items import LONGEST, Item
from train.labelling.pages import Page, read_page
from train.schema import HALF_CHARACTER, SelonError
from train.segmentation import VISIBLE

_ID_COLUMNS, _TITLE_COLUMN = ("article_id", "id"), "title"


@dataclass(frozen=True)
class Reading:
    """Which columns of a table hold what; ``title`` is the headline of articles that have none of their own."""

    text_column: str = "text"
    id_column: str | None = None
    title_column: str | None = None
    title: str = ""
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for said in (self.title, *self.columns):
            if HALF_CHARACTER.search(said):
                raise SelonError(f"{said!r} is not UTF-8; give titles and columns as the terminal's UTF-8")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        own = filter(None, (self.id_column, self.title_column))
        return tuple(dict.fromkeys((self.text_column, *own, *self.keep)))

    @property
    def read(self) -> tuple[str, ...]:
        """All columns of a table that are looked at, where it has them."""
        ids = (self.id_column,) if self.id_column else _ID_COLUMNS
        return tuple(dict.fromkeys((self.text_column, self.title_column or _TITLE_COLUMN, *ids, *self.keep)))


@dataclass(frozen=True)
class Source:
    """A raw article, and the columns beside it that the output keeps."""

    id: str
    text: str
    title: str = ""
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """What could not be labelled: where it stands and why, without a word of its text."""

    place: str
    reason: str


def read_source(item: Item, reading: Reading) -> Source | Reject:
    """Return the article of an item, or why there is none."""
    item = item.loaded()
    try:
        if item.reason:
            raise ValueError(item.reason)
        match item.kind:
            case Kind.text:
                raw = _bytes(item)
                found = Source(item.name, _decoded(raw), reading.title, dict.fromkeys(reading.keep))
            case Kind.html:
                page = _page(item)
                kept = {key: page.metadata.get(key) for key in reading.keep}
                found = Source(item.name, page.text, page.title or reading.title, kept)
            case _:
                found = _from_row(row_of(item), item.name, reading)
        _check(found)
    except ValueError as error:
        return Reject(item.place, str(error))
    except RecursionError:
        return Reject(item.place, "nested too deeply")
    return found


def _bytes(item: Item) -> bytes:
    assert isinstance(item.payload, bytes)  # noqa: S101 - loaded() sees to it
    return item.payload


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def _page(item: Item) -> Page:
    try:
        page = read_page(_bytes(item))
    except Exception as error:  # what libraries for pages stumble over has no end
        raise ValueError(f"the page cannot be taken apart ({type(error).__name__})") from None
    if page is None:
        raise ValueError("no article found in the page")
    return page


def row_of(item: Item) -> Mapping[str, Any]:
    """Return the cells of a row or line; ValueError where it is none."""
    if isinstance(item.payload, dict):
        return item.payload
    try:
        row = json.loads(_decoded(_bytes(item)))
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(row, dict):
        raise ValueError("a line must be a JSON object")
    return row


def _from_row(row: Mapping[str, Any], name: str, reading: Reading) -> Source:
    if reading.text_column not in row:
        raise ValueError(f"there is no {reading.text_column}; --text-column says which column holds the text")
    if reading.id_column and not _filled(row, reading.id_column):
        raise ValueError(f"{reading.id_column} is missing or empty")
    column = reading.id_column or next((key for key in _ID_COLUMNS if _filled(row, key)), None)
    identity = row[column] if column else name
    headline = reading.title_column or _TITLE_COLUMN
    text, title = (row[key] if _filled(row, key) else "" for key in (reading.text_column, headline))
    if not title or not (reading.title_column or isinstance(title, str)):
        title = ""  # null, false; or a column that nobody called a headline
    # Whole numbers beside an empty cell, as pandas keeps them; numbers of Oracle and Spark.
    if isinstance(identity, float | Decimal) and math.isfinite(identity) and identity == int(identity):
        identity = int(identity)
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise ValueError(f"{column} is neither text nor a whole number; --id-column names another column")
    for key, value in ((reading.text_column, text), (headline, title)):
        if not isinstance(value, str):
            raise ValueError(f"{key} is not text")
    kept = {key: _plain(row.get(key)) for key in reading.keep}
    return Source(str(identity), text, title or reading.title, kept)


def _filled(row: Mapping[str, Any], column: str) -> bool:
    """Return whether there is something in a cell: nothing is null, empty, or NaN, as pandas writes it."""
    value = row.get(column)
    return value not in (None, "") and not (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Return a kept cell as JSON can hold it: dates and the like as text, NaN and the infinities as null."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


def _check(source: Source) -> None:
    if not VISIBLE.search(source.text):
        raise ValueError("there is no text in it")
    if len(source.text) > LONGEST:
        raise ValueError(f"{len(source.text):,} characters, more than the {LONGEST:,} of an article; cut it")
    cells = (source.id, source.text, source.title, json.dumps(source.kept, ensure_ascii=False))
    if any(HALF_CHARACTER.search(cell) for cell in cells):
        raise ValueError("not UTF-8, or half a character (a lone surrogate); save the file as UTF-8")
