"""Figures on labelled articles: F1, intervals, paired tests, calibration, natural rates, agreement.

``gold`` and ``predicted`` are arrays of label indices, one a sentence; ``owner`` says which article each
sentence belongs to. Sentences of an article are alike, so everything that resamples, resamples articles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.schema import LABELS, Probabilities

Labels = NDArray[np.int64]
N_LABELS = len(LABELS)
#: Fewer sentences of a label than this and its interval means little.
FEW = 30
#: Fewer articles than this and no interval means anything.
FEW_ARTICLES = 5
RESAMPLES = 2000
#: How often the labels occur in randomly drawn articles: the random stratum of data/press/train.jsonl.
NATURAL_SHARES = np.array([0.2482, 0.0134, 0.3043, 0.4340])


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return e.g. ``.742 [.715, .768]``, as tables print it."""
        return f"{_short(self.value)} [{_short(self.low)}, {_short(self.high)}]"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def confusion(gold: Labels, predicted: Labels) -> NDArray[np.int64]:
    """Return counts, shape (4, 4): a row a gold label, a column a predicted one."""
    return np.bincount(gold * N_LABELS + predicted, minlength=N_LABELS**2).reshape(N_LABELS, N_LABELS)


def f1_scores(table: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F1 of each label from confusions of shape (…, 4, 4); 0 where a label is neither there nor given."""
    hits = np.diagonal(table, axis1=-2, axis2=-1).astype(float)
    total = table.sum(-1) + table.sum(-2)
    scores: NDArray[np.float64] = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return scores


def precision_recall(table: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision and recall of each label; 0 where undefined."""
    hits = np.diagonal(table).astype(float)
    given, there = table.sum(0), table.sum(1)
    zero = np.zeros(N_LABELS)
    return (
        np.divide(hits, given, out=zero.copy(), where=given > 0),
        np.divide(hits, there, out=zero.copy(), where=there > 0),
    )


def macro_f1(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean F1 over the labels that occur in gold of each confusion (…, 4, 4)."""
    present = table.sum(-1) > 0
    mean: NDArray[np.float64] = (f1_scores(table) * present).sum(-1) / np.maximum(present.sum(-1), 1)
    return mean


def confusions_by_article(gold: Labels, predicted: Labels, owner: Labels) -> NDArray[np.int64]:
    """Return a confusion an article, shape (articles, 4, 4)."""
    size = int(owner.max()) + 1
    flat = np.bincount(owner * N_LABELS**2 + gold * N_LABELS + predicted, minlength=size * N_LABELS**2)
    return flat.reshape(size, N_LABELS, N_LABELS)


def _resampled(by_article: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return summed confusions, shape (about RESAMPLES, 4, 4), of articles drawn with replacement.

    Draws that miss a label are left out: without it macro-F1 would be another figure.
    """
    articles = len(by_article)
    weights = np.random.default_rng(seed).multinomial(articles, np.full(articles, 1 / articles), RESAMPLES)
    summed: NDArray[np.int64] = (weights @ by_article.reshape(articles, -1)).reshape(-1, N_LABELS, N_LABELS)
    there, drawn = by_article.sum((0, 2)) > 0, summed.sum(2) > 0
    whole = (drawn == there).all(1)
    return summed[whole] if whole.any() else summed


def _interval(value: float, draws: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def f1_intervals(by_article: NDArray[np.int64], seed: int = 0) -> dict[str, Interval]:
    """Return macro-F1 ("macro") and F1 of each label with 95 % intervals from resampling articles."""
    total, draws = by_article.sum(0), _resampled(by_article, seed)
    intervals = {"macro": _interval(float(macro_f1(total)), macro_f1(draws))}
    values, label_draws = f1_scores(total), f1_scores(draws)
    for i, label in enumerate(LABELS):
        intervals[label] = _interval(values[i], label_draws[:, i])
    return intervals


def f1_differences(a: NDArray[np.int64], b: NDArray[np.int64], seed: int = 0) -> dict[str, Interval]:
    """Return b − a with 95 % intervals, both resampled with the same articles (so paired)."""
    draws_a, draws_b = _resampled(a, seed), _resampled(b, seed)
    total_a, total_b = a.sum(0), b.sum(0)
    result = {"macro": _interval(float(macro_f1(total_b) - macro_f1(total_a)), macro_f1(draws_b) - macro_f1(draws_a))}
    values, draws = f1_scores(total_b) - f1_scores(total_a), f1_scores(draws_b) - f1_scores(draws_a)
    for i, label in enumerate(LABELS):
        result[label] = _interval(values[i], draws[:, i])
    return result


def paired_test(a: NDArray[np.int64], b: NDArray[np.int64], seed: int = 0) -> float:
    """Return the two-sided p value of "no difference in macro-F1": models swapped article by article at random.

    At least 1 / (RESAMPLES + 1).
    """
    observed = abs(macro_f1(b.sum(0)) - macro_f1(a.sum(0)))
    swap = np.random.default_rng(seed).integers(0, 2, (RESAMPLES, len(a)))
    moved = (swap @ (b - a).reshape(len(a), -1)).reshape(-1, N_LABELS, N_LABELS)
    differences = np.abs(macro_f1(b.sum(0) - moved) - macro_f1(a.sum(0) + moved))
    return float((1 + (differences >= observed - 1e-12).sum()) / (1 + RESAMPLES))


def natural_precision(
    by_article: NDArray[np.int64], shares: NDArray[np.float64], seed: int = 0
) -> dict[str, Interval | None]:
    """Return the precision of each label where gold labels occur with the given ``shares``, shape (4,).

    The confusions' rows are weighted so that the gold labels have those shares; the 95 % intervals come from resampling
    articles. None where a label is never given; a label without gold sentences counts as if it did not exist, for
    nothing is known of its mistakes.
    """

    def of(tables: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = tables.sum(-1, keepdims=True)
        weighted = tables / np.maximum(rows, 1) * shares[:, None]
        given = weighted.sum(-2)
        right = np.diagonal(weighted, axis1=-2, axis2=-1)
        precision: NDArray[np.float64] = np.divide(right, given, out=np.full_like(given, np.nan), where=given > 0)
        return precision

    values, draws = of(by_article.sum(0)), of(_resampled(by_article, seed))
    return {
        label: None if np.isnan(values[i]) else _interval(values[i], draws[~np.isnan(draws[:, i]), i])
        for i, label in enumerate(LABELS)
    }


def calibration_error(probabilities: Probabilities, gold: Labels, bins: int = 10) -> float:
    """Return the expected calibration error of the top label: mean |confidence − accuracy| over equal bins."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == gold
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    gaps = np.abs(np.bincount(which, confidence - right, minlength=bins))
    return float(gaps[counts > 0].sum() / len(gold))


def fit_temperature(logits: NDArray[np.float64], gold: Labels) -> float:
    """Return the temperature that makes softmax(logits / T) most likely on ``gold``; between 0.05 and 20."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(gold)), gold].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def review_threshold(probabilities: Probabilities, gold: Labels, error: float) -> float:
    """Return the lowest confidence such that sentences at or above it are wrong at most ``error`` of the time.

    1.0 (everything below certainty is re-read) where no threshold reaches it.
    """
    confidence = probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    descending = confidence[order]
    wrong = np.cumsum(probabilities.argmax(1)[order] != gold[order]) / np.arange(1, len(gold) + 1)
    last_of_its_value = np.append(descending[1:] < descending[:-1], True)  # a threshold parts no ties
    good = np.flatnonzero((wrong <= error) & last_of_its_value)
    return float(descending[good[-1]]) if len(good) else 1.0


def kappa(first: Labels, second: Labels) -> float:
    """Return Cohen's kappa of two annotators; 1.0 where both give one and the same label throughout."""
    table = confusion(first, second) / len(first)
    chance = float(table.sum(0) @ table.sum(1))
    return 1.0 if chance == 1 else float((np.trace(table) - chance) / (1 - chance))


def probabilities_from(logits: NDArray[np.float64]) -> Probabilities:
    """Return the softmax of each row."""
    # Written out: importing SciPy takes longer than labelling an article.
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Probabilities = raised / raised.sum(axis=1, keepdims=True)
    return result
