"""From an article and its predictions to what the API answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from train import __version__
from train.cues import KINDS, Cue, Kind, find_cues
from train.schema import LABELS, Article, Prediction
from train.segmentation import new_paragraph, unwrap
from train.service.schemas import ArticleOut, CueOut, ModelDescription, ModelOut, Part, SentenceOut
from train.service.served import Served

#: Characters of a sentence in which cues are looked for. No model reads as many of one; what is longer is debris.
_READ = 4000


def article_out(article: Article, predictions: Sequence[Prediction], parts: bool) -> ArticleOut:
    """Return an article's sentences with labels, cues and offsets into its raw text."""
    sentences = []
    paragraph, end, unwrapped = 0, 0, unwrap(article.text)
    for index, (span, text, prediction) in enumerate(
        zip(article.sentences, article.sentence_texts, predictions, strict=True)
    ):
        paragraph += index > 0 and new_paragraph(unwrapped, end, span.start)
        end = span.end
        cues = find_cues(text[:_READ])
        sentences.append(
            SentenceOut(
                index=index,
                start=span.start,
                end=span.end,
                paragraph=paragraph,
                text=text,
                label=prediction.label,
                confidence=round(prediction.confidence, 4),
                review=prediction.review,
                probabilities=dict(zip(LABELS, (round(p, 4) for p in prediction.probabilities), strict=True)),
                cues=[
                    CueOut(
                        start=span.start + cue.start,
                        end=span.start + cue.end,
                        text=text[cue.start : cue.end],
                        kind=cue.kind,
                    )
                    for cue in cues
                ],
                parts=cut(text, cues) if parts else None,
                truncated=prediction.truncated,
            )
        )
    labels = [sentence.label for sentence in sentences]
    return ArticleOut(
        id=article.id,
        input_sha256=hashlib.sha256(article.text.encode()).hexdigest(),
        sentences=sentences,
        counts={label: labels.count(label) for label in LABELS},
    )


def cut(text: str, cues: Sequence[Cue]) -> list[Part]:
    """Cut a sentence wherever a cue begins or ends; cues may overlap, so a piece may be of several kinds."""
    edges = sorted({0, len(text), *(cue.start for cue in cues), *(cue.end for cue in cues)})
    places = {edge: place for place, edge in enumerate(edges)}
    kinds: list[set[Kind]] = [set() for _ in edges]
    for cue in cues:  # each looks at its own pieces alone: a line of ten thousand figures is cut as fast as any
        for place in range(places[cue.start], places[cue.end]):
            kinds[place].add(cue.kind)
    return [
        Part(text=text[start:end], kinds=sorted(found, key=KINDS.index))
        for (start, end), found in zip(pairwise(edges), kinds, strict=False)
    ]


def model_out(served: Served) -> ModelOut:
    """Return which model answers."""
    return ModelOut(name=served.name, version=served.version, sha256=served.labeller.sha256, selon=__version__)


def model_description(served: Served) -> ModelDescription:
    """Return what there is to say of the model."""
    bundle = served.labeller.bundle
    return ModelDescription(
        **model_out(served).model_dump(),
        kind=bundle.model.kind,
        created=bundle.created,
        labels=list(LABELS),
        review_below=bundle.review_below,
        corpus=bundle.corpus,
        held_out=bundle.held_out,
    )
