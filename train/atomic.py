"""Files and folders that are either whole or not there: written beside their place, synced, renamed."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from train.schema import SelonError

#: What only writing meets; while something is made, all other errors may come from what is read for it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class UnwritableError(SelonError):
    """A place that cannot be written, and what the disk says of it."""

    def __init__(self, target: Path, error: OSError) -> None:
        self.strerror = error.strerror or str(error)
        super().__init__(f"{target}: cannot be written: {self.strerror}")


@contextmanager
def writing(target: Path, only: Collection[int] = ()) -> Iterator[None]:
    """Say in a sentence what the disk refuses: all of it, or ``only`` errors of these numbers."""
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        raise UnwritableError(target, error) from None


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``target`` at the end, synced; on an error nothing is left.

    A ``target`` that is there already is replaced at the end, and kept where anything fails.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    work, old = outer / "new", outer / "old"
    try:
        with writing(target):
            work.mkdir()
        with writing(target, _FULL):
            yield work
        with writing(target):
            for path in [*work.rglob("*"), work]:
                sync(path)
            if target.exists():
                target.rename(old)
            work.rename(target)
            sync(target.parent)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(outer, ignore_errors=True)


def refuse_file(folder: Path) -> None:
    """Raise SelonError where a file lies in the place of ``folder``."""
    if folder.exists() and not folder.is_dir():
        raise SelonError(f"{folder}: is a file; name a folder")


def refuse_others(folder: Path, own: Collection[str]) -> None:
    """Raise SelonError where ``folder`` is a file or holds more than ``own``: replacing it would lose that."""
    refuse_file(folder)
    others = sorted(path.name for path in folder.iterdir() if path.name not in own) if folder.exists() else []
    if others:
        raise SelonError(f"{folder}: holds other things ({others[0]} …); name a new folder for this alone")


@contextmanager
def whole_file(target: Path) -> Iterator[TextIO]:
    """Give a text file (UTF-8) that becomes ``target`` at the end, synced; on an error nothing is left."""
    with whole_binary(target) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        try:
            yield file
        finally:
            file.detach()  # flushed; else it would close what is still to be synced


@contextmanager
def whole_binary(target: Path, beside: Path | None = None) -> Iterator[BinaryIO]:
    """Give a file that becomes ``target`` at the end, synced; on an error nothing is left.

    Until then it lies in the folder ``beside`` (of the same file system), else in the target's own. It may be read by
    whoever might read the old ``target``, a new one as any new file.
    """
    with writing(target):
        if target.is_dir():
            raise SelonError(f"{target}: this is a folder; name a file")
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=beside or target.parent)
    try:
        with writing(target, _FULL), os.fdopen(handle, "wb") as file:
            yield file
            with writing(target):
                file.flush()
                os.fsync(file.fileno())
        with writing(target):
            Path(name).chmod(_mode(target))
            Path(name).replace(target)
            sync(target.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file or folder on the disk before going on."""
    if sys.platform == "win32" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mode(target: Path) -> int:
    """Return the permissions of a file that is there, or those that a new one gets."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0o077)  # it can be read by setting it alone: meanwhile rather too strict than too lax
        os.umask(mask)
        return 0o666 & ~mask
