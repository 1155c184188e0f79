"""The types that travel between the modules: label, sentence, article, prediction, and the user's error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Label = Literal["claim", "denial", "attribution", "background"]

#: The order of every probability vector, confusion matrix and logit in the project.
LABELS: tuple[Label, ...] = get_args(Label)

#: One row a sentence, one column a label in the order of ``LABELS``; rows sum to 1.
Probabilities = NDArray[np.float64]

#: Half a character (a lone surrogate): JSON can carry it, but no file or tokenizer takes it.
HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class SelonError(Exception):
    """The user's input was wrong: one sentence that names the place and the remedy; exit code 2."""


class Device(StrEnum):
    """What computes."""

    cpu = "cpu"
    cuda = "cuda"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an article: code points into its raw text, end-exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class Article:
    """A news article, its sentences and, where it is annotated, their labels.

    Attributes
    ----------
    id : str
        Unique within a data set.
    text : str
        The raw text. Paragraphs are separated by line breaks. Never normalised: offsets point into it.
    sentences : tuple of Sentence
        In order, not overlapping.
    labels : tuple of Label or None
        One label a sentence; None where the article is not annotated.
    title : str
        The headline, empty where there is none. It is context, never a sentence.
    stratum : str
        How the article was drawn; "random" articles show the natural shares of the labels.
    """

    id: str
    text: str
    sentences: tuple[Sentence, ...]
    labels: tuple[Label, ...] | None = None
    title: str = ""
    stratum: str = ""
    metadata: dict[str, str] = field(default_factory=dict, hash=False, compare=False)

    @classmethod
    def alone(cls, text: str) -> Article:
        """Return a sentence without an article around it: no title, no neighbours."""
        return cls("", text, (Sentence(0, len(text)),))

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.sentences)

    @cached_property
    def sentence_texts(self) -> tuple[str, ...]:
        """The raw slice of each sentence."""
        return tuple(self.text[s.start : s.end] for s in self.sentences)

    @cached_property
    def gold(self) -> NDArray[np.int64]:
        """The labels as indices into ``LABELS``; raises SelonError where there are none."""
        if self.labels is None:
            raise SelonError(f"article {self.id} carries no labels; give labelled articles")
        return np.array([LABELS.index(label) for label in self.labels], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one sentence.

    Attributes
    ----------
    label : Label
        The most probable label.
    probabilities : tuple of float
        Calibrated, in the order of ``LABELS``.
    review : bool
        The confidence lies below the model's threshold: a person should read the sentence again.
    truncated : bool
        The sentence was longer than the model's input; the model saw its beginning.
    """

    label: Label
    probabilities: tuple[float, ...]
    review: bool
    truncated: bool

    @property
    def confidence(self) -> float:
        """The probability of ``label``."""
        return max(self.probabilities)
