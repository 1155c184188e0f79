"""Labelled articles as JSONL, CSV, Parquet or an annotated page.

A text form is a head, bodies and a tail, so that parts written apart make one file. A Parquet part is a file.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from train.labelling import annotated
from train.labelling.choices import Form
from train.labelling.rows import COLUMNS, Labelled, rows_of
from train.schema import SelonError

#: A cell that begins so is a formula to a spreadsheet, and the texts come from anywhere.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Output:
    """The form of an output.

    ``excel_fr`` is CSV as a French Excel opens it: semicolons, a byte order mark, decimal commas, VRAI and FAUX, and an
    apostrophe before what it would take for a formula.
    """

    form: Form
    keep: tuple[str, ...] = ()
    text: bool = True
    excel_fr: bool = False

    def __post_init__(self) -> None:
        if self.form is Form.table and not self.text:
            raise SelonError("--no-text is for files: choose a --format other than table")
        if self.keep and self.form in (Form.table, Form.html):
            raise SelonError(f"--keep is for JSONL, CSV and Parquet, not {self.form}: choose another --format")
        if taken := set(self.keep) & set(COLUMNS):
            raise SelonError(f"--keep {min(taken)}: selon writes a column of that name itself; rename yours")
        if self.excel_fr and self.form is not Form.csv:
            raise SelonError(f"--excel-fr writes CSV, not {self.form}")
        if self.form is Form.html and not self.text:
            raise SelonError("--no-text: an annotated page is made of the text; choose another --format")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(column for column in (*COLUMNS, *self.keep) if self.text or column != "text")


def head(output: Output) -> bytes:
    """Return what stands before the first body of a text form."""
    if output.form is Form.csv:
        return ("\ufeff" if output.excel_fr else "").encode() + _csv([output.columns], output)
    return annotated.HEAD.encode() if output.form is Form.html else b""


def body(labelled: Sequence[Labelled], output: Output, provenance: dict[str, Any]) -> bytes:
    """Return articles in a text form, or as a whole Parquet file."""
    if output.form is Form.html:
        return "".join(map(annotated.article_html, labelled)).encode()
    rows = [{key: row[key] for key in output.columns} for one in labelled for row in rows_of(one)]
    if output.form is Form.jsonl:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if output.form is Form.csv:
        return _csv([[_cell(value, output.excel_fr) for value in row.values()] for row in rows], output)
    return _parquet(rows, output, provenance)


def tail(output: Output, provenance: dict[str, Any]) -> bytes:
    """Return what stands after the last body of a text form."""
    return annotated.tail(provenance).encode() if output.form is Form.html else b""


def join(parts: Sequence[Path], output: Output, provenance: dict[str, Any], file: BinaryIO) -> None:
    """Write parts (bodies, or Parquet files) as one file, piece by piece."""
    if output.form is Form.parquet:
        import pyarrow.parquet as pq

        with pq.ParquetWriter(file, _schema(output, provenance), compression="zstd") as writer:
            for part in parts:
                for batch in pq.ParquetFile(part).iter_batches():
                    writer.write_batch(batch)
        return
    file.write(head(output))
    for part in parts:
        with part.open("rb") as content:
            shutil.copyfileobj(content, file)
    file.write(tail(output, provenance))


def _cell(value: Any, french: bool) -> Any:
    if isinstance(value, bool):
        return ("VRAI" if value else "FAUX") if french else str(value).lower()
    if french and isinstance(value, float):
        return str(value).replace(".", ",")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if french and isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _csv(rows: Sequence[Sequence[Any]], output: Output) -> bytes:
    text = io.StringIO()
    separator, end = (";", "\r\n") if output.excel_fr else (",", "\n")
    plain, quoted = (
        csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    for row in rows:
        # Before Python 3.13 a lone carriage return gets no quotes where lines end with "\n", and ends the row.
        (quoted if any("\r" in str(cell) for cell in row) else plain).writerow(row)
    return text.getvalue().encode()


def _schema(output: Output, provenance: dict[str, Any]) -> Any:
    """Return the Arrow schema; kept columns are text, for their type may change from row to row."""
    import pyarrow as pa

    types = {"sentence": pa.int32(), "start": pa.int32(), "end": pa.int32(), "review": pa.bool_()}
    types |= {"truncated": pa.bool_(), "confidence": pa.float64()}
    types |= {column: pa.float64() for column in COLUMNS if column.startswith("p_")}
    fields = [pa.field(column, types.get(column, pa.string())) for column in output.columns]
    return pa.schema(fields, metadata={"selon": json.dumps(provenance, ensure_ascii=False)})


def provenance_of(path: Path) -> bytes:
    """Return what a Parquet output says of its making; nothing where it is no Parquet file or not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    except pa.ArrowException:
        return b""
    return metadata.get(b"selon", b"")


def _parquet(rows: Sequence[dict[str, Any]], output: Output, provenance: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for row in rows:
        for key in output.keep:
            value = row[key]
            row[key] = value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), _schema(output, provenance)), sink, compression="zstd")
    return sink.getvalue()


def stream(labelled: Iterator[Labelled], output: Output, provenance: dict[str, Any]) -> Iterator[bytes]:
    """Yield a whole text document, an article at a time."""
    yield head(output)
    for one in labelled:
        yield body([one], output, provenance)
    yield tail(output, provenance)
