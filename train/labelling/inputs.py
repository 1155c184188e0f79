"""What is to be labelled: files, folders, tables and standard input, named, hashed and cut into items.

An item is a file, a line of JSONL, or a row of a table. Items come in the same order each time, so that a number
says which they are; to pass over one costs next to nothing. Nothing is held in memory but the item at hand.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from train.bundle import sha256
from train.labelling.choices import Kind
from train.schema import SelonError

#: A text of more characters is no article.
LONGEST = 1_000_000
#: Bytes of a file or line that are read at most: pages are mostly markup.
_LONGEST_LINE = 16 * LONGEST


_ENDINGS = {
    ".txt": Kind.text,
    ".text": Kind.text,
    ".html": Kind.html,
    ".htm": Kind.html,
    ".xhtml": Kind.html,
    ".jsonl": Kind.jsonl,
    ".ndjson": Kind.jsonl,
    ".csv": Kind.csv,
    ".tsv": Kind.csv,
    ".parquet": Kind.parquet,
}
_PACKED: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
#: What reading a damaged packed file raises.
_DAMAGED = (OSError, EOFError, lzma.LZMAError)


@dataclass(frozen=True)
class Input:
    """What the user named: a file (or standard input, laid down as one) of some kind, or a folder (kind None).

    ``name`` is how outputs call it, ``size`` its bytes on disk, ``sha256`` (hex) that of its bytes, for a folder that
    of its files' names and hashes.
    """

    name: str
    path: Path
    kind: Kind | None
    size: int
    sha256: str


@dataclass(frozen=True)
class Item:
    """Something that should be an article.

    Attributes
    ----------
    place : str
        Where it stands, for messages: a file, or file and line.
    name : str
        What it is called where it does not say so itself.
    kind : Kind
        How ``payload`` is to be read.
    payload : Path or bytes or dict
        A file still to be read, its bytes or those of a line, or the cells of a row by column.
    position : int
        Bytes of all inputs up to and with this item.
    reason : str
        Why it cannot be read, where that is known already; else empty.
    """

    place: str
    name: str
    kind: Kind
    payload: Path | bytes | dict[str, Any]
    position: int
    reason: str = ""

    def loaded(self) -> Item:
        """Return the item with what lies in its file, so that another machine can read it."""
        if not isinstance(self.payload, Path):
            return self
        try:
            with _unpacked(self.payload) as (file, _):
                content = file.read(_LONGEST_LINE + 1)
            if len(content) > _LONGEST_LINE:
                return replace(self, payload=b"", reason=f"more than {_LONGEST_LINE:,} bytes, which is no article")
            return replace(self, payload=content)
        except _DAMAGED as error:
            return replace(self, payload=b"", reason=f"cannot be read: {_why(error)}")


@contextmanager
def open_inputs(paths: Sequence[str], kind: Kind | None = None) -> Iterator[list[Input]]:
    """Give the inputs, each looked at once; standard input and pipes (``-``) lie in a temporary file meanwhile.

    ``kind`` says how files are read whose ending does not.

    Raises
    ------
    SelonError
        For what is missing or cannot be read, and for a folder without anything readable.
    """
    names = Counter(Path(path).name for path in paths)
    with tempfile.TemporaryDirectory(prefix="selon-") as spool:
        found = []
        for number, given in enumerate(paths):
            path = Path(given)
            name = "stdin" if given == "-" else path.name if names[path.name] == 1 else given
            try:
                if given == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
                    path = Path(spool) / str(number)
                    with path.open("wb") as file:
                        if given == "-":
                            shutil.copyfileobj(sys.stdin.buffer, file)
                        else:
                            with Path(given).open("rb") as pipe:
                                shutil.copyfileobj(pipe, file)
                if path.is_dir():
                    found.append(_folder(given, name))
                else:
                    read_as = kind_of(given) or kind or Kind.text
                    found.append(Input(name, path, read_as, path.stat().st_size, sha256(path)))
            except OSError as error:
                raise SelonError(f"{given}: cannot be read: {error.strerror}") from None
        yield found


def kind_of(path: str) -> Kind | None:
    """Return how a file of that name is read, None where its ending does not say."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
        if suffixes and suffixes[-1] == ".parquet":
            return None
    return _ENDINGS.get(suffixes[-1]) if suffixes else None


def items(inputs: Sequence[Input]) -> Iterator[Item]:
    """Yield every item of every input, in an order that depends on nothing but the inputs."""
    before = 0
    for one in inputs:
        if one.kind is None:
            for relative, name in _walk(one.path):
                path = one.path / relative
                for item in _file_items(path, f"{one.name}/{relative}", name, cast(Kind, kind_of(relative))):
                    yield replace(item, position=before + item.position)
                before += path.stat().st_size if path.exists() else 0
        else:
            for item in _file_items(one.path, one.name, _stem(one.name), one.kind):
                yield replace(item, position=before + item.position)
            before += one.size


