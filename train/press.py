"""Labels without their text, and the text from wherever the user has it.

Press text may not be committed, so ``data/press/`` holds stand-off labels only. The text is joined at run
time from ``articles.jsonl(.xz)`` or from any copy of the public OrangeSum corpus (Kamal Eddine, Tixier and
Vazirgiannis 2020): its ``data/docs/parsed/N.json``, or a ``datasets`` download as Parquet or JSONL. Those
copies glue paragraphs together, so each sentence is found by its content: length and SHA-256 of its
characters without white space.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from train.schema import HALF_CHARACTER, Article, Label, SelonError, Sentence
from train.segmentation import segment


class StandoffSentence(BaseModel):
    """Where a sentence stands in the original text, what it is labelled, and how to find it elsewhere."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    start: Annotated[StrictInt, Field(ge=0)]
    end: Annotated[StrictInt, Field(gt=0)]
    label: Label
    n: Annotated[StrictInt, Field(gt=0)]
    sha: StrictStr


class StandoffArticle(BaseModel):
    """One line of a stand-off file."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    article_id: StrictStr
    stratum: StrictStr = ""
    sha256: StrictStr
    sentences: Annotated[tuple[StandoffSentence, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Document:
    """An article's text as a source has it; the id is empty where the source has none."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Joined:
    """The articles that were found, and how many of the sentences asked for are in them."""

    articles: list[Article]
    found: int
    wanted: int


def text_source(press: Path | str | None) -> Path:
    """Return the place of the text: ``press``, else ``SELON_PRESS``; SelonError where neither is there."""
    chosen = press or os.environ.get("SELON_PRESS")
    if not chosen:
        raise SelonError(
            "these labels (or ids) come without their text: set SELON_PRESS (or data.press in the config) to "
            "articles.jsonl.xz or to a copy of OrangeSum; data/press/README.md says where it comes from"
        )
    path = Path(chosen).expanduser()
    if not path.exists():
        raise SelonError(f"{path}: the press text is not there; set SELON_PRESS to where you have it")
    return path


def join(standoff: Mapping[Path, Sequence[StandoffArticle]], source: Path, partial: bool = False) -> dict[Path, Joined]:
    """Give stand-off labels their text back; the source is read once for all of them.

    Parameters
    ----------
    standoff : mapping of Path to sequence of StandoffArticle
        By the file that the labels are from, as are the results.
    source : Path
        See the module's first lines.
    partial : bool
        Whether sentences may be missing. Articles are then kept with the sentences that were found.

    Raises
    ------
    SelonError
        When a sentence is not found and ``partial`` is false, or the source cannot be read.
    """
    wanted = [article for articles in standoff.values() for article in articles]
    by_id: dict[str, Document] = {}
    unnamed: list[Document] = []
    wanted_ids = {article.article_id for article in wanted}
    for document in read_documents(source):
        if not document.id:
            unnamed.append(document)
        elif document.id in wanted_ids:
            by_id[document.id] = document
    missing = [article for article in wanted if article.article_id not in by_id]
    if missing and unnamed:
        by_id |= _match_by_content(missing, unnamed)
    joined = {}
    for path, articles in standoff.items():
        placed = [_place(article, by_id[article.article_id]) for article in articles if article.article_id in by_id]
        found = [article for article in placed if article is not None]
        one = Joined(found, sum(map(len, found)), sum(len(article.sentences) for article in articles))
        if one.found < one.wanted and not partial:
            raise SelonError(
                f"{path}: {one.wanted - one.found} of {one.wanted} sentences are not in {source}; "
                "`selon corpus join --partial` keeps what is found"
            )
        joined[path] = one
    return joined


def read_documents(source: Path) -> Iterator[Document]:
    """Yield the documents of ``articles.jsonl(.xz)``, a folder of OrangeSum's N.json, or Parquet files.

    Raises SelonError, with the place, for what cannot be read.
    """
    if source.is_dir():
        parsed = next(d for d in (source / "data/docs/parsed", source / "docs/parsed", source) if d.is_dir())
        files = [p for p in sorted(parsed.glob("*.json")) if p.stem.isdigit()]
        tables = sorted(source.rglob("*.parquet"))
        lists = sorted([*source.glob("*.jsonl"), *source.glob("*.jsonl.xz")])
        if not (files or tables or lists):
            raise SelonError(f"{source}: no N.json, .parquet or .jsonl of press articles in this folder")
        for path in files:
            yield _json_document(path)
        for path in tables:
            yield from _parquet_documents(path)
        for path in () if files or tables else lists:
            yield from _jsonl_documents(path)
    elif source.suffix == ".parquet":
        yield from _parquet_documents(source)
    else:
        yield from _jsonl_documents(source)


def _json_document(path: Path) -> Document:
    try:
        return _document(json.loads(path.read_text(encoding="utf-8-sig")), f"orange_{path.stem}")
    except (OSError, ValueError) as error:
        raise SelonError(f"{path}: cannot be read ({error}); get the file again") from None


