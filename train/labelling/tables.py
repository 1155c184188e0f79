"""Tables, streamed row by row: JSONL, CSV and Parquet. What is wrong with a row is said in its item."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from train.labelling.choices import Kind
from train.labelling.items import DAMAGED, LONGEST, LONGEST_BYTES, Item, unpacked, why
from train.schema import HALF_CHARACTER, SelonError

#: What stands in quotation marks at the beginning of a cell; where they are left open, group 1 is empty.
_QUOTED = re.compile(r'(?<![^,;\t|])"(?:[^"]|"")*+("|\Z)')
#: How many characters of a CSV file show that it is not UTF-8: it holds half characters, and none with an accent.
_START, _OWN = 1_000_000, re.compile(r"[^\x00-\x7f\ud800-\udfff]")
#: What a UTF-16 file begins with, as ``as_text`` reads it.
_UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")
#: Excel may name the separator before the header.
_TOLD = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)


def json_lines(path: Path, place: str, name: str) -> Iterator[Item]:
    """Yield the lines of a JSONL file that are not empty."""
    with unpacked(path) as (file, raw):
        number = 0
        while line := file.readline(LONGEST_BYTES):
            number += 1
            reason = ""
            if not line.endswith(b"\n") and len(line) == LONGEST_BYTES:
                reason = f"a line of more than {LONGEST_BYTES:,} bytes"
                while (rest := file.readline(LONGEST_BYTES)) and not rest.endswith(b"\n"):
                    pass
                line = b""
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip() or reason:
                yield Item(f"{place}:{number}", f"{name}:{number}", Kind.jsonl, line, raw.tell(), reason)


def as_text(file: IO[bytes]) -> io.TextIOWrapper:
    """Return a file's text; whatever is no UTF-8 becomes half a character, which is refused in its own row."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def refuse_foreign(path: Path, place: str) -> None:
    """Refuse a file of another encoding: row by row, all that has an accent would be rejected, and only that."""
    with unpacked(path) as (file, _), as_text(file) as text:
        start = text.read(_START)
    encoding = "UTF-16" if start.startswith(_UTF_16) else "WINDOWS-1252"
    if encoding == "UTF-16" or (HALF_CHARACTER.search(start) and not _OWN.search(start)):
        raise SelonError(
            f"{place}: not UTF-8; save it again (in Excel: « CSV UTF-8 »), or convert it, mostly with "
            f"`iconv -f {encoding} -t UTF-8`"
        )


class Lines:
    """The lines of a CSV file, at most ``left`` characters of them, which are counted anew for each row.

    Else a line that never ends, or a quotation mark that nobody closes, would fill the memory.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.text, self.left = text, LONGEST  # of the header

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.text.readline(self.left)
        self.left -= len(line)
        if not self.left:
            raise csv.Error(f"a row of more than {LONGEST_BYTES:,} characters; is a quotation mark left open?")
        if not line:
            raise StopIteration
        return line


def read_header(lines: Lines, place: str, wanted: Collection[str] | None) -> tuple[list[str], Any]:
    """Return the columns of a CSV file, and a ``csv.reader`` that stands behind them.

    Of those ``wanted`` (None: all) no two may be called the same; what has no name is wanted by nobody.
    """
    columns: list[str] = []
    try:
        head = [next(lines, "")]
        line = head[0]
        while head[-1] and any(not quoted[1] for quoted in _QUOTED.finditer(line)):  # a line break in a cell
            head.append(next(lines, ""))
            line = '"' + head[-1]
        told = _TOLD.fullmatch(head[0])
        separator = told[1] if told else max(",;\t|", key=_QUOTED.sub("", "".join(head)).count)
        # Strict: a file may be cut inside quotes.
        reader = csv.reader(chain(head, lines), delimiter=separator, strict=True)
        columns = next(reader, [])
        if told:
            columns = next(reader, [])
    except csv.Error:
        columns = []
    if not any(columns):
        raise SelonError(f"{place}: its first line does not name the columns; give it a header")
    for column in filter(None, columns if wanted is None else wanted):
        if columns.count(column) > 1:
            raise SelonError(f"{place}: two columns are called {column}; rename one")
    return columns, reader


def csv_rows(path: Path, place: str, name: str, wanted: Collection[str] | None) -> Iterator[Item]:
    """Yield the rows of a CSV file with all their cells; the place is the line on which a row begins."""
    csv.field_size_limit(max(LONGEST_BYTES, csv.field_size_limit()))  # so that what is too long ends as one row
    with suppress(*DAMAGED):  # what can be read of it is read below
        refuse_foreign(path, place)
    with unpacked(path) as (file, raw), as_text(file) as text:
        lines = Lines(text)
        columns, reader = read_header(lines, place, wanted)
        while True:
            begin, cells, reason = reader.line_num + 1, [], ""
            lines.left = LONGEST_BYTES
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                span = f" in lines {begin} to {reader.line_num}" if reader.line_num > begin else ""
                reason = f"no valid CSV{span if lines.left else ' from here on'}: {error}"
            if cells and len(cells) != len(columns):
                reason = f"{len(cells)} cells where the header names {len(columns)} columns"
            if cells or reason:
                payload = dict(zip(columns, cells, strict=False))
                yield Item(f"{place}:{begin}", f"{name}:{begin}", Kind.csv, payload, raw.tell(), reason)
            if not lines.left:
                return


def open_parquet(path: Path, place: str) -> Any:
    """Open a Parquet file; SelonError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Without a buffer a whole column chunk would be read at once.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise SelonError(f"{place}: no readable Parquet file: {why(error)}") from None


def parquet_rows(path: Path, place: str, name: str, columns: Collection[str] | None = None) -> Iterator[Item]:
    """Yield the rows of a Parquet file, a small batch at a time: of all columns, or of those it has of ``columns``."""
    import pyarrow as pa

    file = open_parquet(path, place)
    read = [column for column in file.schema_arrow.names if columns is None or column in columns]
    size, total, number = path.stat().st_size, max(file.metadata.num_rows, 1), 0
    try:
        for batch in file.iter_batches(batch_size=64, columns=read):
            for row, reason in _cells(batch):
                number += 1
                done = size * number // total
                yield Item(f"{place}:{number}", f"{name}:{number}", Kind.parquet, row, done, reason)
    except (pa.ArrowException, OSError) as error:
        raise SelonError(f"{place}: damaged after row {number}: {why(error)}") from None


def _cells(batch: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row of a record batch, or none of it and the reason why it cannot be read."""
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError, KeyError) as error:  # a KeyError: a time zone that is unknown here
        if batch.num_rows == 1:
            yield {}, f"a cell cannot be read: {why(error)}"
        else:
            for index in range(batch.num_rows):
                yield from _cells(batch.slice(index, 1))
    else:
        yield from ((row, "") for row in rows)
