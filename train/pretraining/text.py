"""Sources → clean documents: normalised line by line, without the held-out articles, cut to a bearable size.

The held-out articles are known by their ids and by their paragraphs: a document that contains one of their
paragraphs, under whatever spacing, is left out whole.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from train.atomic import whole_file, whole_folder
from train.config import project_path
from train.normalisation import normalise
from train.pretraining.settings import ExcludeConfig, PretrainConfig, SourceConfig
from train.schema import HALF_CHARACTER, SelonError

#: Novels are cut at line ends into documents of about this size, so that shuffling and drawing see many.
DOCUMENT_CHARACTERS = 20_000
#: Shorter paragraphs ("Crédit photo : AFP") are no sign of a held-out article. Counted without white space.
TELLING_CHARACTERS = 80

_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a source: its id, empty where it has none, and its lines, title first."""

    id: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What must not be trained on: ids, and hashes of telling paragraphs."""

    ids: frozenset[str] = frozenset()
    paragraphs: frozenset[bytes] = frozenset()

    def holds(self, document: Document) -> bool:
        """Whether ``document`` is a held-out article or contains a paragraph of one."""
        return document.id in self.ids or not self.paragraphs.isdisjoint(telling(document.lines))


@dataclass(slots=True)
class SourceCount:
    """What a source gave, for the model card."""

    name: str
    description: str
    documents: int = 0
    characters: int = 0
    left_out: int = 0


@dataclass(slots=True)
class TextSummary:
    """What the text of a run consists of."""

    sources: list[SourceCount]
    held_out_articles: int
    excluded_from: list[str] = field(default_factory=list)


def telling(lines: tuple[str, ...]) -> Iterator[bytes]:
    """Yield a hash for each line of at least ``TELLING_CHARACTERS``, deaf to white space and habits of typing."""
    for line in lines:
        bare = _SPACES.sub("", normalise(line))
        if len(bare) >= TELLING_CHARACTERS:
            yield hashlib.blake2b(bare.encode(), digest_size=12).digest()


def read_documents(source: SourceConfig) -> Iterator[Document]:
    """Stream the documents of a source as they are; raise SelonError where it is missing or malformed."""
    if source.path is None:
        yield from _read_dataset(source)
        return
    path = project_path(source.path)
    suffixes = path.suffixes[-2:] if path.suffix == ".xz" else path.suffixes[-1:]
    if suffixes[:1] not in ([".txt"], [".jsonl"]):
        raise SelonError(f"{path}: a source is .txt, .txt.xz, .jsonl or .jsonl.xz; rename or convert it")
    if not path.is_file():
        raise SelonError(f"{path}: there is no such source; put it there or mend sources in the config")
    try:
        with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
            yield from (_read_jsonl if suffixes[0] == ".jsonl" else _read_txt)(path, file)
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise SelonError(f"{path}: the source is damaged ({error}); fetch it again") from None


def _read_txt(path: Path, file: Iterator[str]) -> Iterator[Document]:
    lines: list[str] = []
    for line in file:
        if line.strip():
            lines.append(line)
        elif lines:
            yield Document("", tuple(lines))
            lines = []
    if lines:
        yield Document("", tuple(lines))


def _read_jsonl(path: Path, file: Iterator[str]) -> Iterator[Document]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield _document(str(row.get("article_id") or row.get("id") or ""), row.get("title"), row["text"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SelonError(f"{path}:{number}: a line must be a JSON object with a text; mend or drop it") from None


def _read_dataset(source: SourceConfig) -> Iterator[Document]:
    from datasets import load_dataset

    folder = project_path(source.name)
    place = str(folder) if folder.is_dir() else source.name
    try:
        rows = load_dataset(place, name=source.subset, split=source.split, revision=source.revision, streaming=True)
        for row in rows:
            identity = str(row.get("article_id") or row.get("id") or "")
            yield _document(identity, row.get("title"), row["text"])
    except KeyError:
        raise SelonError(f"data set {source.name}: it has no column text; prepare it as .jsonl") from None
    except Exception as error:  # the library raises whatever its readers, the Hub and the network raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SelonError(
            f"data set {source.name}: it cannot be read ({reason:.200}); check its name, subset and split, "
            "and that this machine reaches the Hub, or give a local folder"
        ) from None


def _document(identity: str, title: object, text: str) -> Document:
    if HALF_CHARACTER.search(f"{title}{text}"):
        raise ValueError("half a character")  # no file could hold it
    head = (str(title),) if title else ()
    return Document(identity, (*head, *text.splitlines()))


def find_held_out(exclude: ExcludeConfig, sources: tuple[SourceConfig, ...]) -> HeldOut:
    """Collect the ids of ``exclude.articles`` and the paragraphs of these articles and of ``exclude.texts``.

    The articles' text is looked for in all sources that carry ids.

    Raises
    ------
    SelonError
        For a file that cannot be read, and for an article that no source has: its paragraphs could then stand in a
        document without an id, unrecognised.
    """
    ids: set[str] = set()
    for name in exclude.articles:
        path = project_path(name)
        try:
            rows = path.read_text(encoding="utf-8").splitlines()
            ids.update(str(json.loads(row)["article_id"]) for row in rows if row.strip())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SelonError(
                f"{path}: exclude.articles wants JSON lines with an article_id ({error}); mend the file or the config"
            ) from None
    paragraphs: set[bytes] = set()
    for name in exclude.texts:
        path = project_path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise SelonError(
                f"{path}: there is no such text (in UTF-8) to leave out; mend exclude.texts in the config"
            ) from None
        paragraphs.update(telling(tuple(text.splitlines())))
    missing = set(ids)
    for source in sources:
        if not missing or (source.path is not None and ".jsonl" not in source.path):
            continue
        read = 0
        for document in read_documents(source):
            if document.id in ids:
                missing.discard(document.id)
                paragraphs.update(telling(document.lines))
            read += sum(map(len, document.lines))
            if not missing or read >= (source.max_characters or math.inf):
                break
    if missing:
        raise SelonError(
            f"exclude.articles: {len(missing)} of {len(ids)} articles ({min(missing)}, …) are in no source that "
            "carries ids, so their text cannot be told apart; add the file that holds them to sources, or their text "
            "to exclude.texts instead"
        )
    return HeldOut(frozenset(ids), frozenset(paragraphs))


def clean_documents(
    source: SourceConfig, held_out: HeldOut, seed: int, count: SourceCount
) -> Iterator[tuple[str, ...]]:
    """Yield documents as normalised, non-empty lines; ``count`` is kept up to date."""
    draw = random.Random(f"{seed} {source.name}")  # noqa: S311 - a sample, no secret
    read = 0
    for document in read_documents(source):
        read += sum(map(len, document.lines))
        if held_out.holds(document):
            count.left_out += 1
        else:
            lines = [clean for line in document.lines if (clean := normalise(line))]
            for block in _cut(lines):
                if draw.random() < source.share:
                    count.documents += 1
                    count.characters += sum(map(len, block))
                    yield block
        if source.max_characters is not None and read >= source.max_characters:
            return


def _cut(lines: list[str]) -> Iterator[tuple[str, ...]]:
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= DOCUMENT_CHARACTERS:
            yield tuple(block)
            block, size = [], 0
    if block:
        yield tuple(block)


def write_text(config: PretrainConfig, work: Path) -> None:
    """Write ``text/{train,validation}.txt`` (a blank line between documents) and ``summary.json``."""
    folder = work / "text"
    if folder.is_dir():
        return
    held_out = find_held_out(config.exclude, config.sources)
    summary = TextSummary([], len(held_out.ids) + len(config.exclude.texts))
    summary.excluded_from = [*config.exclude.articles, *config.exclude.texts]
    with whole_folder(folder) as draft, ExitStack() as files:
        train = files.enter_context((draft / "train.txt").open("w", encoding="utf-8"))
        validation = files.enter_context((draft / "validation.txt").open("w", encoding="utf-8"))
        for source in config.sources:
            count = SourceCount(source.name, source.description)
            for lines in clean_documents(source, held_out, config.seed, count):
                text = "\n".join(lines)
                # By content, not by order: the same document twice lands on the same side.
                digest = hashlib.blake2b(f"{config.seed} {text}".encode(), digest_size=8).digest()
                aside = int.from_bytes(digest) < config.held_out * 2**64
                (validation if aside else train).write(text + "\n\n")
            summary.sources.append(count)
        files.close()
        with whole_file(work / "summary.json") as file:
            file.write(json.dumps(asdict(summary), indent=1, ensure_ascii=False) + "\n")
