"""Figures against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from train.metrics import (
    NATURAL_SHARES,
    Interval,
    Labels,
    calibration_error,
    confusion,
    confusions_by_article,
    f1_differences,
    f1_intervals,
    f1_scores,
    fit_temperature,
    kappa,
    macro_f1,
    natural_precision,
    paired_test,
    precision_recall,
    probabilities_from,
    review_threshold,
)
from train.schema import LABELS

GOLD = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
GIVEN = np.array([0, 0, 3, 1, 2, 3, 3, 3, 0, 3])
ALL = range(4)

two_annotators = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40).map(
    lambda pairs: np.array(pairs, dtype=np.int64)
)


def confident(*confidences: float) -> np.ndarray:
    """Rows whose top label is 0, with these confidences."""
    return np.array([[c, *[(1 - c) / 3] * 3] for c in confidences])


@settings(deadline=None, max_examples=50)
@given(two_annotators)
def test_confusion_f1_precision_and_recall_are_scikit_learns(pairs: Labels) -> None:
    gold, given_labels = pairs[:, 0], pairs[:, 1]
    table = confusion(gold, given_labels)
    np.testing.assert_array_equal(table, sk.confusion_matrix(gold, given_labels, labels=ALL))
    expected = sk.precision_recall_fscore_support(gold, given_labels, labels=ALL, zero_division=0)
    precision, recall = precision_recall(table)
    np.testing.assert_allclose(precision, expected[0])
    np.testing.assert_allclose(recall, expected[1])
    np.testing.assert_allclose(f1_scores(table), expected[2])
    expected_mean = sk.f1_score(gold, given_labels, labels=np.unique(gold), average="macro", zero_division=0)
    assert macro_f1(table) == pytest.approx(expected_mean)


def test_by_hand() -> None:
    np.testing.assert_allclose(f1_scores(confusion(GOLD, GIVEN)), [4 / 6, 1, 2 / 3, 6 / 9])
    assert macro_f1(np.zeros((4, 4), dtype=np.int64)) == 0
    assert macro_f1(np.diag([3, 0, 2, 0])) == 1  # labels that do not occur do not count


def test_confusions_by_article_sum_up() -> None:
    owner = np.array([0, 0, 0, 2, 2, 2, 2, 3, 3, 3])
    tables = confusions_by_article(GOLD, GIVEN, owner)
    assert tables.shape == (4, 4, 4)
    np.testing.assert_array_equal(tables.sum(0), confusion(GOLD, GIVEN))
    np.testing.assert_array_equal(tables[0], confusion(GOLD[:3], GIVEN[:3]))
    assert tables[1].sum() == 0


def articles(seed: int, right: float, number: int = 60) -> np.ndarray:
    """Confusions of articles of ten sentences, of which the share ``right`` is predicted right."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 4, 10 * number)
    noise = np.random.default_rng(99).random(10 * number)  # the same sentences are hard for every model
    given_labels = np.where(noise < right, gold, (gold + 1) % 4)
    return confusions_by_article(gold, given_labels, np.repeat(np.arange(number), 10))


def test_intervals_hold_the_figure_and_narrow_with_more_articles() -> None:
    few, many = f1_intervals(articles(1, 0.7, 20)), f1_intervals(articles(1, 0.7, 320))
    assert list(few) == ["macro", *LABELS]
    for name in few:
        assert few[name].low < few[name].value < few[name].high
        ratio = (few[name].high - few[name].low) / (many[name].high - many[name].low)
        assert 2 < ratio < 8  # four, for sixteen times the articles
    assert f1_intervals(articles(1, 0.7)) == f1_intervals(articles(1, 0.7))
    assert f1_intervals(articles(1, 1.0))["macro"] == Interval(1, 1, 1)


