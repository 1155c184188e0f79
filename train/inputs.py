"""The text an encoder reads for a sentence: the sentence, then what its document says around it.

The template is a pair, so that any tokenizer can join it and ``transformers.pipeline`` can be given it as
``{"text": …, "text_pair": …}``:

- text: the sentence, normalised; it begins with ``"... `` where a quotation is open before it.
- pair: ``place | cues | headline | before | after``: the place is début, milieu or fin; the cues are those of the
  sentence, by name.

What the input config switches off is left out; what it asks for and the document lacks stays as an empty part, so
that a part keeps its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from train.config import InputConfig
from train.cues import name_cues
from train.normalisation import normalise, rejoin
from train.schema import Article
from train.segmentation import open_quotations

#: Characters of the neighbours on one side that are kept, nearest to the sentence: enough to see who speaks.
_NEIGHBOUR_CHARACTERS = 160


def build_inputs(article: Article, config: InputConfig) -> list[tuple[str, str]]:
    """Return (text, pair) for each sentence of the article; the pair is empty where the config asks for none."""
    return _inputs(article, config, range(len(article)))


def drop_context(
    article: Article, config: InputConfig, share: float, draw: np.random.Generator
) -> list[tuple[str, str]]:
    """Return ``build_inputs``, but some sentences (``share``) as if alone, and as many as if without a headline."""
    chances = draw.random(len(article))
    pairs = build_inputs(article, config)
    if bare := np.flatnonzero((chances >= share) & (chances < 2 * share)).tolist():
        for place, pair in zip(bare, _inputs(replace(article, title=""), config, bare), strict=True):
            pairs[place] = pair
    for place in np.flatnonzero(chances < share).tolist():
        pairs[place] = build_inputs(Article.alone(article.sentence_texts[place]), config)[0]
    return pairs


def _inputs(article: Article, config: InputConfig, places: Iterable[int]) -> list[tuple[str, str]]:
    """Return (text, pair) for the sentences at ``places``."""
    texts = [normalise(text) for text in article.sentence_texts]
    opened = open_quotations(article.text, article.sentences)
    return [
        (
            f'"... {texts[place]}' if opened[place] and config.quotation else texts[place],
            _context(article, texts, place, opened[place], config),
        )
        for place in places
    ]


def _context(article: Article, texts: list[str], place: int, opened: bool, config: InputConfig) -> str:
    parts = []
    if config.position:
        parts.append("début" if place == 0 else "fin" if place == len(texts) - 1 else "milieu")
    if config.cues:
        parts.append(name_cues(rejoin(article.sentence_texts[place]), opened and config.quotation))
    if config.title:
        parts.append(normalise(article.title))
    if config.before:
        before = " ".join(texts[max(0, place - config.before) : place])
        parts.append(before[-_NEIGHBOUR_CHARACTERS:])
    if config.after:
        parts.append(" ".join(texts[place + 1 : place + 1 + config.after])[:_NEIGHBOUR_CHARACTERS])
    return " | ".join(parts)
