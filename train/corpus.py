"""Labelled articles on disk: read, validate, describe, fingerprint.

Three formats, told apart by what is in the file:

- *rows*: JSONL, one sentence a row (``article_id, sentence, paragraph, text, label, …``), an article's rows
  together and in order; what ``datasets.load_dataset`` reads. The article's text is rebuilt from its rows:
  sentences of a paragraph joined by a space, paragraphs by a line break.
- *stand-off*: JSONL, one article a line, labels with offsets and hashes but no text (see ``press``).
- *text with labels*: ``NAME.txt`` beside ``NAME.labels.tsv`` (``start, end, label``), as the seed article.
"""

from __future__ import annotations

import csv
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, field_validator

from train.press import Document, Joined, StandoffArticle, join, read_documents, text_source
from train.schema import HALF_CHARACTER, LABELS, Article, Label, SelonError, Sentence
from train.segmentation import segment

Schema = TypeVar("Schema", bound=BaseModel)

#: Row keys that describe the article, not the sentence: the same in every row of an article.
ARTICLE_KEYS = ("title", "genre", "topic", "style")


class CorpusError(SelonError):
    """Labelled data that does not hold; ``problems`` lists every place found, the message the first."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - 1
        super().__init__(self.problems[0] + (f" (and {more} more; `selon corpus check`)" if more else ""))


def _known_label(value: object) -> object:
    if value not in LABELS:
        shown = json.dumps(value, ensure_ascii=False)
        raise ValueError(f"label {shown:.40} is not one of {', '.join(LABELS)}")
    return value


class Row(BaseModel):
    """One sentence of a rows file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    article_id: Annotated[StrictStr, Field(min_length=1)]
    sentence: Annotated[StrictInt, Field(ge=0)]
    paragraph: Annotated[StrictInt, Field(ge=0)] = 0
    text: StrictStr
    label: Label
    title: StrictStr = ""
    genre: StrictStr = ""
    topic: StrictStr = ""
    style: StrictStr = ""
    annotations: dict[str, Label] | None = None

    _label = field_validator("label", mode="before")(_known_label)

    @field_validator("text")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("text is empty")
        if value != value.strip() or len(value.splitlines()) > 1:
            raise ValueError("text must be one line without white space at its ends")
        return value

    @field_validator("text", "title")
    @classmethod
    def _whole_characters(cls, value: str) -> str:
        if HALF_CHARACTER.search(value):
            raise ValueError("text holds half a character (a lone surrogate), which no file or tokenizer takes")
        return value


def read_articles(path: Path | str, press: Path | str | None = None) -> list[Article]:
    """Read one file of labelled articles, in any of the three formats; see ``read_each``."""
    return read_all([path], press)


def read_all(paths: Iterable[Path | str], press: Path | str | None = None) -> list[Article]:
    """Read several files as ``read_each`` does; refuse an article id that stands in two of them."""
    return together(read_each(paths, press))


def together(files: Mapping[Path, list[Article]]) -> list[Article]:
    """Return the articles of several files in order; refuse an article id that stands in two of them."""
    owner: dict[str, Path] = {}
    for path, articles in files.items():
        for article in articles:
            if article.id in owner:
                raise SelonError(f"{path}: article {article.id} is also in {owner[article.id]}; remove one")
            owner[article.id] = path
    return [article for articles in files.values() for article in articles]


def read_each(paths: Iterable[Path | str], press: Path | str | None = None) -> dict[Path, list[Article]]:
    """Read files of labelled articles; the text of stand-off labels is read once for all of them.

    Parameters
    ----------
    paths : iterable of Path or str
        Rows or stand-off ``.jsonl``, ``.txt`` with their ``.labels.tsv``, or folders of such ``.txt``.
    press : Path or str, optional
        Where the text of stand-off labels is; see ``press.text_source``.

    Raises
    ------
    CorpusError
        With file, line and reason of everything that does not hold.
    """
    found: dict[Path, list[Article]] = {}
    standoff: dict[Path, list[tuple[int, Any]]] = {}
    for path in map(Path, paths):
        if path in found:
            raise SelonError(f"{path}: is named twice; name it once")
        if not path.exists():
            raise SelonError(f"{path}: there is no such file; name a labelled .jsonl or .txt")
        found[path] = []  # whatever is read when, the order is that of the names
        if path.is_dir() or path.suffix == ".txt":
            found[path] = _read_texts(path)
        elif "sentences" in (lines := json_lines(path))[0][1]:
            standoff[path] = lines
        else:
            found[path] = _from_rows(path, parse(path, lines, Row))
    if standoff:
        found |= {path: one.articles for path, one in _join(standoff, press, partial=False).items()}
    return found