def test_draws_that_miss_a_label_are_left_out() -> None:
    """Three denials in two of twenty articles, none found: without them macro-F1 would be over three labels."""
    tables = np.array([np.diag([5, 0, 5, 5]) for _ in range(20)])
    tables[0, 1, 3], tables[1, 1, 3] = 2, 1
    assert f1_intervals(tables)["macro"].high < 0.76
    more = tables.copy()
    more[2, 0] = [4, 1, 0, 0]  # a denial where there is none
    assert f1_differences(tables, more)["macro"].low > -0.02


def test_intervals_resample_articles_not_sentences() -> None:
    """Where an article is all right or all wrong, the interval is that of a coin thrown once an article."""
    right, wrong = np.diag([5, 5, 5, 5]), np.roll(np.diag([5, 5, 5, 5]), 1, axis=1)
    interval = f1_intervals(np.array([right, wrong] * 8))["macro"]
    assert interval.value == pytest.approx(0.5)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 16), abs=0.05)


def test_differences_are_paired() -> None:
    a, b = articles(1, 0.7), articles(1, 0.8)
    difference, alone = f1_differences(a, b)["macro"], f1_intervals(b)["macro"]
    assert difference.value == pytest.approx(float(macro_f1(b.sum(0)) - macro_f1(a.sum(0))))
    assert 0 < difference.low < difference.value < difference.high
    assert f1_differences(b, a)["macro"].value == -difference.value
    assert f1_differences(a, a)["macro"] == Interval(0, 0, 0)
    assert difference.high - difference.low < 1.4 * (alone.high - alone.low)


def test_the_paired_test_tells_a_difference_from_none() -> None:
    assert paired_test(articles(1, 0.7), articles(1, 0.7)) == 1
    assert paired_test(articles(1, 0.6), articles(1, 0.8)) < 0.001
    assert paired_test(articles(1, 0.6), articles(1, 0.8)) == paired_test(articles(1, 0.8), articles(1, 0.6))


def test_the_paired_test_on_one_article_of_two() -> None:
    """Two articles: the four ways to swap give |difference| large, 0, 0, large, so p is near one half."""
    right, wrong = np.diag([5, 5, 5, 5]), np.roll(np.diag([5, 5, 5, 5]), 1, axis=1)
    assert paired_test(np.array([wrong, wrong]), np.array([right, right])) == pytest.approx(0.5, abs=0.04)


def test_the_paired_test_keeps_its_level() -> None:
    """Of models that differ by chance only, about one in twenty is found different."""
    rng = np.random.default_rng(5)
    gold, owner = rng.integers(0, 4, 300), np.repeat(np.arange(30), 10)

    def model() -> np.ndarray:
        return confusions_by_article(gold, np.where(rng.random(300) < 0.7, gold, (gold + 1) % 4), owner)

    found = sum(paired_test(model(), model(), seed=i) < 0.05 for i in range(60))
    assert found <= 9


def test_natural_precision_by_hand() -> None:
    # denial: both right of 2; of 100 backgrounds 5 are called denial: 1.3 % · 1 against 43 % · .05.
    gold = np.array([1, 1] + [3] * 100)
    given_labels = np.array([1, 1] + [1] * 5 + [3] * 95)
    shares = np.array([0.2, 0.013, 0.357, 0.43])
    owner = np.arange(102) % 2
    found = natural_precision(confusions_by_article(gold, given_labels, owner), shares)
    assert (found["claim"], found["attribution"]) == (None, None)
    assert found["background"] == Interval(1, 1, 1)
    assert found["denial"] is not None
    assert found["denial"].value == pytest.approx(0.013 / (0.013 + 0.43 * 0.05))
    # Of the fifty backgrounds of one article three are called denial, of the other's two.
    assert found["denial"].low == pytest.approx(0.013 / (0.013 + 0.43 * 3 / 50))
    assert found["denial"].high == pytest.approx(0.013 / (0.013 + 0.43 * 2 / 50))
    # Where gold has those shares already, it is plain precision.
    shares = np.bincount(GOLD, minlength=4) / len(GOLD)
    plain = natural_precision(confusion(GOLD, GIVEN)[None], shares).values()
    expected = precision_recall(confusion(GOLD, GIVEN))[0]
    np.testing.assert_allclose([one.value if one else 0 for one in plain], expected)
    assert NATURAL_SHARES.sum() == pytest.approx(1, abs=2e-4)


