"""The contract of a classifier, and who implements it.

A new family is one file with a subclass of ``Classifier``, its config type in ``config.py``, and one line in
``FAMILIES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from train.bundle import Int8Check
from train.config import InputConfig
from train.schema import Article, Device, Probabilities, SelonError

FAMILIES = {
    "tfidf": "train.classifiers.tfidf:TfidfClassifier",
    "camembert": "train.classifiers.camembert:CamembertClassifier",
    "mean": "train.classifiers.mean:MeanClassifier",
}

#: Called with figures and the step they belong to; how training reports without knowing to whom.
Log = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class Fitting:
    """What a fit needs beside the labels: a seed, a place for checkpoints, somebody to tell, articles without labels.

    With ``resume``, ``checkpoints`` is that of the interrupted fit: go on from the last one that is intact, from
    the beginning where there is none.
    """

    seed: int
    checkpoints: Path
    resume: bool = False
    log: Log = lambda figures, step: None
    unlabelled: Sequence[Article] = ()

    def part(self, name: str) -> Fitting:
        """Return what a fit within this one needs: a folder of checkpoints and names of figures of its own."""
        return replace(
            self,
            checkpoints=self.checkpoints / name,
            log=lambda figures, step: self.log({f"{name}/{key}": value for key, value in figures.items()}, step),
        )


@dataclass(frozen=True)
class Runtime:
    """How a saved model runs.

    Attributes
    ----------
    device : Device
        An encoder may run on a GPU.
    threads : int or None
        Of one prediction; None for every core.
    """

    device: Device = Device.cpu
    threads: int | None = None


DEFAULT = Runtime()


class Classifier(ABC):
    """Sentences in their article in, calibrated probabilities out.

    Parameters
    ----------
    model : a model config of ``train.config``
    inputs : InputConfig
        What of the document the classifier sees beside the sentence.
    """

    family: ClassVar[str]

    def __init__(self, model: Any, inputs: InputConfig) -> None:
        self.model, self.inputs = model, inputs

    def check(self) -> None:
        """Raise SelonError where ``fit`` could not begin; called before anything is written."""
        return

    def start(self) -> dict[str, str]:
        """Return what is on this machine that ``fit`` starts from: files and their SHA-256."""
        return {}

    @property
    def known(self) -> Collection[str]:
        """Return the content keys of the articles that what ``fit`` starts from has learned from or was tuned on."""
        return ()

    @abstractmethod
    def fit(self, train: Sequence[Article], validation: Sequence[Article], fitting: Fitting) -> Self:
        """Learn from ``train``; stop, calibrate and choose on ``validation`` only."""

    @abstractmethod
    def predict_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return for each article calibrated probabilities, shape (its sentences, 4)."""

    def reference_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return ``predict_proba`` in full precision: the same on every machine, whoever is in the batch."""
        return self.predict_proba(articles)

    @property
    def precision(self) -> str:
        """What the answers are computed in: fp32 or int8."""
        return "fp32"

    @property
    def int8(self) -> Int8Check | None:
        """How the int8 graph compared with the fp32 one when the model was made; None where none was asked for."""
        return None

    def predict_with_cuts(self, articles: Sequence[Article]) -> list[tuple[Probabilities, list[bool]]]:
        """Return ``predict_proba``, and for each sentence whether it is longer than the classifier can read."""
        return [(rows, [False] * len(rows)) for rows in self.predict_proba(articles)]

    def show_inputs(self, article: Article) -> list[str]:
        """Return what the classifier is given for each sentence, as a person can read it."""
        raise SelonError(f"a {self.family} model reads features, not a text: --show-input is for encoders")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the files that ``load`` needs into ``folder``, which exists."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, model: Any, inputs: InputConfig, runtime: Runtime = DEFAULT) -> Self:
        """Read what ``save`` wrote; ready for ``predict_proba``, without torch."""


def family(kind: str) -> type[Classifier]:
    """Return the class that implements ``kind``, importing it now."""
    module, _, name = FAMILIES[kind].partition(":")
    found: type[Classifier] = getattr(import_module(module), name)
    return found


def split_by_article(stacked: Probabilities, articles: Sequence[Article]) -> list[Probabilities]:
    """Cut a (sentences, 4) matrix into one matrix an article."""
    return np.split(stacked, np.cumsum([len(article) for article in articles])[:-1]) if articles else []
