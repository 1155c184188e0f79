"""The report of a model on articles that it has never seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from train import registry
from train.bundle import MANIFEST
from train.corpus import read_articles
from train.evaluation import (
    confusion_picture,
    evaluate,
    predictions_of,
    reliability_picture,
    report_table,
    summarise,
)
from train.labeller import Labeller
from train.schema import LABELS, Article, Probabilities, SelonError, Sentence


def _article(name: str, gold: list[str]) -> Article:
    text = " ".join(f"{label}." for label in gold)
    ends = np.cumsum([len(label) + 2 for label in gold]) - 1
    spans = tuple(Sentence(int(end) - len(label) - 1, int(end)) for label, end in zip(gold, ends, strict=True))
    return Article(name, text, spans, tuple(gold))


def _sure(labels: list[str], confidence: float = 0.7) -> Probabilities:
    rows = np.full((len(labels), len(LABELS)), (1 - confidence) / 3)
    for row, label in zip(rows, labels, strict=True):
        row[LABELS.index(label)] = confidence
    return rows


ARTICLES = [_article("x", ["claim", "denial"]), _article("y", ["attribution", "background", "claim"])]
GIVEN = [_sure(["claim", "claim"]), _sure(["attribution", "background", "claim"], 0.97)]


def test_the_figures_of_known_predictions() -> None:
    report = summarise(ARTICLES, GIVEN, "toy", review_below=0.9)
    assert (report.articles, report.counts) == (2, {"claim": 2, "denial": 1, "attribution": 1, "background": 1})
    assert report.f1["claim"].value == pytest.approx(0.8)
    assert report.f1["macro"].value == pytest.approx((0.8 + 0 + 1 + 1) / 4)
    assert report.precision["claim"] == pytest.approx(2 / 3)
    assert report.recall["denial"] == 0
    assert report.review_share == pytest.approx(2 / 5)
    assert report.confusion[LABELS.index("denial")][LABELS.index("claim")] == 1
    mistake = report.worst[0]
    assert (mistake.article_id, mistake.sentence, mistake.text) == ("x", 1, "denial.")
    assert (mistake.gold, mistake.predicted, mistake.confidence) == ("denial", "claim", pytest.approx(0.7))
    assert report.end_to_end is None
    assert {"toy/f1_macro", "toy/f1_macro_low", "toy/recall_denial"} <= set(report.figures())
    assert "toy/f1_macro_end_to_end" not in report.figures()
    assert report_table(report).row_count == 5


def test_the_most_confident_mistake_comes_first() -> None:
    given = [_sure(["denial", "denial"], 0.6), _sure(["claim", "background", "claim"], 0.8)]
    assert [mistake.article_id for mistake in summarise(ARTICLES, given, "toy").worst] == ["y", "x"]


def test_what_a_run_keeps_holds_no_text() -> None:
    kept = predictions_of(ARTICLES, GIVEN, "1/2")
    assert [set(row) for row in kept] == [{"article_id", "content", "fold", "stratum", "gold", "probabilities"}] * 2
    assert np.allclose(kept[1]["probabilities"], GIVEN[1], atol=1e-5)
    assert "denial." not in json.dumps(kept)


def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    report = summarise(ARTICLES, GIVEN, "toy")
    confusion_picture(report).savefig(tmp_path / "confusion.png")
    reliability_picture(ARTICLES, GIVEN, report).savefig(tmp_path / "reliability.png")
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_trained_model_on_held_out_articles(version: str, trained: Path) -> None:
    labeller = Labeller.open(registry.resolve(f"models:/selon/{version}"))
    report, probabilities = evaluate(labeller, read_articles(trained / "data/corpus/test.jsonl"), "test")
    assert report.f1["macro"].value > 0.9
    assert report.end_to_end == pytest.approx(report.f1["macro"].value, abs=0.1)
    assert report.sentences_per_second is not None
    assert report.sentences_per_second > 0
    assert [len(rows) for rows in probabilities] == [8] * 12


def test_articles_that_were_trained_on_are_refused(trained: Path) -> None:
    labeller = Labeller.open(registry.resolve("models:/selon/1"))
    for name in ("train", "validation"):
        seen = read_articles(trained / f"data/corpus/{name}.jsonl")
        # Another id and other white space are no disguise.
        spans = tuple(Sentence(s.start + 2, s.end + 2) for s in seen[0].sentences)
        disguised = [Article("other", f"  {seen[0].text}", spans, seen[0].labels)]
        with pytest.raises(SelonError, match="was trained or calibrated on 1 of these articles"):
            evaluate(labeller, disguised, "x")
    with pytest.raises(SelonError, match="no articles to evaluate on"):
        evaluate(labeller, [], "x")


def test_a_model_that_answers_otherwise_than_when_it_was_saved(trained: Path, copied: dict[str, Path]) -> None:
    articles = read_articles(trained / "data/corpus/test.jsonl")
    manifest = copied["petit"] / MANIFEST
    tree = json.loads(manifest.read_text())

    def spoilt(change: float | None) -> Labeller:
        rows = [list(row) for row in tree["golden"][0]["probabilities"]]
        rows = rows[:-1] if change is None else [[rows[0][0] + change, *rows[0][1:]], *rows[1:]]
        manifest.write_text(json.dumps(tree | {"golden": [tree["golden"][0] | {"probabilities": rows}]}))
        return Labeller.open(copied["petit"])

    evaluate(spoilt(0.0005), articles, "test")
    with pytest.raises(SelonError, match=r"answers differently here .* off by 0\.0[12]"):
        evaluate(spoilt(0.015), articles, "test")
    with pytest.raises(SelonError, match="cuts its golden example into"):
        evaluate(spoilt(None), articles, "test")
