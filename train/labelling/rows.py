"""A labelled article as rows: the columns that every output has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from train.labelling.sources import Source
from train.schema import LABELS, Article, Prediction

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


@dataclass(frozen=True)
class Labelled:
    """A source, its article and a prediction for each sentence."""

    source: Source
    article: Article
    predictions: list[Prediction]


def rows_of(labelled: Labelled) -> Iterator[dict[str, Any]]:
    """Yield a row a sentence: the keys ``COLUMNS`` in that order, then the columns that the source keeps."""
    article = labelled.article
    for place, (span, text, prediction) in enumerate(
        zip(article.sentences, article.sentence_texts, labelled.predictions, strict=True)
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
            **labelled.source.kept,
        }