def read_unlabelled(path: Path, press: Path | str | None = None) -> list[Article]:
    """Return articles without labels: a source of text, or those whose ids a ``.txt`` lists, of the press text.

    Raises SelonError where it cannot be read, for text that no tokenizer takes, for an id that is not there, and where
    there is no article at all.
    """
    if not path.exists() or not (path.is_dir() or path.name.endswith((".jsonl", ".jsonl.xz", ".parquet", ".txt"))):
        raise SelonError(
            f"{path}: name a .jsonl, .jsonl.xz or .parquet file of articles, a folder of them, or a .txt of ids of the "
            "press text"
        )
    documents = _listed(path, press) if path.suffix == ".txt" and path.is_file() else list(read_documents(path))
    articles = [
        Article(document.id or f"{path.stem}:{number}", document.text, spans, title=document.title)
        for number, document in enumerate(documents, start=1)
        if (spans := segment(document.text))
    ]
    if not articles:
        raise SelonError(f"{path}: no article in it; the text is read from `text` (or `article`), with `title`")
    return articles


def _listed(path: Path, press: Path | str | None) -> list[Document]:
    """Return the documents of the press text whose ids the file lists, in the order of the press text."""
    wanted = set(_read_text(path).removeprefix("\ufeff").split())
    if not wanted:
        raise SelonError(f"{path}: no id in it; list ids of the press text, such as orange_7, one a line")
    found = {document.id: document for document in read_documents(text_source(press)) if document.id in wanted}
    if missing := wanted - found.keys():
        raise SelonError(
            f"{path}: {len(missing)} of {len(wanted)} ids ({min(missing)}, …) are not in the press text; take them "
            "out, or use a copy of it that has ids (data/press/README.md)"
        )
    return list(found.values())


def join_files(paths: Iterable[Path], press: Path | str | None, partial: bool) -> dict[Path, Joined]:
    """Read stand-off files and join them with their text; see ``press.join``."""
    return _join({path: json_lines(path) for path in paths}, press, partial)


def _join(files: Mapping[Path, list[tuple[int, Any]]], press: Path | str | None, partial: bool) -> dict[Path, Joined]:
    standoff = {}
    for path, lines in files.items():
        rows = parse(path, lines, StandoffArticle)
        _refuse_duplicates(path, ((line, article.article_id) for line, article in rows))
        standoff[path] = [article for _, article in rows]
    return join(standoff, text_source(press), partial)


def to_rows(articles: Iterable[Article]) -> Iterator[dict[str, Any]]:
    """Yield labelled articles as rows, a sentence each; line breaks inside a sentence become spaces."""
    for article in articles:
        paragraph, end = 0, 0
        described = {key: article.metadata[key] for key in ARTICLE_KEYS if key in article.metadata}
        for i, (span, text, label) in enumerate(
            zip(article.sentences, article.sentence_texts, article.gold, strict=True)
        ):
            paragraph += i > 0 and "\n" in article.text[end : span.start]
            end = span.end
            yield {
                "article_id": article.id,
                "sentence": i,
                "paragraph": paragraph,
                "text": " ".join(text.split()),
                "label": LABELS[label],
                "title": article.title,
                **described,
            }


def _read_texts(path: Path) -> list[Article]:
    if not path.is_dir():
        return [read_text_with_labels(path)]
    texts = sorted(p for p in path.glob("*.txt") if _labels_beside(p).is_file())
    if not texts:
        raise SelonError(f"{path}: no .txt with its .labels.tsv in this folder; name a .jsonl file")
    return [read_text_with_labels(p) for p in texts]


def read_text_with_labels(path: Path) -> Article:
    """Read ``NAME.txt`` (kept to the code point) with the spans of ``NAME.labels.tsv``."""
    text, table = _read_text(path), _labels_beside(path)
    if not table.is_file():
        raise SelonError(f"{table}: there is no such file; the labels of {path.name} stand beside it")
    lines = _read_text(table).removeprefix("\ufeff").splitlines()
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    columns = ("start", "end", "label")
    if not set(columns) <= set(rows.fieldnames or ()):
        raise CorpusError([f"{table}:1: the columns are {', '.join(columns)}, separated by tabs"])
    problems, sentences, labels = [], [], []
    end = 0
    for row in rows:
        place = f"{table}:{rows.line_num}"
        try:
            sentence = Sentence(int(row["start"]), int(row["end"]))
            labels.append(_known_label(row["label"]))
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        if not end <= sentence.start < sentence.end <= len(text):
            problems.append(f"{place}: {sentence.start}-{sentence.end} is empty, overlaps or leaves {path.name}")
            continue
        if not text[sentence.start : sentence.end].strip():
            problems.append(f"{place}: the sentence holds white space only")
        end = sentence.end
        sentences.append(sentence)
    if problems or not sentences:
        raise CorpusError(problems or [f"{table}: no labelled sentences"])
    return Article(path.stem, text, tuple(sentences), tuple(labels))  # type: ignore[arg-type]


def fingerprint(articles: Iterable[Article]) -> str:
    """Return the SHA-256 (hex) of ids, titles, texts, spans and labels, whatever the order of the articles."""
    contents = sorted(
        json.dumps([a.id, a.title, a.text, [(s.start, s.end) for s in a.sentences], a.labels]) for a in articles
    )
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()


