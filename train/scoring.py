"""A sentence a row, its document beside it: how MLflow's tables ask, whoever answers (pyfunc or HTTP).

A null or empty text is background with probability 1: there is nothing in it that anyone could vouch for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from train.schema import LABELS, Article, Probabilities, Sentence
from train.segmentation import segment

#: The columns of an answer, in this order.
COLUMNS = ("label", *(f"p_{label}" for label in LABELS))
_NOTHING = tuple(float(label == "background") for label in LABELS)


class Placed(NamedTuple):
    """An article in which the text of a row is the sentence number ``place``."""

    article: Article
    place: int


def place_rows(rows: Iterable[tuple[object, object]]) -> tuple[list[Placed | None], list[Article]]:
    """Return ``place`` of each (text, document), and the articles without repetition: many rows, one document."""
    read = cache(_read)  # each document once; it lives as long as this call
    placed = [place(text, document, read) for text, document in rows]
    return placed, list(dict.fromkeys(one.article for one in placed if one))


def _read(document: str) -> Article:
    return Article("", document, segment(document))


def place(text: object, document: object, read: Callable[[str], Article] = _read) -> Placed | None:
    """Find ``text`` in ``document`` as one sentence; alone where the document has it not, None where it is empty.

    A sentence of the document comes before a part of one: « Non » is not looked for in « Nonancourt ». Where several
    are equal it is the first: rows come in any order, and each is answered by itself.
    """
    stripped = text.strip() if isinstance(text, str) else ""
    if not stripped:
        return None
    found = document.find(stripped) if isinstance(document, str) else -1
    if not isinstance(document, str) or found < 0:
        return Placed(Article.alone(stripped), 0)
    article = read(document)
    if stripped in article.sentence_texts:
        return Placed(article, article.sentence_texts.index(stripped))
    own = Sentence(found, found + len(stripped))
    others = [s for s in article.sentences if s.end <= own.start or s.start >= own.end]
    sentences = sorted([*others, own], key=lambda s: s.start)
    return Placed(Article("", document, tuple(sentences)), sentences.index(own))


def answer_rows(
    placed: Sequence[Placed | None],
    articles: Sequence[Article],
    predicted: Iterable[Probabilities | Sequence[Sequence[float]]],
) -> list[dict[str, str | float]]:
    """Return the answers of ``place_rows``, from the probabilities of each sentence of each article."""
    known = dict(zip(articles, predicted, strict=True))
    return [answer(known[one.article][one.place] if one else None) for one in placed]


def answer(probabilities: Sequence[float] | None) -> dict[str, str | float]:
    """Return the row ``COLUMNS`` for a sentence's probabilities; None stands for an empty text."""
    row = [float(p) for p in (_NOTHING if probabilities is None else probabilities)]
    return dict(zip(COLUMNS, [LABELS[row.index(max(row))], *row], strict=True))
