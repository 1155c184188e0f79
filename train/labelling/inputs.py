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
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
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

    ``name`` is how outputs call it, ``size`` its bytes on disk. Articles that do not say so themselves are called by
    ``called``: a file's alone, or with the number of a row; before a file of a folder.
    """

    name: str
    path: Path
    kind: Kind | None
    size: int
    called: str = ""

    @cached_property
    def sha256(self) -> str:
        """Of a file's bytes, in hex; for a folder that of its files' names and hashes."""
        if self.kind:
            return sha256(self.path)
        digest = hashlib.sha256()
        for relative, _ in _walk(self.path):
            try:
                content = sha256(self.path / relative)
            except OSError:
                content = ""  # it is rejected when its turn comes
            digest.update(f"{relative}\0{content}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


@contextmanager
def open_inputs(paths: Sequence[str], kind: Kind | None = None) -> Iterator[list[Input]]:
    """Give the inputs, each looked at once; standard input and pipes (``-``) lie in a temporary file meanwhile.

    ``kind`` says how files are read whose ending does not.

    Raises
    ------
    SelonError
        For what is missing, cannot be read or is named twice, for a file whose ending is unknown, and for a folder
        without anything readable.
    """
    names = Counter(Path(path).name for path in paths)
    with ExitStack() as spool:
        found: dict[str, Input] = {}
        for given in paths:
            path = Path(given)
            name = path.name or path.resolve().name if names[path.name] == 1 else str(path)
            name = "stdin" if given == "-" else _shown(name)
            if name in found:
                raise SelonError(f"{given}: another input is called {name} too; name each once")
            try:
                if given == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
                    path = _laid_down(given, spool)
                if path.is_dir():
                    sizes = [_size(path / relative) for relative, _ in _walk(path)]
                    if not sizes:
                        raise SelonError(f"{given}: nothing readable in this folder; it reads {', '.join(ENDINGS)}")
                    found[name] = Input(name, path, None, sum(sizes))
                else:
                    path.open("rb").close()
                    found[name] = Input(name, path, _kind(given, kind), path.stat().st_size)
            except OSError as error:
                raise SelonError(f"{error.filename or given}: cannot be read: {error.strerror}") from None
        stems = Counter(_stem(one.name) for one in found.values() if one.kind)
        yield [replace(one, called=_called(one, stems, len(found) == 1)) for one in found.values()]


def items(inputs: Sequence[Input], columns: Collection[str] | None = None) -> Iterator[Item]:
    """Yield every item of every input, in an order that depends on nothing but the inputs.

    ``columns`` are those that are wanted: where a file can be read by column, the others are left alone.
    """
    before = 0
    for one in inputs:
        for path, place, name, kind in _files(one):
            for item in _file_items(path, place, name, kind, columns):
                yield replace(item, position=before + item.position)
            before += _size(path)


def check_columns(inputs: Sequence[Input], wanted: Sequence[str]) -> None:
    """Refuse a CSV or Parquet file that lacks a column that was asked for, or cannot be opened."""
    for one in inputs:
        if one.kind is Kind.csv:
            try:
                with unpacked(one.path) as (file, _), as_text(file) as text:
                    columns = read_header(text, one.name)[0]
            except DAMAGED as error:
                raise SelonError(f"{one.name}: cannot be read: {why(error)}") from None
        elif one.kind is Kind.parquet:
            columns = open_parquet(one.path, one.name).schema_arrow.names
        else:
            continue
        for column in wanted:
            if column not in columns:
                raise SelonError(f"{one.name}: there is no column {column}, only {', '.join(columns)}")


def _kind(given: str, otherwise: Kind | None) -> Kind:
    """Return how a named file is read: as its ending says, else as the user does."""
    found = kind_of(given) or otherwise
    if found is None and given != "-" and Path(_unpacked_name(given)).suffix:
        known = ", ".join(ENDINGS)
        raise SelonError(f"{given}: its ending is none of {known}; say with --from how it is read")
    return found or Kind.text


def _called(one: Input, stems: Counter[str], alone: bool) -> str:
    """Return how an input's articles are called, so that those of no other input are called the same."""
    if one.kind is None:
        return "" if alone else f"{one.name}/"
    return _stem(one.name) if stems[_stem(one.name)] == 1 else one.name


def _laid_down(given: str, spool: ExitStack) -> Path:
    """Return a file with all that standard input or a pipe holds: it is hashed, and then read."""
    with nullcontext(sys.stdin.buffer) if given == "-" else Path(given).open("rb") as pipe:
        try:
            path = Path(spool.enter_context(tempfile.TemporaryDirectory(prefix="selon-"))) / "content"
            with path.open("wb") as file:
                shutil.copyfileobj(pipe, file)
        except OSError as error:
            said = f"cannot be laid down in {tempfile.tempdir or 'a temporary folder'}: {error.strerror}"
            raise SelonError(f"{given}: {said}; name another folder in TMPDIR") from None
    return path


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (relative path, name) of the readable files below a folder, hidden ones left out, in order."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        readable = sorted(name for name in files if not name.startswith(".") and kind_of(name))
        stems = Counter(_stem(name) for name in readable)
        below = Path(place).relative_to(folder)
        for file in readable:
            # Two files that differ in their ending alone keep it.
            name = _stem(file) if stems[_stem(file)] == 1 else file
            yield (below / file).as_posix(), _shown((below / name).as_posix())


def _raise(error: OSError) -> None:
    raise error  # a folder that cannot be opened would be passed over without a word


def _shown(name: str) -> str:
    """Return a file's name as UTF-8 can hold it: a name in another encoding is shown by its bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # a link that leads nowhere; it is rejected when its turn comes


def _files(one: Input) -> Iterator[tuple[Path, str, str, Kind]]:
    """Yield the files of an input: where they lie, their place for messages, what their articles are called, kind."""
    if one.kind:
        yield one.path, one.name, one.called, one.kind
        return
    for relative, name in _walk(one.path):
        yield one.path / relative, f"{one.name}/{_shown(relative)}", one.called + name, cast(Kind, kind_of(relative))


def _stem(name: str) -> str:
    return Path(_unpacked_name(name)).stem


def _unpacked_name(name: str) -> str:
    path = Path(name)
    return str(path.with_suffix("")) if path.suffix.lower() in PACKED else name


def _file_items(path: Path, place: str, name: str, kind: Kind, columns: Collection[str] | None) -> Iterator[Item]:
    """Yield the items of one file; where it breaks off, a last one says so."""
    position = 0
    try:
        match kind:
            case Kind.text | Kind.html:
                rows = iter([Item(place, name, kind, path, _size(path))])
            case Kind.jsonl:
                rows = json_lines(path, place, name)
            case Kind.csv:
                rows = csv_rows(path, place, name)
            case Kind.parquet:
                rows = parquet_rows(path, place, name, columns)
        for item in rows:
            position = item.position
            yield item
    except SelonError as error:
        yield Item(place, name, kind, b"", position, str(error).removeprefix(f"{place}: "))
    except DAMAGED as error:
        said = "damaged from here on" if position else "cannot be read"
        yield Item(place, name, kind, b"", position, f"{said}: {why(error)}")
