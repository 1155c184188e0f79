"""Models side by side on the same articles: figures, intervals, a paired test, one plain sentence."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from train import metrics
from train.atomic import refuse_others, whole_folder
from train.evaluation import Report, evaluate, flatten, refuse_seen, summarise
from train.labeller import Labeller
from train.metrics import Interval
from train.schema import LABELS, Article, Label, Probabilities, SelonError, Sentence

#: What a comparison's folder holds.
FILES = ("table.md", "table.csv", "table.json", "differences.jsonl")
#: Below this p value a difference counts as shown.
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contestant:
    """A model's predictions on the articles of the comparison; seconds and bytes where they are known."""

    name: str
    report: Report
    probabilities: list[Probabilities]
    training_seconds: float | None = None
    size: int | None = None


@dataclass(frozen=True)
class Comparison:
    """The table, the verdict and the sentences on which the models differ."""

    on: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    figures: list[Sequence[Interval | float | None]] = field(repr=False)
    """What the cells of ``rows`` show."""
    verdict: str
    differing: list[dict[str, Any]] = field(repr=False)
    p_value: float | None = None


def contestants(models: Sequence[tuple[str, Path]], articles: Sequence[Article], on: str) -> list[Contestant]:
    """Run each saved model over the articles; SelonError where one was trained on any of them."""
    labellers = [Labeller.open(folder) for _, folder in models]
    for labeller in labellers:  # before the first of them takes its time
        refuse_seen(labeller, articles)
    titles = _titles([(labeller.bundle.name, name) for labeller, (name, _) in zip(labellers, models, strict=True)])
    found = []
    for title, labeller, (_, folder) in zip(titles, labellers, models, strict=True):
        report, probabilities = evaluate(labeller, articles, on)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        found.append(Contestant(title, report, probabilities, labeller.bundle.training_seconds, size))
    return found


def from_predictions(files: Sequence[tuple[str, str, Path]]) -> tuple[list[Contestant], list[Article]]:
    """Read the predictions of cross-validated runs (name, address, file), in one order; refuse other articles.

    The articles returned carry ids and labels but no text: a run does not keep any.
    """
    titles = _titles([(name, address) for name, address, _ in files])
    runs = []
    for title, (_, _, path) in zip(titles, files, strict=True):
        rows = sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda row: row["article_id"])
        runs.append((title, rows))
    first_name, first = runs[0]
    for name, rows in runs[1:]:
        if [(r["content"], r["gold"]) for r in rows] != [(r["content"], r["gold"]) for r in first]:
            raise SelonError(
                f"{name} and {first_name} were not cross-validated on the same labelled articles: "
                "run both with the same data.train, for as many folds"
            )
        pairs = [pair for pair in zip(rows, first, strict=True) if all("fold" in row for row in pair)]
        if any(one["fold"] != other["fold"] for one, other in pairs):
            raise SelonError(
                f"{name} and {first_name} were not taught by the same articles: cross-validate both with the same "
                "number of folds and seed"
            )
    articles = [_without_text(row["article_id"], row["gold"], row["stratum"]) for row in first]
    found = []
    for name, rows in runs:
        probabilities = [np.array(row["probabilities"]).reshape(-1, len(LABELS)) for row in rows]
        report = summarise(articles, probabilities, "cross-validation")
        found.append(Contestant(name, report, probabilities))
    return found, articles


def compare(models: Sequence[Contestant], articles: Sequence[Article], on: str) -> Comparison:
    """Put the models side by side; for two of them also their difference and a paired test."""
    two = len(models) == 2
    tables = []
    for model in models:
        gold, stacked, owner = flatten(articles, model.probabilities)
        tables.append(metrics.confusions_by_article(gold, stacked.argmax(1), owner))
    differences = metrics.f1_differences(tables[0], tables[1]) if two else None
    p_value = metrics.paired_test(tables[0], tables[1]) if two else None
    counts = models[0].report.counts
    rows: list[tuple[str, list[str]]] = []
    figures: list[Sequence[Interval | float | None]] = []
    for key in ("macro", *LABELS):
        few = key != "macro" and counts[key] < metrics.FEW
        title = "macro-F1" if key == "macro" else f"F1 {key} (n = {counts[key]}{', few' if few else ''})"
        cells = [str(model.report.f1[key]) for model in models]
        rows.append((title, cells + ([_signed(differences[key])] if differences else [])))
        figures.append([model.report.f1[key] for model in models] + ([differences[key]] if differences else []))
    others: list[tuple[str, str, Callable[[Contestant], Interval | float | None]]] = [
        ("precision of denial at its natural rate", "{}", lambda m: m.report.natural_precision["denial"]),
        ("calibration error", "{:.3f}", lambda m: m.report.calibration_error),
        ("macro-F1, selon's own sentences", "{:.3f}", lambda m: m.report.end_to_end),
        ("training time (s)", "{:.0f}", lambda m: m.training_seconds),
        ("size on disk (MB)", "{:.1f}", lambda m: m.size and m.size / 1e6),
        ("sentences per second, here and now", "{:.0f}", lambda m: m.report.sentences_per_second),
    ]
    for title, form, figure in others:
        found = [figure(model) for model in models]
        rows.append((title, [_or_dash(value, form) for value in found] + ([""] if two else [])))
        figures.append([*found, *([None] if two else [])])
    return Comparison(
        on=on,
        columns=[model.name for model in models] + (["difference"] if two else []),
        rows=rows,
        figures=figures,
        verdict=_verdict(models, differences, p_value),
        differing=_differing(models, articles),
        p_value=p_value,
    )


