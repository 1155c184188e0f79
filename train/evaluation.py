"""A saved model on labelled articles it has never seen: the figures, the worst mistakes, the pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from train import metrics
from train.corpus import content_key, fingerprint, known_among
from train.labeller import Labeller
from train.metrics import Interval
from train.schema import LABELS, Article, Label, Probabilities, SelonError
from train.segmentation import segment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from train.tracking import Run

#: A golden probability may differ by this much from one machine to another.
_GOLDEN_TOLERANCE = 1e-3
#: How many of the most confident mistakes a report lists.
_WORST = 20


class Mistake(BaseModel):
    """A sentence the model is wrong about, and how sure it was."""

    article_id: str
    sentence: int
    text: str
    gold: Label
    predicted: Label
    confidence: float


class Report(BaseModel):
    """The figures of one model on one set of labelled articles.

    ``f1`` holds "macro" and each label, with 95 % intervals from resampling articles. ``end_to_end`` is
    macro-F1 with selon's own segmentation in place of the gold spans; None where only predictions are known, as is
    ``review_share`` where no threshold is.
    """

    name: str
    fingerprint: str
    articles: int
    counts: dict[str, int]
    f1: dict[str, Interval]
    precision: dict[str, float]
    recall: dict[str, float]
    natural_precision: dict[str, Interval | None]
    calibration_error: float
    review_share: float | None
    end_to_end: float | None
    sentences_per_second: float | None
    confusion: list[list[int]]
    worst: list[Mistake]

    def figures(self) -> dict[str, float]:
        """Return the figures as MLflow logs them, prefixed with the set's name."""
        prefix = f"{self.name}/"
        flat = {f"{prefix}f1_{key}": interval.value for key, interval in self.f1.items()}
        flat |= {f"{prefix}f1_macro_low": self.f1["macro"].low, f"{prefix}f1_macro_high": self.f1["macro"].high}
        for what in ("precision", "recall"):
            flat |= {f"{prefix}{what}_{key}": value for key, value in getattr(self, what).items()}
        if natural := self.natural_precision["denial"]:
            flat[f"{prefix}natural_precision_denial"] = natural.value
        flat[f"{prefix}calibration_error"] = self.calibration_error
        if self.end_to_end is not None:
            flat[f"{prefix}f1_macro_end_to_end"] = self.end_to_end
        return flat


def refuse_seen(labeller: Labeller, articles: Sequence[Article]) -> None:
    """Refuse articles that the model was trained (or calibrated) on: its figures there would mean nothing."""
    known = known_among(articles, labeller.bundle.trained_on)
    if known:
        raise SelonError(
            f"{labeller.bundle.name} was trained or calibrated on {len(known)} of these articles "
            f"({known[0]} …): evaluate it on others"
        )


def verify_golden(labeller: Labeller) -> None:
    """Refuse a model that does not answer as it did when it was saved."""
    for golden in labeller.bundle.golden:
        article = Article("", golden.text, segment(golden.text), title=golden.title)
        rows, expected = labeller.classifier.reference_proba([article])[0], np.array(golden.probabilities)
        if rows.shape != expected.shape:
            raise SelonError(
                f"{labeller.bundle.name}: this selon cuts its golden example into {len(rows)} sentences, not "
                f"{len(expected)} as when it was saved (selon {labeller.bundle.selon}); train it again"
            )
        gap = float(np.abs(rows - expected).max())
        if not gap <= _GOLDEN_TOLERANCE:
            raise SelonError(
                f"{labeller.bundle.name}: it answers differently here than when it was saved (a probability of its "
                f"golden example is off by {gap:.4f}); compare the installed versions with those of its run"
            )


