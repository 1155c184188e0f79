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

from train.bundle import sha256
from train.labelling.choices import Kind
from train.labelling.items import DAMAGED, ENDINGS, PACKED, Item, kind_of, why
from train.labelling.tables import csv_rows, json_lines, parquet_rows
from train.schema import SelonError


@dataclass(frozen=True)
class Input:
    """What the user named: a file (or standard input, laid down as one) of some kind, or a folder (kind None).

    ``name`` is how outputs call it, ``size`` its bytes on disk. Articles that do not say so themselves are called by
    ``called``: a file's alone, or with the number of a row; before a file of a folder. Where the ending of a folder's
    file does not say how it is read, ``otherwise`` does; else it is one of those ``passed_over``.
    """

    name: str
    path: Path
    kind: Kind | None
    size: int
    called: str = ""
    otherwise: Kind | None = None
    passed_over: int = 0

    @cached_property
    def sha256(self) -> str:
        """Of a file's bytes, in hex; for a folder that of its files' names and hashes."""
        if self.kind:
            return _sha256(self.path)
        digest = hashlib.sha256()
        for relative, _, kind in _walk(self.path, self.otherwise):
            if kind:
                line = f"{relative}\0{_sha256(self.path / relative)}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


@contextmanager
def open_inputs(paths: Sequence[str], kind: Kind | None = None) -> Iterator[list[Input]]:
    """Give the inputs, each looked at once; standard input and pipes (``-``) lie in a temporary file meanwhile.

    ``kind`` says how what was named is read, and of a folder's files those whose ending does not say.

    Raises
    ------
    SelonError
        For what is missing or named twice, for a file alone that cannot be read, for one whose ending is unknown, and
        for a folder without anything readable.
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
                piped = given == "-" or (path.exists() and not path.is_file() and not path.is_dir())
                if piped:
                    path = _laid_down(given, spool)
                if path.is_dir():
                    found[name] = _folder(given, name, path, kind)
                else:
                    if len(paths) == 1 or not os.path.lexists(path):
                        path.open("rb").close()  # one of several that cannot be read is rejected when its turn comes
                    found[name] = Input(name, path, _kind(given, kind, piped), _size(path))
            except OSError as error:
                raise SelonError(f"{error.filename or given}: cannot be read: {error.strerror}") from None
        stems = Counter(_stem(one.name) for one in found.values() if one.kind)
        yield [replace(one, called=_called(one, stems, len(found) == 1)) for one in found.values()]


def items(inputs: Sequence[Input], columns: Collection[str] | None = None) -> Iterator[Item]:
    """Yield every item of every input, in an order that depends on nothing but the inputs.

    ``columns`` are those that are wanted: the others may be called as they like, and are not read where that can be.
    """
    before = 0
    for one in inputs:
        for path, place, name, kind in files(one):
            for item in _file_items(path, place, name, kind, columns):
                yield replace(item, position=before + item.position)
            before += _size(path)


def files(one: Input) -> Iterator[tuple[Path, str, str, Kind]]:
    """Yield the files of an input: where they lie, their place for messages, what their articles are called, kind."""
    if one.kind:
        yield one.path, one.name, one.called, one.kind
        return
    for relative, name, kind in _walk(one.path, one.otherwise):
        if kind:
            yield one.path / relative, f"{one.name}/{_shown(relative)}", one.called + name, kind


def _folder(given: str, name: str, path: Path, otherwise: Kind | None) -> Input:
    sizes = [_size(path / relative) if kind else None for relative, _, kind in _walk(path, otherwise)]
    passed_over = sizes.count(None)
    if passed_over == len(sizes):
        known = ", ".join(ENDINGS)
        raise SelonError(f"{given}: nothing readable in this folder; it reads {known}, and others if --from says how")
    return Input(name, path, None, sum(size or 0 for size in sizes), otherwise=otherwise, passed_over=passed_over)


def _kind(given: str, otherwise: Kind | None, piped: bool) -> Kind:
    """Return how a named file is read: as the user says, else as its ending does; a pipe without an ending is text."""
    found = otherwise or kind_of(given) or (Kind.text if piped and not Path(given).suffix else None)
    if found is None:
        known = ", ".join(ENDINGS)
        raise SelonError(f"{given}: its ending is none of {known}; say with --from how it is read")
    return found


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


def _walk(folder: Path, otherwise: Kind | None) -> Iterator[tuple[str, str, Kind | None]]:
    """Yield (relative path, name, kind) of the files below a folder, hidden ones left out, in order.

    Those without a kind are not to be read. Links to folders are followed, each folder once.
    """
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        shown = sorted((name for name in folders if not name.startswith(".")), reverse=True)
        once = {os.path.realpath(Path(place, name)): name for name in shown}  # the first name of each
        folders[:] = sorted(name for real, name in once.items() if real not in seen)
        seen |= once.keys()
        kinds = {name: kind_of(name) or otherwise for name in sorted(names) if not name.startswith(".")}
        stems = Counter(_stem(name) for name, kind in kinds.items() if kind)
        below = Path(place).relative_to(folder)
        for file, kind in kinds.items():
            # Two files that differ in their ending alone keep it.
            name = _stem(file) if stems[_stem(file)] == 1 else file
            yield (below / file).as_posix(), _shown((below / name).as_posix()), kind


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


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return ""  # as above


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
                rows = csv_rows(path, place, name, columns)
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
