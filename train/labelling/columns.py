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
from train.labelling.sources import Reading, Reject, read_source, row_of
from train.labelling.tables import Lines, as_text, json_lines, open_parquet, read_header, refuse_foreign
from train.schema import SelonError

#: How many rows of a JSONL file show what columns it has: a row may leave out what it has not.
_ROWS = 200


def check_columns(inputs: Sequence[Input], reading: Reading) -> None:
    """Refuse a table that lacks a column, or, where it is all there is, one that cannot be opened.

    A CSV or Parquet file that was named must have them all. A file of a folder, whose rows without text are rejected
    one by one, must have those to keep; so must JSONL, in one of the first rows that can be read.
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
            wanted = reading.keep if reading.text_column in columns else ()
            for column in reading.columns if one.kind in (Kind.csv, Kind.parquet) else wanted:
                if column not in columns:
                    there = ", ".join(filter(None, dict.fromkeys(columns)))
                    raise SelonError(f"{place}: there is no column {column}, only {there}")


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
        case Kind.jsonl if reading.keep:
            seen: dict[str, Any] = {}
            with suppress(*DAMAGED):
                lines = json_lines(path, place, "")
                readable = (line for line in lines if not isinstance(read_source(line, reading), Reject))
                for line in islice(readable, _ROWS):
                    seen |= row_of(line)
                    if seen.keys() >= set(reading.keep):
                        break  # in most files that is the first row, and there may be thousands of them
            return place, seen
    return place, ()