def evaluate(labeller: Labeller, articles: Sequence[Article], name: str) -> tuple[Report, list[Probabilities]]:
    """Return the report and the probabilities, one (sentences, 4) matrix an article.

    Raises
    ------
    SelonError
        When there are no articles, the model has seen one of them, or it no longer answers its golden example as
        when it was saved.
    """
    if not articles:
        raise SelonError(f"{name}: no articles to evaluate on")
    refuse_seen(labeller, articles)
    verify_golden(labeller)
    started = time.perf_counter()
    probabilities = labeller.predict_proba(articles)
    rate = sum(len(article) for article in articles) / (time.perf_counter() - started)
    return (
        summarise(
            articles,
            probabilities,
            name,
            review_below=labeller.bundle.review_below,
            end_to_end=_end_to_end(labeller, articles),
            rate=rate,
        ),
        probabilities,
    )


def summarise(
    articles: Sequence[Article],
    probabilities: Sequence[Probabilities],
    name: str,
    review_below: float | None = None,
    end_to_end: float | None = None,
    rate: float | None = None,
) -> Report:
    """Return the report of predictions that are already made."""
    gold, stacked, owner = flatten(articles, probabilities)
    predicted = stacked.argmax(1)
    table = metrics.confusion(gold, predicted)
    precision, recall = metrics.precision_recall(table)
    by_article = metrics.confusions_by_article(gold, predicted, owner)
    texts = [(a.id, i, text) for a in articles for i, text in enumerate(a.sentence_texts)]
    wrong = np.flatnonzero(gold != predicted)
    worst = wrong[np.argsort(-stacked[wrong].max(1), kind="stable")][:_WORST]
    return Report(
        name=name,
        fingerprint=fingerprint(articles),
        articles=len(articles),
        counts=dict(zip(LABELS, table.sum(1).tolist(), strict=True)),
        f1=metrics.f1_intervals(by_article),
        precision=dict(zip(LABELS, precision.tolist(), strict=True)),
        recall=dict(zip(LABELS, recall.tolist(), strict=True)),
        natural_precision=metrics.natural_precision(by_article, metrics.NATURAL_SHARES),
        calibration_error=metrics.calibration_error(stacked, gold),
        review_share=None if review_below is None else float((stacked.max(1) < review_below).mean()),
        end_to_end=end_to_end,
        sentences_per_second=rate,
        confusion=table.tolist(),
        worst=[
            Mistake(
                article_id=texts[i][0],
                sentence=texts[i][1],
                text=texts[i][2],
                gold=LABELS[gold[i]],
                predicted=LABELS[predicted[i]],
                confidence=float(stacked[i].max()),
            )
            for i in worst
        ],
    )


def flatten(
    articles: Sequence[Article], probabilities: Sequence[Probabilities]
) -> tuple[metrics.Labels, Probabilities, metrics.Labels]:
    """Return gold labels, probabilities and the article's place, one row a sentence."""
    owner = np.repeat(np.arange(len(articles)), [len(article) for article in articles])
    return np.concatenate([a.gold for a in articles]), np.concatenate(list(probabilities)), owner


def _end_to_end(labeller: Labeller, articles: Sequence[Article]) -> float:
    """Return macro-F1 when selon also cuts the sentences: a gold sentence gets the label that overlaps it most."""
    own = [Article(a.id, a.text, segment(a.text), title=a.title) for a in articles]
    predicted = []
    for article, cut, rows in zip(articles, own, labeller.predict_proba(own), strict=True):
        labels = rows.argmax(1)
        for gold in article.sentences:
            overlaps = [min(gold.end, s.end) - max(gold.start, s.start) for s in cut.sentences]
            # Where selon finds no sentence at all, it says nothing of this one.
            predicted.append(labels[int(np.argmax(overlaps))] if overlaps else LABELS.index("background"))
    gold_labels = np.concatenate([article.gold for article in articles])
    return float(metrics.macro_f1(metrics.confusion(gold_labels, np.array(predicted))))


