"""Models side by side: the same articles, a paired test, a plain verdict, tables for people and machines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from train import comparison, registry
from train.comparison import Contestant, compare, contestants, from_predictions
from train.corpus import read_articles
from train.evaluation import predictions_of, summarise
from train.metrics import Interval
from train.schema import LABELS, Article, SelonError, Sentence


def _world(articles: int, wrong: dict[str, float]) -> tuple[list[Contestant], list[Article]]:
    """Return articles of four sentences, one of each label, and contestants with a share of wrong answers."""
    draw = np.random.default_rng(0)
    spans = tuple(Sentence(2 * place, 2 * place + 1) for place in range(4))
    world = [Article(f"a{number}", "c d a b", spans, LABELS) for number in range(articles)]
    found = []
    for name, share in wrong.items():
        rows = []
        for _ in world:
            given = [draw.integers(4) if draw.random() < share else place for place in range(4)]
            rows.append(np.eye(4)[given] * 0.8 + 0.05)
        found.append(Contestant(name, summarise(world, rows, "toy"), rows, 60.0, 1_500_000))
    return found, world


def test_the_verdict_is_one_plain_sentence() -> None:
    said = {
        "better": compare(*_world(60, {"poor": 0.6, "good": 0.05}), "toy"),
        "worse": compare(*_world(60, {"good": 0.05, "poor": 0.6}), "toy"),
        "chance": compare(*_world(8, {"one": 0.3, "other": 0.35}), "toy"),
        "equal": compare(*_world(8, {"one": 0.0, "other": 0.0}), "toy"),
        "few": compare(*_world(4, {"poor": 0.6, "good": 0.0}), "toy"),
        "few of three": compare(*_world(4, {"poor": 0.6, "good": 0.0, "middle": 0.3}), "toy"),
        "three": compare(*_world(8, {"poor": 0.6, "good": 0.0, "middle": 0.3}), "toy"),
    }
    for case in ("better", "worse"):
        assert said[case].verdict.startswith("good is better, by ")
        assert said[case].verdict.endswith("points of macro-F1 on these 60 articles (paired test, p < 0.001).")
    assert said["chance"].verdict.startswith("No difference shown: ")
    assert "which chance can do" in said["chance"].verdict
    assert said["few"].verdict.startswith("No difference shown: good is ahead by ")
    for case in ("few", "few of three"):
        assert said[case].verdict.endswith("on these 4 articles; too few articles for intervals.")
    assert said["equal"].verdict == "No difference: both have the same macro-F1 on these 8 articles."
    assert said["three"].verdict.startswith("good has the highest macro-F1 on these 8 articles; compare two models")


def test_the_table_has_a_column_a_model_and_the_difference() -> None:
    two = compare(*_world(8, {"one": 0.5, "other": 0.0}), "toy")
    assert two.columns == ["one", "other", "difference"]
    titles = [title for title, _ in two.rows]
    assert titles[:2] == ["macro-F1", "F1 claim (n = 8, few)"]
    assert "precision of denial at its natural rate" in titles
    assert all(len(cells) == 3 for _, cells in two.rows)
    assert dict(two.rows)["training time (s)"] == ["60", "60", ""]
    assert dict(two.rows)["sentences per second, here and now"] == ["–", "–", ""]
    three = compare(*_world(8, {"a": 0, "b": 0, "c": 0}), "toy")
    assert three.columns == ["a", "b", "c"]
    assert three.p_value is None


def test_differing_sentences_are_those_where_the_labels_differ() -> None:
    found, articles = _world(6, {"one": 0.5, "other": 0.0})
    for row in compare(found, articles, "toy").differing:
        assert row["labels"]["one"] != row["labels"]["other"] == row["gold"]
        assert row["text"] == "cdab"[row["sentence"]]


def test_every_form_says_the_same(tmp_path: Path) -> None:
    result = compare(*_world(8, {"one": 0.5, "other": 0.0}), "toy")
    folder = tmp_path / "out"
    comparison.write(result, folder)
    comparison.write(result, folder)  # an earlier comparison is replaced
    assert {path.name for path in folder.iterdir()} == {"table.md", "table.csv", "table.json", "differences.jsonl"}
    table = list(csv.reader((folder / "table.csv").read_text(encoding="utf-8").splitlines()))
    tree = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    markdown = (folder / "table.md").read_text(encoding="utf-8")
    assert table[0] == ["on toy", "one", "other", "difference"]
    one = tree["rows"]["macro-F1"]["one"]
    assert str(Interval(**one)) == table[1][1] == markdown.splitlines()[2].split(" | ")[1]
    assert tree["rows"]["macro-F1"]["difference"]["value"] == pytest.approx(1 - one["value"])
    assert tree["rows"]["training time (s)"] == {"one": 60.0, "other": 60.0, "difference": None}
    assert tree["verdict"] in markdown
    assert len((folder / "differences.jsonl").read_text().splitlines()) == tree["differing_sentences"]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(comparison.to_table(result))
    assert result.verdict in captured.get()


def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    result = compare(*_world(4, {"one": 0.5, "other": 0.0}), "toy")
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SelonError, match=r"holds other things \(thesis\.tex"):
        comparison.write(result, tmp_path)
    with pytest.raises(SelonError, match="is a file"):
        comparison.write(result, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_saved_models_side_by_side(trained: Path) -> None:
    articles = read_articles(trained / "data/corpus/test.jsonl")
    models = [(f"models:/selon/{v}", registry.resolve(f"models:/selon/{v}")) for v in ("1", "2")]
    found = contestants(models, articles, "test")
    assert [one.name for one in found] == ["tfidf (models:/selon/1)", "petit (models:/selon/2)"]
    assert all(one.size and one.training_seconds is not None for one in found)
    folders = [(str(folder), folder) for _, folder in models]
    assert [one.name for one in contestants(folders, articles, "test")] == ["tfidf", "petit"]
    with pytest.raises(SelonError, match="given twice"):
        contestants(models[:1] * 2, articles, "test")
    with pytest.raises(SelonError, match="was trained or calibrated on 12 of these articles"):
        contestants(models, read_articles(trained / "data/corpus/validation.jsonl"), "validation")


def test_two_models_of_one_name_keep_their_columns_apart(copied: dict[str, Path], trained: Path) -> None:
    articles = read_articles(trained / "data/corpus/test.jsonl")
    copy = copied["tfidf"].rename(copied["tfidf"].with_name("again"))
    models = [(str(folder), folder) for folder in (registry.resolve("models:/selon/1"), copy)]
    assert [one.name for one in contestants(models, articles, "test")] == [f"tfidf ({name})" for name, _ in models]


def _kept(path: Path, found: Contestant, articles: list[Article]) -> Path:
    path.write_text(json.dumps(predictions_of(articles, found.probabilities, "1/2")), encoding="utf-8")
    return path


def test_cross_validated_runs(tmp_path: Path) -> None:
    found, articles = _world(12, {"one": 0.5, "other": 0.0})
    first = _kept(tmp_path / "1.json", found[0], articles)
    rows = json.loads(_kept(tmp_path / "2.json", found[1], articles).read_text())
    (tmp_path / "2.json").write_text(json.dumps(rows[::-1]))  # folds come in any order
    again, without_text = from_predictions([("cv", "runs:/1", first), ("cv", "runs:/2", tmp_path / "2.json")])
    assert [one.name for one in again] == ["cv (runs:/1)", "cv (runs:/2)"]
    result = compare(again, without_text, "cross-validation")
    assert result.p_value is not None
    assert [one.report.f1["macro"].value for one in again] == [one.report.f1["macro"].value for one in found]


@pytest.mark.parametrize("change", ["fewer", "other text", "other labels"])
def test_runs_on_other_articles_are_refused(change: str, tmp_path: Path, rows: Callable[..., object]) -> None:
    found, articles = _world(12, {"one": 0.5, "other": 0.0})
    first = _kept(tmp_path / "1.json", found[0], articles)
    kept = json.loads(_kept(tmp_path / "2.json", found[1], articles).read_text())
    if change == "fewer":
        kept.pop()
    elif change == "other text":
        kept[0]["content"] = "0" * 16
    else:
        kept[0]["gold"][0] = "background"
    (tmp_path / "2.json").write_text(json.dumps(kept))
    with pytest.raises(SelonError, match="not cross-validated on the same labelled articles"):
        from_predictions([("one", "runs:/1", first), ("other", "runs:/2", tmp_path / "2.json")])


def test_runs_that_were_taught_by_other_articles_are_refused(tmp_path: Path) -> None:
    found, articles = _world(12, {"one": 0.5, "other": 0.0})
    first = _kept(tmp_path / "1.json", found[0], articles)
    kept = json.loads(first.read_text())
    (tmp_path / "2.json").write_text(json.dumps([row | {"fold": "1/4"} for row in kept]))
    files = [("one", "runs:/1", first), ("other", "runs:/2", tmp_path / "2.json")]
    with pytest.raises(SelonError, match="not taught by the same articles"):
        from_predictions(files)
    for row in kept:
        del row["fold"]  # as earlier versions wrote them
    (tmp_path / "2.json").write_text(json.dumps(kept))
    assert len(from_predictions(files)[0]) == 2