def check_columns(inputs: Sequence[Input], wanted: Sequence[str]) -> None:
    """Refuse a CSV or Parquet file that lacks a column that was asked for, or cannot be opened."""
    for one in inputs:
        if one.kind is Kind.csv:
            with _unpacked(one.path) as (file, _), _text(file) as text:
                columns = _header(text, one.name)[0]
        elif one.kind is Kind.parquet:
            columns = _parquet(one.path, one.name).schema_arrow.names
        else:
            continue
        for column in wanted:
            if column not in columns:
                raise SelonError(f"{one.name}: there is no column {column}, only {', '.join(columns)}")


def _folder(given: str, name: str) -> Input:
    path, digest, size = Path(given), hashlib.sha256(), 0
    for relative, _ in _walk(path):
        digest.update(f"{relative}\0{sha256(path / relative)}\n".encode("utf-8", "surrogateescape"))
        size += (path / relative).stat().st_size
    if not size:
        raise SelonError(f"{given}: nothing readable in this folder; it reads {', '.join(_ENDINGS)}")
    return Input(name or path.resolve().name, path, None, size, digest.hexdigest())


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (relative path, name) of the readable files below a folder, hidden ones left out, in order."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        readable = sorted(name for name in files if not name.startswith(".") and kind_of(name))
        stems = Counter(_stem(name) for name in readable)
        below = Path(place).relative_to(folder)
        for file in readable:
            # Two files that differ in their ending alone keep it.
            name = _stem(file) if stems[_stem(file)] == 1 else file
            yield (below / file).as_posix(), (below / name).as_posix()


def _stem(name: str) -> str:
    path = Path(name)
    if path.suffix.lower() in _PACKED:
        path = path.with_suffix("")
    return path.stem


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], BinaryIO]]:
    """Give a file's content, and the file as it lies on disk, whose place says how far the reading is."""
    with path.open("rb") as raw:
        unpack = _PACKED.get(path.suffix.lower())
        if unpack is None:
            yield raw, raw
        else:
            with unpack(raw) as file:
                yield cast(IO[bytes], file), raw


def _file_items(path: Path, place: str, name: str, kind: Kind) -> Iterator[Item]:
    """Yield the items of one file; where it breaks off, a last one says so."""
    position = 0
    try:
        if kind in (Kind.text, Kind.html):
            yield Item(place, name, kind, path, path.stat().st_size)
            return
        read = {Kind.jsonl: _lines, Kind.csv: _cells, Kind.parquet: _parquet_rows}[kind]
        for item in read(path, place, name):
            position = item.position
            yield item
    except SelonError as error:
        yield Item(place, name, kind, b"", position, str(error).removeprefix(f"{place}: "))
    except _DAMAGED as error:
        yield Item(place, name, kind, b"", position, f"damaged from here on: {_why(error)}")


def _lines(path: Path, place: str, name: str) -> Iterator[Item]:
    with _unpacked(path) as (file, raw):
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            reason = ""
            if not line.endswith(b"\n") and len(line) == _LONGEST_LINE:
                reason = f"a line of more than {_LONGEST_LINE:,} bytes"
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                line = b""
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip() or reason:
                yield Item(f"{place}:{number}", f"{name}:{number}", Kind.jsonl, line, raw.tell(), reason)


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    """Return a file's text; whatever is no UTF-8 becomes half a character, which is refused in its own row."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _header(text: io.TextIOWrapper, place: str) -> tuple[list[str], Any]:
    """Return the columns of a CSV file, whose separator they tell, and a reader that stands behind them."""
    first = text.readline(LONGEST)
    separator = max(",;\t|", key=first.count)
    csv.field_size_limit(LONGEST)
    try:
        columns = next(csv.reader([first], delimiter=separator), [])
    except csv.Error:
        columns = []
    if not columns or len(set(columns)) < len(columns):
        raise SelonError(f"{place}: its first line does not name the columns, each once; give it a header")
    return columns, csv.reader(text, delimiter=separator)


def _cells(path: Path, place: str, name: str) -> Iterator[Item]:
    with _unpacked(path) as (file, raw), _text(file) as text:
        columns, reader = _header(text, place)
        while True:
            begin, cells, reason = reader.line_num + 2, [], ""
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = f"no valid CSV: {error}"
            if cells and len(cells) != len(columns):
                reason = f"{len(cells)} cells where the header names {len(columns)} columns"
            if cells or reason:
                payload = dict(zip(columns, cells, strict=False))
                yield Item(f"{place}:{begin}", f"{name}:{begin}", Kind.csv, payload, raw.tell(), reason)


def _parquet(path: Path, place: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Without a buffer a whole column chunk would be read at once.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise SelonError(f"{place}: no readable Parquet file: {_why(error)}") from None


def _parquet_rows(path: Path, place: str, name: str) -> Iterator[Item]:
    import pyarrow as pa

    file = _parquet(path, place)
    size, total, number = path.stat().st_size, max(file.metadata.num_rows, 1), 0
    try:
        for batch in file.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                number += 1
                done = size * number // total
                yield Item(f"{place}:{number}", f"{name}:{number}", Kind.parquet, row, done)
    except pa.ArrowException as error:
        raise SelonError(f"{place}: damaged after row {number}: {_why(error)}") from None


def _why(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).strip().partition("\n")[0] or type(error).__name__