def log_report(run: Run, articles: Sequence[Article], probabilities: Sequence[Probabilities], report: Report) -> None:
    """Log a report in an MLflow run: its figures, and pictures of its confusions and of its calibration."""
    run.figures(report.figures())
    run.json(report.model_dump(mode="json", exclude={"worst"}), f"{report.name}.json")
    run.picture(confusion_picture(report), f"{report.name}.confusion.png")
    run.picture(reliability_picture(articles, probabilities, report), f"{report.name}.reliability.png")


def report_table(report: Report) -> Table:
    """Return the figures as a table for the terminal."""
    title = f"{report.name}: {report.articles} articles, {sum(report.counts.values())} sentences"
    table = Table(title=Text(title))  # a file's name is no markup
    for column in ("", "F1 [95 %]", "precision", "recall", "sentences"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("macro", str(report.f1["macro"]), "", "", str(sum(report.counts.values())), style="bold")
    for label in LABELS:
        few = " few" if report.counts[label] < metrics.FEW else ""
        table.add_row(
            label,
            str(report.f1[label]),
            f"{report.precision[label]:.2f}",
            f"{report.recall[label]:.2f}",
            f"{report.counts[label]}{few}",
        )
    lines = [
        f"denial's precision at its natural rate {report.natural_precision['denial'] or '–'}",
        f"calibration error {report.calibration_error:.3f}",
    ]
    if report.review_share is not None:
        lines.append(f"to re-read {report.review_share:.0%}")
    if report.end_to_end is not None:
        lines.append(f"macro-F1 with selon's own sentences {report.end_to_end:.3f}")
    if report.articles < metrics.FEW_ARTICLES:
        lines.append("too few articles for intervals")
    table.caption = " · ".join(lines)
    return table


def confusion_picture(report: Report) -> Figure:
    """Draw the confusion matrix: counts, shaded by the share of the gold label."""
    from sklearn.metrics import ConfusionMatrixDisplay

    figure = _figure()
    table = np.array(report.confusion)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=LABELS)
    display.plot(ax=figure.subplots(), cmap="Blues", values_format=".2f", colorbar=False)
    for (row, column), text in np.ndenumerate(display.text_):
        text.set_text(f"{table[row, column]}\n{shares[row, column]:.0%}")
    display.ax_.set_title(f"{report.name}: macro-F1 {report.f1['macro']}")
    return figure


def reliability_picture(articles: Sequence[Article], probabilities: Sequence[Probabilities], report: Report) -> Figure:
    """Draw how often the model is right at each confidence."""
    gold, stacked, _ = flatten(articles, probabilities)
    confidence, right = stacked.max(1), stacked.argmax(1) == gold
    edges = np.linspace(0.2, 1, 9)
    which = np.clip(np.digitize(confidence, edges) - 1, 0, 7)
    counts = np.bincount(which, minlength=8)
    there = counts > 0
    figure = _figure()
    axes = figure.subplots()
    axes.plot([0.2, 1], [0.2, 1], color="grey", linestyle="--", label="perfect")
    axes.plot(
        np.bincount(which, confidence, 8)[there] / counts[there],
        np.bincount(which, right, 8)[there] / counts[there],
        marker="o",
        label=f"model (error {report.calibration_error:.3f})",
    )
    axes.bar(edges[:-1] + 0.05, counts / counts.sum(), width=0.09, alpha=0.25, label="share of sentences")
    axes.set(xlabel="confidence", ylabel="right", xlim=(0.2, 1), ylim=(0, 1), title=f"{report.name}: reliability")
    axes.legend(loc="upper left")
    return figure


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(5.5, 5), layout="constrained")


def predictions_of(
    articles: Sequence[Article], probabilities: Sequence[Probabilities], fold: str
) -> list[dict[str, Any]]:
    """Return what a run keeps of a fold's predictions: ids, content keys, gold and probabilities, never text."""
    return [
        {
            "article_id": article.id,
            "content": content_key(article),
            "fold": fold,
            "stratum": article.stratum,
            "gold": list(article.labels or ()),
            "probabilities": np.round(rows, 5).tolist(),
        }
        for article, rows in zip(articles, probabilities, strict=True)
    ]