def content_key(article: Article) -> str:
    """Return 16 hex digits that name the article's text, whatever its id and white space."""
    squeezed = "".join(unicodedata.normalize("NFC", "".join(article.sentence_texts)).split())
    return hashlib.sha256(squeezed.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def known_among(articles: Iterable[Article], keys: Collection[str]) -> list[str]:
    """Return the ids of the articles whose content key is one of ``keys``."""
    known = set(keys)
    return [article.id for article in articles if content_key(article) in known]


def statistics(articles: Sequence[Article]) -> dict[str, Any]:
    """Return counts of articles, sentences, labels, lengths and (where recorded) genres, topics, styles."""
    counts = Counter(label for a in articles for label in a.labels or ())
    lengths = sorted(len(text) for a in articles for text in a.sentence_texts)
    table: dict[str, Any] = {
        "articles": len(articles),
        "sentences": len(lengths),
        "sentences per article": round(len(lengths) / max(len(articles), 1), 1),
        "median characters per sentence": lengths[len(lengths) // 2] if lengths else 0,
        "labels": {label: counts[label] for label in LABELS},
    }
    for key in ("stratum", *ARTICLE_KEYS[1:]):
        values = Counter(a.stratum if key == "stratum" else a.metadata.get(key, "") for a in articles)
        values.pop("", None)
        if values:
            table[key] = dict(values.most_common())
    return table


def _from_rows(path: Path, rows: list[tuple[int, Row]]) -> list[Article]:
    problems, articles, firsts = [], [], []
    for article_id, group in groupby(rows, key=lambda row: row[1].article_id):
        numbered = list(group)
        firsts.append((numbered[0][0], article_id))
        for expected, (line, row) in enumerate(numbered):
            if row.sentence != expected:
                problems.append(
                    f"{path}:{line}: sentence {row.sentence} of {article_id} should be {expected}: "
                    "an article's rows stand together, numbered from 0"
                )
                break
            if any(getattr(row, key) != getattr(numbered[0][1], key) for key in ARTICLE_KEYS):
                problems.append(f"{path}:{line}: {article_id} has another title, genre, topic or style here")
                break
            if expected and row.paragraph < numbered[expected - 1][1].paragraph:
                problems.append(f"{path}:{line}: paragraph numbers of {article_id} run backwards")
                break
        articles.append(_assemble([row for _, row in numbered]))
    if problems:
        raise CorpusError(problems)
    _refuse_duplicates(path, firsts)
    return articles


def _assemble(rows: Sequence[Row]) -> Article:
    text, sentences = "", []
    for i, row in enumerate(rows):
        if i:
            text += " " if row.paragraph == rows[i - 1].paragraph else "\n"
        sentences.append(Sentence(len(text), len(text) + len(row.text)))
        text += row.text
    first = rows[0]
    metadata = {key: getattr(first, key) for key in ARTICLE_KEYS[1:] if getattr(first, key)}
    labels = tuple(row.label for row in rows)
    return Article(first.article_id, text, tuple(sentences), labels, first.title, metadata=metadata)


def _refuse_duplicates(path: Path, places: Iterable[tuple[int, str]]) -> None:
    """Raise CorpusError where an article begins at two lines."""
    first: dict[str, int] = {}
    problems = [
        f"{path}:{line}: article {article_id} already stands at line {first[article_id]}; keep it together, once"
        for line, article_id in places
        if first.setdefault(article_id, line) != line
    ]
    if problems:
        raise CorpusError(problems)


def parse(path: Path, lines: list[tuple[int, Any]], schema: type[Schema]) -> list[tuple[int, Schema]]:
    """Return what lines hold, with their numbers; CorpusError with file, line and reason of all that does not hold."""
    rows, problems = [], []
    for number, value in lines:
        try:
            rows.append((number, schema.model_validate(value)))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            problems.append(f"{path}:{number}: {'' if first['type'] == 'value_error' else place + ': '}{message}")
    if problems:
        raise CorpusError(problems)
    return rows


def json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a JSONL file with their line numbers; blank lines and a byte order mark are let pass."""
    objects, problems = [], []
    for number, line in enumerate(_read_text(path).removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{path}:{number}: no valid JSON: {error.msg} at column {error.colno}")
            continue
        if isinstance(value, dict):
            objects.append((number, value))
        else:
            problems.append(f"{path}:{number}: a row is a JSON object, not {line.strip():.40}")
    if problems or not objects:
        raise CorpusError(problems or [f"{path}: the file holds no rows"])
    return objects


def _labels_beside(path: Path) -> Path:
    return path.with_name(path.stem + ".labels.tsv")


def _read_text(path: Path) -> str:
    """Read UTF-8 without touching line breaks, so that offsets hold."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise SelonError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except OSError as error:
        raise SelonError(f"{path}: cannot be read: {error.strerror}") from None
