"""The engine: a saved model over articles; segmentation, inputs, batches, thresholds. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from train import __version__
from train.bundle import Bundle, bundle_sha256, read_bundle
from train.classifiers.base import Classifier, Runtime, family
from train.schema import LABELS, Article, Device, Prediction, Probabilities
from train.segmentation import segment


def read_article(text: str, title: str = "", article_id: str = "") -> Article:
    """Return a raw article with its sentences, not labelled yet."""
    return Article(article_id, text, segment(text), title=title)


class Labeller:
    """A saved model, ready to label.

    Parameters
    ----------
    bundle : Bundle
        What the model's folder says of it.
    classifier : Classifier
        Loaded.
    sha256 : str
        Names the model: the hash of its manifest.
    folder : Path
        Where it lies.
    """

    def __init__(self, bundle: Bundle, classifier: Classifier, sha256: str, folder: Path) -> None:
        self.bundle, self.classifier, self.sha256, self.folder = bundle, classifier, sha256, folder

    @classmethod
    def open(cls, folder: Path, device: Device = Device.cpu, threads: int | None = None) -> Self:
        """Open and check a saved model.

        Parameters
        ----------
        folder : Path
            The saved model.
        device : Device
            Where an encoder runs.
        threads : int, optional
            How many one prediction uses; else one for each core.

        Raises
        ------
        SelonError
            Where it is missing, altered or incomplete, or the device is not to be had.
        """
        bundle = read_bundle(folder)
        classifier = family(bundle.model.kind).load(folder, bundle.model, bundle.input, Runtime(device, threads))
        return cls(bundle, classifier, bundle_sha256(folder), folder)

    def label(self, text: str, title: str = "", article_id: str = "") -> tuple[Article, list[Prediction]]:
        """Segment a raw article and label its sentences."""
        article = read_article(text, title, article_id)
        return article, self.predict([article])[0]

    def predict(self, articles: Sequence[Article]) -> list[list[Prediction]]:
        """Return a prediction for each sentence of each article, in order."""
        return [
            [
                Prediction(
                    LABELS[int(row.argmax())],
                    tuple(float(p) for p in row),
                    bool(row.max() < self.bundle.review_below),
                    cut,
                )
                for row, cut in zip(rows, cuts, strict=True)
            ]
            for rows, cuts in self.classifier.predict_with_cuts(articles)
        ]

    def predict_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return calibrated probabilities, one (sentences, 4) matrix an article."""
        return self.classifier.predict_proba(articles)

    def provenance(self) -> dict[str, Any]:
        """Return what every output says of where it comes from."""
        return {
            "selon": __version__,
            "model": self.bundle.name,
            "model_sha256": self.sha256,
            "precision": self.classifier.precision,
            "review_below": self.bundle.review_below,
        }
