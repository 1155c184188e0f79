"""The queue: batches by tokens, bounds, what is cancelled, what fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.config import InputConfig
from train.labeller import read_article
from train.schema import Article, Prediction
from train.service.batching import Batcher, OverloadError, tokens

ANSWER = Prediction("background", (0.0, 0.0, 0.0, 1.0), False, False)


class Model:
    """Answers one prediction a sentence; the text « panne » makes it fail."""

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def predict(self, articles: Sequence[Article]) -> list[list[Prediction]]:
        self.batches.append([article.id for article in articles])
        self.entered.set()
        assert self.gate.wait(10)
        if any("panne" in article.text for article in articles):
            raise ZeroDivisionError
        return [[ANSWER] * len(article) for article in articles]


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.gate.set()


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    batcher = Batcher(batch_tokens=100, queue_tokens=1000, patience=10)
    batcher.start()
    yield batcher
    batcher.close()


def _article(name: str, text: str = "Le pont est vert.") -> Article:
    return read_article(text, article_id=name)


def test_what_waits_becomes_one_batch_within_the_budget(batcher: Batcher, model: Model) -> None:
    futures = [batcher.submit(model, _article("first"), 10)]
    assert model.entered.wait(5)
    futures += [batcher.submit(model, _article(str(i)), 40) for i in range(5)]
    model.gate.set()
    assert [len(future.result(5)) for future in futures] == [1] * 6
    assert model.batches == [["first"], ["0", "1"], ["2", "3"], ["4"]]


def test_models_are_not_mixed_and_the_largest_article_still_goes(batcher: Batcher, model: Model) -> None:
    other = Model()
    other.gate.set()
    first = batcher.submit(model, _article("a"), 10)
    assert model.entered.wait(5)
    futures = [batcher.submit(model, _article("b"), 1), batcher.submit(other, _article("c"), 1)]
    futures.append(batcher.submit(other, _article("d"), 10_000))
    model.gate.set()
    for future in (first, *futures):
        assert future.result(5) == [ANSWER]
    assert (model.batches, other.batches) == ([["a"], ["b"]], [["c"], ["d"]])


def test_one_failure_does_not_take_the_others_with_it(batcher: Batcher, model: Model) -> None:
    first = batcher.submit(model, _article("a"), 1)
    assert model.entered.wait(5)
    texts = ("Bien.", "La panne.", "Bien.")
    futures = [batcher.submit(model, _article(str(i), text), 1) for i, text in enumerate(texts)]
    model.gate.set()
    assert first.result(5) == futures[0].result(5) == futures[2].result(5) == [ANSWER]
    with pytest.raises(ZeroDivisionError):
        futures[1].result(5)


def test_the_queue_is_bounded_and_says_when_to_come_back(batcher: Batcher, model: Model) -> None:
    with batcher.admit(5000):  # alone, anything may come in
        with pytest.raises(OverloadError) as refused, batcher.admit(1):
            pass
        assert refused.value.retry_after >= 1
        with pytest.raises(OverloadError):
            batcher.check()
    assert batcher.held == 0
    batcher.check()
    with batcher.admit(600), batcher.admit(400):
        assert batcher.held == 1000
        with pytest.raises(OverloadError), batcher.admit(1):
            pass


def test_the_pace_limits_what_may_wait(model: Model) -> None:
    batcher = Batcher(batch_tokens=10, queue_tokens=10**9, patience=0.5)
    batcher.start()
    future = batcher.submit(model, _article("a"), 10)
    time.sleep(0.2)
    model.gate.set()
    future.result(5)
    batcher.close()  # the thread has measured its pace: at most 50 tokens a second
    assert 10 <= batcher.limit <= 25
    with batcher.admit(20), pytest.raises(OverloadError) as refused, batcher.admit(20):
        pass
    assert 1 <= refused.value.retry_after <= 60


def test_what_is_cancelled_in_the_queue_is_never_labelled(batcher: Batcher, model: Model) -> None:
    first = batcher.submit(model, _article("a"), 1)
    assert model.entered.wait(5)
    second, third = batcher.submit(model, _article("b"), 1), batcher.submit(model, _article("c"), 1)
    assert second.cancel()
    model.gate.set()
    assert first.result(5) == third.result(5) == [ANSWER]
    assert model.batches == [["a"], ["c"]]


def test_what_has_begun_counts_though_nobody_waits_for_it(batcher: Batcher, model: Model) -> None:
    with batcher.admit(5000):
        begun = batcher.submit(model, _article("a"), 5000)
        assert model.entered.wait(5)
        waiting = batcher.submit(model, _article("b"), 10)
        assert not begun.cancel()
        assert waiting.cancel()
    assert batcher.held == 5000
    with pytest.raises(OverloadError):
        batcher.check()
    with pytest.raises(OverloadError), batcher.admit(1):
        pass
    model.gate.set()
    batcher.close()
    assert begun.done()
    assert batcher.held == 0
    with batcher.admit(5000):
        pass


def test_what_failed_is_held_no_longer(batcher: Batcher, model: Model) -> None:
    model.gate.set()
    failed = batcher.submit(model, _article("a", "La panne."), 10)
    with pytest.raises(ZeroDivisionError):
        failed.result(5)
    batcher.close()
    assert batcher.held == 0


def test_closing_finishes_what_was_submitted(model: Model) -> None:
    batcher = Batcher(batch_tokens=1, queue_tokens=100, patience=1)
    batcher.start()
    futures = [batcher.submit(model, _article(str(i)), 1) for i in range(4)]
    model.gate.set()
    batcher.close()
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError):
        batcher.submit(model, _article("late"), 1)


@given(st.text(max_size=300), st.text(max_size=50), st.integers(0, 3), st.integers(0, 3))
def test_tokens_grow_with_what_is_read(text: str, title: str, before: int, after: int) -> None:
    inputs = InputConfig(before=before, after=after)
    cost = tokens(text, title, inputs)
    assert cost >= 1
    assert tokens(text * 2, title, inputs) >= cost
    assert tokens(text, title, inputs.model_copy(update={"title": False})) <= cost


def test_short_sentences_cost_what_stands_around_them() -> None:
    inputs = InputConfig()
    long, short = "Le maire a dit que le pont serait bientôt vert. " * 40, "Oui. Non. " * 192
    assert len(long) == len(short)
    assert tokens(short, "Un titre", inputs) > 3 * tokens(long, "Un titre", inputs)