def _jsonl_documents(path: Path) -> Iterator[Document]:
    number = 0
    try:
        with (
            lzma.open(path, "rt", encoding="utf-8-sig", newline="\n")
            if path.suffix == ".xz"
            else path.open(encoding="utf-8-sig", newline="\n") as file
        ):
            for number, line in enumerate(file, start=1):  # noqa: B007 - errors name it
                if line.strip():
                    row = json.loads(line)
                    yield _document(row, str(row.get("article_id") or "") if isinstance(row, dict) else "")
    except json.JSONDecodeError as error:
        raise SelonError(f"{path}:{number}: no valid JSON ({error}); get the file again") from None
    except (OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise SelonError(f"{path}: cannot be read after line {number} ({error}); get the file again") from None


def _parquet_documents(path: Path) -> Iterator[Document]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise SelonError(f"{path}: Parquet needs pyarrow; install selon[train]") from None
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                yield _document(row, "")
    except (OSError, ValueError) as error:
        raise SelonError(f"{path}: cannot be read ({error}); get the file again") from None


def _document(row: object, document_id: str) -> Document:
    """OrangeSum calls the lead ``heading`` (or ``summary``) and the body ``article`` (or ``text``)."""
    if not isinstance(row, dict):
        raise ValueError("an article is a JSON object")
    fields = ("title", "heading", "summary", "article", "text")
    if wrong := [key for key in fields if not isinstance(row.get(key, ""), str | None)]:
        raise ValueError(f"{', '.join(wrong)}: text is wanted")
    if halves := [key for key in fields if HALF_CHARACTER.search(row.get(key) or "")]:
        raise ValueError(f"{', '.join(halves)}: holds half a character (a lone surrogate)")
    parts = (row.get("heading") or row.get("summary"), row.get("article") or row.get("text"))
    return Document(document_id, row.get("title") or "", "\n".join(part for part in parts if part))


def _squeeze(text: str) -> tuple[str, list[int]]:
    """Return ``text`` without white space, and for each of its characters its place in ``text``."""
    places = [place for place, character in enumerate(text) if not character.isspace()]
    return "".join(text[place] for place in places), places


def _digest(text: str) -> str:
    """Return the name of a sentence: 12 hex digits over its characters (NFC) without white space."""
    squeezed = "".join(unicodedata.normalize("NFC", text).split())
    return hashlib.sha256(squeezed.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _place(article: StandoffArticle, document: Document) -> Article | None:
    """Put the labelled spans into the document's text: by offset where it is the same, else by content.

    Where it is not the same, the article's text is the document's in NFC, in which the hashes were made.
    """
    text = document.text
    if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() == article.sha256:
        spans = [
            (Sentence(s.start, s.end), s.label) for s in article.sentences if _digest(text[s.start : s.end]) == s.sha
        ]
    else:
        text = unicodedata.normalize("NFC", text)
        spans = _locate(article.sentences, text)
    if not spans:
        return None
    sentences, labels = zip(*spans, strict=True)
    return Article(article.article_id, text, sentences, labels, document.title, article.stratum)


def _locate(wanted: Sequence[StandoffSentence], text: str) -> list[tuple[Sentence, Label]]:
    """Find each sentence by length and hash.

    One after the other where the text is all there. Where it is not, a short sentence (« Non. ») may be missing
    from its own place and stand in another: then the long ones come first, the others between their neighbours.
    """
    squeezed, places = _squeeze(text)
    numbers = range(len(wanted))
    found = _search(wanted, squeezed, numbers)
    if len(found) < len(wanted):
        longest_first = _search(wanted, squeezed, sorted(numbers, key=lambda number: -wanted[number].n))
        found = max(longest_first, found, key=len)
    return [
        (Sentence(places[start], places[start + wanted[number].n - 1] + 1), wanted[number].label)
        for number, start in sorted(found.items())
    ]


def _search(wanted: Sequence[StandoffSentence], squeezed: str, order: Iterable[int]) -> dict[int, int]:
    """Return where each sentence begins that is found between those found before it in ``order``."""
    found: dict[int, int] = {}
    for number in order:
        n, sha = wanted[number].n, wanted[number].sha
        before = max((other for other in found if other < number), default=None)
        after = min((other for other in found if other > number), default=None)
        first = 0 if before is None else found[before] + wanted[before].n
        end = len(squeezed) if after is None else found[after]
        for start in range(first, end - n + 1):
            if _digest(squeezed[start : start + n]) == sha:
                found[number] = start
                break
    return found


def _match_by_content(missing: Sequence[StandoffArticle], documents: Sequence[Document]) -> dict[str, Document]:
    """Pair articles with documents that have no id: most characters in common sentences, by our own segmentation."""
    owners: dict[str, set[str]] = {}
    for article in missing:
        for sentence in article.sentences:
            owners.setdefault(sentence.sha, set()).add(article.article_id)
    best: dict[str, tuple[int, int]] = {}
    for number, document in enumerate(documents):
        votes: Counter[str] = Counter()
        for span in segment(document.text):
            sentence_text = document.text[span.start : span.end]
            for article_id in owners.get(_digest(sentence_text), ()):
                votes[article_id] += len(sentence_text)
        for article_id, count in votes.items():
            if count > best.get(article_id, (0, 0))[0]:
                best[article_id] = (count, number)
    return {article_id: documents[number] for article_id, (_, number) in best.items()}
