"""Articles in, labelled sentences out: as a coloured table, JSONL or CSV."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from train.labeller import Labeller
from train.schema import LABELS, Article, Label, Prediction, SelonError

COLUMNS = (
    "article_id",
    "sentence",
    "start",
    "end",
    "text",
    "label",
    "confidence",
    "review",
    *(f"p_{label}" for label in LABELS),
    "truncated",
)
#: Colours that colour-blind readers tell apart (Okabe and Ito), and a letter for those who see none.
STYLES: dict[Label, tuple[str, str]] = {
    "claim": ("#0072b2", "C"),
    "denial": ("#d55e00", "D"),
    "attribution": ("#009e73", "A"),
    "background": ("default", "·"),
}


@dataclass(frozen=True)
class Source:
    """A raw article and where it came from; ``sha256`` (hex) is that of the file's bytes."""

    id: str
    text: str
    sha256: str


def read_sources(paths: Sequence[str]) -> list[Source]:
    """Read text files, ``-`` for standard input; the id is the file's name without its ending.

    Raises
    ------
    SelonError
        For a missing, undecodable or empty file, or two of one name, before anything is labelled.
    """
    sources: dict[str, Source] = {}
    for path in paths:
        try:
            raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
            text = raw.decode("utf-8-sig")
        except OSError as error:
            raise SelonError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise SelonError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
        if not text.strip():
            raise SelonError(f"{path}: there is no text in it")
        name = "stdin" if path == "-" else Path(path).stem
        if name in sources:
            raise SelonError(f"{path}: another input is called {name} too; rename one, the name is the article's id")
        sources[name] = Source(name, text, hashlib.sha256(raw).hexdigest())
    return list(sources.values())


def rows_of(article: Article, predictions: Sequence[Prediction]) -> Iterator[dict[str, Any]]:
    """Yield a row a sentence, with the keys ``COLUMNS`` in that order."""
    for place, (span, text, prediction) in enumerate(
        zip(article.sentences, article.sentence_texts, predictions, strict=True)
    ):
        yield {
            "article_id": article.id,
            "sentence": place,
            "start": span.start,
            "end": span.end,
            "text": text,
            "label": prediction.label,
            "confidence": round(prediction.confidence, 4),
            "review": prediction.review,
            **{f"p_{label}": round(p, 4) for label, p in zip(LABELS, prediction.probabilities, strict=True)},
            "truncated": prediction.truncated,
        }


def write_rows(rows: Iterator[dict[str, Any]], form: str, out: TextIO) -> None:
    """Write rows as ``jsonl`` or ``csv``; booleans are true and false in both."""
    if form == "jsonl":
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()})


def provenance(labeller: Labeller, sources: Sequence[Source]) -> dict[str, Any]:
    """Return what stands beside an output: what labelled it, and the SHA-256 of each input."""
    return {**labeller.provenance(), "inputs": {source.id: source.sha256 for source in sources}}


def print_article(console: Console, article: Article, predictions: Sequence[Prediction]) -> None:
    """Print the sentences with their labels, coloured; unsure ones carry a question mark."""
    table = Table(title=Text(article.title or article.id), show_lines=False, pad_edge=False, box=None, padding=(0, 1))
    table.add_column("", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("sentence", ratio=1)
    for text, prediction in zip(article.sentence_texts, predictions, strict=True):
        colour, mark = STYLES[prediction.label]
        doubt = "?" if prediction.review else " "
        # Text, never markup: an article may hold square brackets.
        table.add_row(
            Text(mark, style=f"bold {colour}"),
            Text(prediction.label, style=colour),
            Text(f"{prediction.confidence:.2f}{doubt}", style="dim"),
            Text(text, style=colour),
        )
    console.print(table)
