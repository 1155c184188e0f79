"""Files and folders that are either whole or not there: written beside their place, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from train.atomic import sync


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside ``target`` to write a file or a folder to; it takes ``target``'s place at the end.

    After an error ``target`` is as it was and the half-written copy is gone.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    _remove(draft)
    try:
        yield draft
        for path in sorted(draft.rglob("*")) if draft.is_dir() else []:
            if path.is_file():
                sync(path)
        sync(draft)
        if draft.is_dir() and target.exists():
            # A folder cannot be renamed over a full one: step the old one aside first.
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            draft.rename(target)
            _remove(old)
        else:
            draft.replace(target)
        sync(target.parent)
    finally:
        _remove(draft)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
