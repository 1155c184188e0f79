"""What is to be labelled: files, folders, tables and standard input, named, hashed and cut into items.

Items come in the same order each time, so that a number says which they are; to pass over one costs next to nothing.
Nothing is held in memory but the item at hand.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from train.bundle import sha256
from train.labelling.choices import Kind
from train.labelling.items import DAMAGED, ENDINGS, PACKED, Item, kind_of, unpacked, why
from train.labelling.tables import as_text, csv_rows, json_lines, open_parquet, parquet_rows, read_header
from train.schema import SelonError


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
            with unpacked(one.path) as (file, _), as_text(file) as text:
                columns = read_header(text, one.name)[0]
        elif one.kind is Kind.parquet:
            columns = open_parquet(one.path, one.name).schema_arrow.names
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
        raise SelonError(f"{given}: nothing readable in this folder; it reads {', '.join(ENDINGS)}")
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
    if path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    return path.stem


def _file_items(path: Path, place: str, name: str, kind: Kind) -> Iterator[Item]:
    """Yield the items of one file; where it breaks off, a last one says so."""
    position = 0
    try:
        if kind in (Kind.text, Kind.html):
            yield Item(place, name, kind, path, path.stat().st_size)
            return
        read = {Kind.jsonl: json_lines, Kind.csv: csv_rows, Kind.parquet: parquet_rows}[kind]
        for item in read(path, place, name):
            position = item.position
            yield item
    except SelonError as error:
        yield Item(place, name, kind, b"", position, str(error).removeprefix(f"{place}: "))
    except DAMAGED as error:
        yield Item(place, name, kind, b"", position, f"damaged from here on: {why(error)}")