def write(comparison: Comparison, folder: Path) -> None:
    """Write table.md, table.csv, table.json and differences.jsonl; the folder appears whole.

    An earlier comparison there is replaced; SelonError where the folder holds anything else.
    """
    refuse_others(folder, FILES)
    with whole_folder(folder) as work:
        (work / "table.md").write_text(to_markdown(comparison), encoding="utf-8")
        (work / "table.csv").write_text(to_csv(comparison), encoding="utf-8")
        (work / "table.json").write_text(to_json(comparison), encoding="utf-8")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in comparison.differing)
        (work / "differences.jsonl").write_text("".join(lines), encoding="utf-8")


def to_table(comparison: Comparison) -> Table:
    """Return the comparison for the terminal."""
    table = Table(title=Text(f"on {comparison.on}"), caption=Text(comparison.verdict))
    table.add_column("")
    for column in comparison.columns:
        table.add_column(Text(column), justify="right", overflow="fold")
    for title, cells in comparison.rows:
        table.add_row(title, *cells, style="bold" if title == "macro-F1" else None)
    return table


def to_markdown(comparison: Comparison) -> str:
    """Return the comparison as a Markdown table and the verdict."""
    lines = [
        f"| on {comparison.on} | {' | '.join(comparison.columns)} |",
        f"|---|{'---:|' * len(comparison.columns)}",
        *(f"| {title} | {' | '.join(cells)} |" for title, cells in comparison.rows),
    ]
    return "\n".join(lines) + f"\n\n{comparison.verdict}\n"


def to_csv(comparison: Comparison) -> str:
    """Return the comparison as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([f"on {comparison.on}", *comparison.columns])
    writer.writerows([title, *cells] for title, cells in comparison.rows)
    return buffer.getvalue()


def to_json(comparison: Comparison) -> str:
    """Return the comparison as JSON: figures as numbers, those with an interval as ``value``, ``low`` and ``high``."""
    tree = {
        "on": comparison.on,
        "rows": {
            title: dict(zip(comparison.columns, figures, strict=True))
            for (title, _), figures in zip(comparison.rows, comparison.figures, strict=True)
        },
        "p_value": comparison.p_value,
        "verdict": comparison.verdict,
        "differing_sentences": len(comparison.differing),
    }
    return json.dumps(tree, ensure_ascii=False, indent=1, default=vars)


def _verdict(models: Sequence[Contestant], differences: dict[str, Interval] | None, p_value: float | None) -> str:
    articles = models[0].report.articles
    few = articles < metrics.FEW_ARTICLES
    if differences is None or p_value is None:
        best = max(models, key=lambda model: model.report.f1["macro"].value)
        rest = "too few articles for intervals" if few else "compare two models for a test"
        return f"{best.name} has the highest macro-F1 on these {articles} articles; {rest}."
    gain = differences["macro"]
    if gain.value == 0:
        return f"No difference: both have the same macro-F1 on these {articles} articles."
    better, points = (models[1], gain.value) if gain.value > 0 else (models[0], -gain.value)
    size = f"{100 * points:.1f} points of macro-F1"
    if p_value < _SIGNIFICANT and not few:
        return f"{better.name} is better, by {size} on these {articles} articles (paired test, {_p(p_value)})."
    why = "; too few articles for intervals" if few else f", which chance can do (paired test, p = {p_value:.2f})"
    return f"No difference shown: {better.name} is ahead by {size} on these {articles} articles{why}."


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"  # what so many resamplings can tell


def _differing(models: Sequence[Contestant], articles: Sequence[Article]) -> list[dict[str, Any]]:
    rows = []
    for place, article in enumerate(articles):
        labels = [model.probabilities[place].argmax(1) for model in models]
        for i, gold in enumerate(article.labels or ()):
            given = [LABELS[label[i]] for label in labels]
            if len(set(given)) > 1:
                rows.append(
                    {
                        "article_id": article.id,
                        "sentence": i,
                        "text": article.sentence_texts[i],
                        "gold": gold,
                        "labels": {model.name: label for model, label in zip(models, given, strict=True)},
                    }
                )
    return rows


def _titles(models: Sequence[tuple[str, str]]) -> list[str]:
    """Return a column title for each (name, address); a folder or run shows only where two share a name."""
    addresses = [address for _, address in models]
    for address in addresses:
        if addresses.count(address) > 1:
            raise SelonError(f"{address}: given twice; compare it with another model")
    names = [name for name, _ in models]
    return [
        f"{name} ({address})" if address.startswith("models:/") or names.count(name) > 1 else name
        for name, address in models
    ]


def _without_text(article_id: str, gold: list[Label], stratum: str) -> Article:
    return Article(article_id, "", tuple(Sentence(0, 0) for _ in gold), tuple(gold), stratum=stratum)


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _or_dash(value: Interval | float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
