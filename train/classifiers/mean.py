"""The mean of several classifiers: a baseline and an encoder err differently, and so do two encoders of other seeds."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from train.atomic import whole_folder
from train.classifiers.base import DEFAULT, Classifier, Fitting, Runtime, family, split_by_article
from train.config import InputConfig, MeanConfig
from train.metrics import fit_temperature, probabilities_from
from train.schema import Article, Probabilities, SelonError

_FILE = "mean.json"


class MeanClassifier(Classifier):
    """Members that are fitted one after another, each with a seed of its own; all count the same."""

    family = "mean"
    model: MeanConfig

    def __init__(self, model: MeanConfig, inputs: InputConfig) -> None:
        super().__init__(model, inputs)
        self.members = [family(member.kind)(member, inputs) for member in model.members]
        self.temperature = 1.0

    def check(self) -> None:
        """Refuse what a member would refuse."""
        for place, member in enumerate(self.members):
            try:
                member.check()
            except SelonError as error:
                raise SelonError(f"model.members, number {place + 1}: {error}") from None

    def start(self) -> dict[str, str]:
        """Return what the members start from."""
        return {name: sha for member in self.members for name, sha in member.start().items()}

    @property
    def known(self) -> Collection[str]:
        """Return what any member has learned from already."""
        return {key for member in self.members for key in member.known}

    def fit(self, train: Sequence[Article], validation: Sequence[Article], fitting: Fitting) -> Self:
        """Fit the members on ``train`` and the temperature of their mean on ``validation``.

        A member that is done is kept beside its checkpoints: a resumed fit goes on with the next.
        """
        for place, member in enumerate(self.members):
            own = replace(fitting.part(f"member-{place}"), seed=fitting.seed + place)
            kept = own.checkpoints / "saved"
            if fitting.resume and kept.is_dir():
                self.members[place] = type(member).load(kept, member.model, self.inputs)
                continue
            own.checkpoints.mkdir(exist_ok=True)
            member.fit(train, validation, own)
            with whole_folder(kept) as work:
                member.save(work)
        rows = [member.predict_proba(validation) for member in self.members]
        gold = np.concatenate([article.gold for article in validation])
        self.temperature = fit_temperature(_logits(rows), gold)
        fitting.log({"temperature": self.temperature}, 0)
        return self

    def predict_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return calibrated probabilities, one (sentences, 4) matrix an article."""
        return [rows for rows, _ in self.predict_with_cuts(articles)]

    def predict_with_cuts(self, articles: Sequence[Article]) -> list[tuple[Probabilities, list[bool]]]:
        """Return calibrated probabilities, and for each sentence whether a member has not read its end."""
        if not articles:
            return []
        answers = [member.predict_with_cuts(articles) for member in self.members]
        logits = _logits([[rows for rows, _ in answer] for answer in answers])
        mean = split_by_article(probabilities_from(logits / self.temperature), articles)
        cuts = zip(*([cut for _, cut in answer] for answer in answers), strict=True)
        return [(rows, [any(one) for one in zip(*cut, strict=True)]) for rows, cut in zip(mean, cuts, strict=True)]

    def show_inputs(self, article: Article) -> list[str]:
        """Return what the first member that reads a text is given."""
        for member in self.members:
            with suppress(SelonError):
                return member.show_inputs(article)
        return super().show_inputs(article)

    def save(self, folder: Path) -> None:
        """Write a folder for each member, and ``mean.json``."""
        for place, member in enumerate(self.members):
            own = folder / f"member-{place}"
            own.mkdir()
            member.save(own)
        (folder / _FILE).write_text(json.dumps({"temperature": self.temperature}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, model: MeanConfig, inputs: InputConfig, runtime: Runtime = DEFAULT) -> Self:
        """Read what ``save`` wrote; only encoders leave the CPU."""
        found = cls(model, inputs)
        for place, member in enumerate(found.members):
            own = runtime if member.family == "camembert" else Runtime(threads=runtime.threads)
            found.members[place] = type(member).load(folder / f"member-{place}", member.model, inputs, own)
        found.temperature = json.loads((folder / _FILE).read_text(encoding="utf-8"))["temperature"]
        return found


def _logits(members: Sequence[Sequence[Probabilities]]) -> NDArray[np.float64]:
    """Return the logarithm of the mean of the members' probabilities, shape (sentences, 4)."""
    mean: NDArray[np.float64] = np.mean([np.concatenate(rows) for rows in members], axis=0)
    return np.log(np.maximum(mean, 1e-12))
