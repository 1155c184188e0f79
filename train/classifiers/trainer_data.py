"""Articles as the data set that Trainer reads: tokenised some at a time, with a bar, so that little is held at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedTokenizerBase

from train.classifiers.camembert import encode
from train.schema import Article, Probabilities

_AT_ONCE = 100


def tokenise(
    articles: Sequence[Article],
    read: Callable[[Article], list[tuple[str, str]]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    types: bool,
    targets: Probabilities | None = None,
) -> Dataset:
    """Return a row for each sentence of the articles, in order: its pieces, how many, and its target.

    Parameters
    ----------
    read : callable
        Gives the (text, pair) of each sentence of an article.
    types : bool
        Whether the model tells the two texts apart by token type.
    targets : float, shape (sentences, 4), optional
        Probabilities of the labels.
    """
    columns: dict[str, list[Any]] = {"input_ids": [], "length": []} | ({"token_type_ids": []} if types else {})
    starts = range(0, len(articles), _AT_ONCE)
    for start in track(starts, "reading sentences", console=Console(stderr=True), transient=True):
        pairs = [pair for article in articles[start : start + _AT_ONCE] for pair in read(article)]
        for encoding, _ in encode(tokenizer.backend_tokenizer, pairs, max_length):
            columns["input_ids"].append(np.array(encoding.ids, dtype=np.int32))
            columns["length"].append(len(encoding.ids))
            if types:
                columns["token_type_ids"].append(np.array(encoding.type_ids, dtype=np.int32))
    if targets is not None:
        columns["labels"] = list(targets)
    return Dataset.from_dict(columns)