def test_calibration_error_by_hand() -> None:
    probabilities = confident(0.95, 0.95, 0.65, 0.65, 0.65, 0.65)
    gold = np.array([0, 1, 0, 0, 1, 1])
    # Bin .9–1: |.95 - .5| · 2 sentences; bin .6–.7: |.65 - .5| · 4 sentences.
    assert calibration_error(probabilities, gold) == pytest.approx((2 * 0.45 + 4 * 0.15) / 6)
    assert calibration_error(confident(1.0, 1.0), np.array([0, 0])) == 0


def test_the_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    gold = (probabilities_from(logits).cumsum(1) > rng.random((20_000, 1))).argmax(1)
    for temperature in (0.5, 1.0, 3.0):
        assert fit_temperature(logits * temperature, gold) == pytest.approx(temperature, rel=0.05)
    scaled = probabilities_from(logits * 3.0 / fit_temperature(logits * 3.0, gold))
    assert calibration_error(scaled, gold) < 0.02 < calibration_error(probabilities_from(logits * 3.0), gold)
    assert 0.05 <= fit_temperature(np.eye(4) * 5, np.arange(4)) < 0.2  # all right: as sure as can be


def test_the_review_threshold_by_hand() -> None:
    probabilities = confident(0.9, 0.8, 0.7, 0.6, 0.5)
    gold = np.array([0, 0, 1, 0, 1])  # wrong at .7 and .5
    assert review_threshold(probabilities, gold, 0.30) == 0.6  # 1 of 4
    assert review_threshold(probabilities, gold, 0.25) == 0.6
    assert review_threshold(probabilities, gold, 0.20) == 0.8  # none of 2
    assert review_threshold(probabilities, gold, 0.40) == 0.5
    assert review_threshold(probabilities, np.ones(5, dtype=np.int64), 0.1) == 1.0


def test_a_threshold_does_not_part_equal_confidences() -> None:
    """At .8 stand a right and a wrong sentence: the order of the two must not decide."""
    probabilities = confident(0.9, 0.8, 0.8)
    for gold in ([0, 0, 1], [0, 1, 0]):
        assert review_threshold(probabilities, np.array(gold), 0.1) == 0.9


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.4, 0.5, 0.6, 0.7, 0.8]), st.integers(0, 1)), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.1, 0.3]),
)
def test_the_threshold_keeps_its_promise_and_is_the_lowest_that_does(
    sentences: list[tuple[float, int]], error: float
) -> None:
    probabilities = confident(*(c for c, _ in sentences))
    gold = np.array([g for _, g in sentences])
    confidence = probabilities.max(1)
    good = [t for t in set(confidence) if (gold[confidence >= t] == 1).mean() <= error]
    assert review_threshold(probabilities, gold, error) == min(good, default=1.0)


@settings(deadline=None, max_examples=50)
@given(two_annotators)
def test_kappa_is_scikit_learns(pairs: Labels) -> None:
    first, second = pairs[:, 0], pairs[:, 1]
    if len(set(first) | set(second)) == 1:
        assert kappa(first, second) == 1
    else:
        assert kappa(first, second) == pytest.approx(sk.cohen_kappa_score(first, second))


def test_probabilities_sum_to_one_at_any_size() -> None:
    probabilities = probabilities_from(np.array([[1e4, 0, 0, -1e4], [0.0, 0, 0, 0]]))
    np.testing.assert_allclose(probabilities, [[1, 0, 0, 0], [0.25] * 4])


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.742, 0.715, 0.7684), ".742 [.715, .768]"),
        (Interval(-0.05, -0.1, 0.0), "-.050 [-.100, .000]"),
        (Interval(1.0, 0.99999, 10.0), "1.000 [1.000, 10.000]"),
    ],
)
def test_intervals_as_tables_print_them(interval: Interval, text: str) -> None:
    assert str(interval) == text
