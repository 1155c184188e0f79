"""One engine for all: what is labelled, served by MLflow and evaluated are the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from train import registry
from train.bundle import MANIFEST
from train.corpus import read_articles
from train.evaluation import evaluate
from train.labeller import Labeller, read_article
from train.schema import LABELS, SelonError

TEXT = "Le maire dément la grève.\nLa rue est rouge, selon le ministre. Le pont est vert."


@pytest.mark.parametrize("version", ["1", "2"])
def test_labelling_evaluation_and_pyfunc_give_the_same_probabilities(version: str, trained: Path) -> None:
    import mlflow
    import pandas as pd

    labeller = Labeller.open(registry.resolve(f"models:/selon/{version}"))
    articles = read_articles(trained / "data/corpus/test.jsonl")[:3]
    _, evaluated = evaluate(labeller, articles, "test")
    face = mlflow.pyfunc.load_model(f"models:/selon/{version}")
    for article, rows in zip(articles, evaluated, strict=True):
        predicted = [prediction.probabilities for prediction in labeller.predict([article])[0]]
        np.testing.assert_array_equal(predicted, rows)
        # The face knows no headline; without it the two must be equal.
        bare = read_article(article.text, article_id=article.id)
        frame = pd.DataFrame({"text": bare.sentence_texts, "document": [bare.text] * len(bare)})
        served = face.predict(frame)
        expected = labeller.predict_proba([bare])[0]
        np.testing.assert_allclose(served[[f"p_{label}" for label in LABELS]].to_numpy(), expected, atol=1e-6)
        assert served["label"].tolist() == [LABELS[i] for i in expected.argmax(1)]


def test_label_cuts_the_raw_text(trained: Path) -> None:
    labeller = Labeller.open(registry.resolve(None))
    article, predictions = labeller.label(TEXT, title="Titre", article_id="x")
    assert article.sentence_texts[1:] == ("La rue est rouge, selon le ministre.", "Le pont est vert.")
    assert (article.id, article.title) == ("x", "Titre")
    assert [p.label for p in predictions] == ["denial", "claim", "background"]
    for prediction in predictions:
        assert sum(prediction.probabilities) == pytest.approx(1)
        assert prediction.confidence == max(prediction.probabilities)
        assert prediction.review == (prediction.confidence < labeller.bundle.review_below)
    assert labeller.label("")[1] == []


def test_over_long_sentences_are_marked_and_answered(trained: Path) -> None:
    labeller = Labeller.open(registry.resolve("models:/selon/2"))
    _, predictions = labeller.label("Le maire " + "et la rue " * 200 + "dément.\nLe pont est vert.")
    assert [p.truncated for p in predictions] == [True, False]


def test_provenance_names_the_model(trained: Path) -> None:
    folder = registry.resolve("models:/selon/2")
    said = Labeller.open(folder).provenance()
    assert said["model"] == "petit"
    assert len(said["model_sha256"]) == 64
    assert said["precision"] == "fp32"
    assert set(said) == {"selon", "model", "model_sha256", "precision", "review_below"}


@pytest.mark.parametrize("name", ["tfidf", "petit"])
def test_an_altered_or_incomplete_model_is_refused(name: str, copied: dict[str, Path]) -> None:
    folder = copied[name]
    Labeller.open(folder)
    weights = folder / {"tfidf": "model.skops", "petit": "model.onnx"}[name]
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SelonError, match="altered since the model was saved"):
        Labeller.open(folder)
    weights.unlink()
    with pytest.raises(SelonError, match="missing from the saved model"):
        Labeller.open(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(SelonError, match="this is no saved model"):
        Labeller.open(folder)
