"""Whether tables have the columns that were asked for: told before anything is labelled, not after the night."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from train.labelling.choices import Kind
from train.labelling.inputs import Input, files
from train.labelling.items import DAMAGED, unpacked, why
from train.labelling.sources import Reading, row_of
from train.labelling.tables import Lines, as_text, json_lines, open_parquet, read_header, refuse_foreign
from train.schema import SelonError

#: How many lines of a JSONL file show what columns it has: a row may leave out what it has not.
_ROWS = 200


def check_columns(inputs: Sequence[Input], reading: Reading) -> None:
    """Refuse a table that lacks a column, or, where it is all there is, one that cannot be opened.

    A CSV or Parquet file that was named must have them all; JSONL must show them in its first rows, but for a headline,
    which may be rare. A file of a folder, whose rows without text are rejected one by one, must have those to keep.
    """
    for one in inputs:
        if one.kind is None and not reading.keep:
            continue  # do not open thousands of files for nothing
        for path, place, _, kind in files(one):
            try:
                place, columns = _columns(path, place, kind, reading)
            except SelonError:
                if one.kind and len(inputs) == 1:
                    raise
                continue  # it is rejected when its turn comes
            for column in _wanted(one.kind, columns, reading):
                if column not in columns:
                    there = ", ".join(filter(None, dict.fromkeys(columns)))
                    raise SelonError(f"{place}: there is no column {column}, only {there}")


def _wanted(kind: Kind | None, columns: Collection[str], reading: Reading) -> Sequence[str]:
    """Return the columns that a file must have, by the kind as which it was named."""
    if kind in (Kind.csv, Kind.parquet):
        return reading.columns
    if kind is Kind.jsonl and columns:
        return (reading.text_column, *filter(None, (reading.id_column,)), *reading.keep)
    return reading.keep if reading.text_column in columns else ()


def _columns(path: Path, place: str, kind: Kind, reading: Reading) -> tuple[str, Collection[str]]:
    """Return where a file names its columns, and which; none for what is no table or does not say."""
    match kind:
        case Kind.csv:
            try:
                refuse_foreign(path, place)
                with unpacked(path) as (file, _), as_text(file) as text:
                    return place, read_header(Lines(text), place, reading.read)[0]
            except DAMAGED as error:
                raise SelonError(f"{place}: cannot be read: {why(error)}") from None
        case Kind.parquet:
            return place, open_parquet(path, place).schema_arrow.names
        case Kind.jsonl:
            seen: dict[str, Any] = {}
            others: dict[str, Any] = {}  # of rows without text
            with suppress(*DAMAGED):
                for line in islice(json_lines(path, place, ""), _ROWS):
                    with suppress(ValueError, RecursionError):  # it is rejected when its turn comes
                        row = row_of(line)
                        (seen if reading.text_column in row else others).update(row)
                    if seen and seen.keys() >= set(_wanted(kind, seen, reading)):
                        break  # in most files that is the first row, and there may be thousands of them
            return place, seen or others
    return place, ()
