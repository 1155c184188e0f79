"""An item: what should be an article, be it a file, a line or a row; and how files are opened, packed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from train.labelling.choices import Kind

#: A text of more characters is no article.
LONGEST = 1_000_000
#: Bytes of a file or line that are read at most: pages are mostly markup.
LONGEST_BYTES = 16 * LONGEST


ENDINGS = {
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
PACKED: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
#: What reading a damaged packed file raises.
DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error)


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
            with unpacked(self.payload) as (file, _):
                content = file.read(LONGEST_BYTES + 1)
            if len(content) > LONGEST_BYTES:
                return replace(self, payload=b"", reason=f"more than {LONGEST_BYTES:,} bytes, which is no article")
            return replace(self, payload=content)
        except DAMAGED as error:
            return replace(self, payload=b"", reason=f"cannot be read: {why(error)}")


def kind_of(path: str) -> Kind | None:
    """Return how a file of that name is read, None where its ending does not say."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
        if suffixes and suffixes[-1] == ".parquet":
            return None
    return ENDINGS.get(suffixes[-1]) if suffixes else None


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[IO[bytes], BinaryIO]]:
    """Give a file's content, and the file as it lies on disk, whose place says how far the reading is."""
    with path.open("rb") as raw:
        unpack = PACKED.get(path.suffix.lower())
        if unpack is None:
            yield raw, raw
        else:
            with unpack(raw) as file:
                yield cast(IO[bytes], file), raw


def why(error: BaseException) -> str:
    """Return an error's reason in a line."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).strip().partition("\n")[0] or type(error).__name__
