"""A sentence a row, its document beside it: how MLflow's tables ask, whoever answers (pyfunc or HTTP).

A null or empty text is background with probability 1: there is nothing in it that anyone could vouch for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from train.schema import LABELS, Article, Sentence
from train.segmentation import segment

#: The columns of an answer, in this order.
COLUMNS = ("label", *(f"p_{label}" for label in LABELS))
_NOTHING = tuple(float(label == "background") for label in LABELS)


class Placed(NamedTuple):
    """An article in which the text of a row is the sentence number ``place``."""

    article: Article
    place: int


def place(text: object, document: object) -> Placed | None:
    """Find ``text`` in ``document`` as one sentence; alone where the document has it not, None where it is empty."""
    stripped = text.strip() if isinstance(text, str) else ""
    if not stripped:
        return None
    found = document.find(stripped) if isinstance(document, str) else -1
    if not isinstance(document, str) or found < 0:
        return Placed(Article.alone(stripped), 0)
    own = Sentence(found, found + len(stripped))
    others = [s for s in segment(document) if s.end <= own.start or s.start >= own.end]
    sentences = sorted([*others, own], key=lambda s: s.start)
    return Placed(Article("", document, tuple(sentences)), sentences.index(own))


def answer(probabilities: Sequence[float] | None) -> dict[str, str | float]:
    """Return the row ``COLUMNS`` for a sentence's probabilities; None stands for an empty text."""
    row = [float(p) for p in (_NOTHING if probabilities is None else probabilities)]
    return dict(zip(COLUMNS, [LABELS[row.index(max(row))], *row], strict=True))
