"""Many clients, one model: a bounded queue measured in tokens, and one thread that labels in batches.

Nothing waits for company: an idle model takes what is there at once, and what arrives meanwhile makes up the next
batch. Whoever would wait too long is turned away before any work is done for them (``OverloadError``).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from train.config import InputConfig
from train.schema import Article, Prediction

#: Characters a token stands for, about, in French.
_TOKEN = 4
#: Marks that may end a sentence.
_ENDS = ".?!…\n"
#: Characters that a sentence costs beside its own: its place, cues and the marks between the parts of an input.
_FRAME = 40
#: Characters of a headline or of neighbours that fit into an input.
_FIT = 320
#: How fast the measured pace follows the newest batch.
_PACE = 0.2


class Model(Protocol):
    """What labels; the engine's ``Labeller`` is one."""

    def predict(self, articles: Sequence[Article]) -> list[list[Prediction]]:
        """Return a prediction for each sentence of each article."""


class OverloadError(Exception):
    """The queue is full; ``retry_after`` says in how many whole seconds it may not be."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after


def tokens(text: str, title: str, inputs: InputConfig) -> int:
    """Estimate the tokens that labelling an article makes the model read, context included."""
    sentences = 1 + sum(map(text.count, _ENDS))
    neighbours = min(len(text) * (inputs.before + inputs.after), _FIT * sentences)
    headline = min(len(title) * inputs.title, _FIT) * sentences
    return (len(text) + neighbours + headline + _FRAME * sentences) // _TOKEN + 1


@dataclass
class _Job:
    model: Model
    article: Article
    cost: int
    future: Future[list[Prediction]] = field(default_factory=Future)


class Batcher:
    """The queue and its thread.

    Parameters
    ----------
    batch_tokens, queue_tokens : int
        What goes to the model at once, and what may be admitted at one time.
    patience : float
        Seconds that an admitted request may have to wait; the measured pace turns them into tokens.
    observe : callable
        Told of each batch: its tokens and its seconds.
    """

    def __init__(
        self,
        batch_tokens: int,
        queue_tokens: int,
        patience: float,
        observe: Callable[[int, float], None] = lambda tokens, seconds: None,
    ) -> None:
        self._batch_tokens, self._queue_tokens, self._patience = batch_tokens, queue_tokens, patience
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._held = self._pending = 0
        self._pace: float | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> int:
        """Tokens admitted and not yet answered.

        A batch that has begun goes on when its clients are gone: what is left to label counts, whoever waits for it.
        """
        return max(self._held, self._pending)

    @property
    def limit(self) -> int:
        """Tokens that may be held now: never more than can be labelled in good time."""
        if self._pace is None:
            return self._queue_tokens
        return min(self._queue_tokens, max(self._batch_tokens, int(self._pace * self._patience)))

    def start(self) -> None:
        """Begin to work, or begin again after ``close``."""
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="selon-batches", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise OverloadError where nothing more is admitted just now."""
        if self.held >= self.limit:
            raise OverloadError(self._retry_after())

    @contextmanager
    def admit(self, cost: int) -> Iterator[None]:
        """Hold ``cost`` tokens of the queue; raise OverloadError where there is no room, but never when idle."""
        with self._wake:
            if self.held and self.held + cost > self.limit:
                raise OverloadError(self._retry_after())
            self._held += cost
        try:
            yield
        finally:
            with self._wake:
                self._held -= cost

    def submit(self, model: Model, article: Article, cost: int) -> Future[list[Prediction]]:
        """Queue an article that was admitted; cancelling its future takes it out if it has not begun."""
        job = _Job(model, article, cost)
        with self._wake:
            if self._closing:
                raise RuntimeError("closed")
            self._jobs.append(job)
            self._pending += cost
            self._wake.notify()
        job.future.add_done_callback(lambda future: self._settle(cost))
        return job.future

    def _settle(self, cost: int) -> None:
        with self._wake:
            self._pending -= cost

    def _retry_after(self) -> int:
        return max(1, min(60, math.ceil(self.held / self._pace))) if self._pace else 1

    def _work(self) -> None:
        while batch := self._take():
            started = time.perf_counter()
            _label(batch)
            seconds = max(time.perf_counter() - started, 1e-6)
            cost = sum(job.cost for job in batch)
            self._pace = cost / seconds if self._pace is None else self._pace + _PACE * (cost / seconds - self._pace)
            self._observe(cost, seconds)

    def _take(self) -> list[_Job]:
        """Wait for work; return jobs of one model within the budget, at least one; none when closed and done."""
        with self._wake:
            while True:
                batch: list[_Job] = []
                cost = 0
                while self._jobs and (not batch or self._fits(batch[0], cost)):
                    job = self._jobs.popleft()
                    if job.future.set_running_or_notify_cancel():
                        batch.append(job)
                        cost += job.cost
                if batch or self._closing:
                    return batch
                self._wake.wait()

    def _fits(self, first: _Job, cost: int) -> bool:
        following = self._jobs[0]
        return following.model is first.model and cost + following.cost <= self._batch_tokens


def _label(batch: Sequence[_Job]) -> None:
    """Answer every job of a batch; one that makes the model fail does not take the others with it."""
    try:
        answers = batch[0].model.predict([job.article for job in batch])
    except Exception as error:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
        else:
            for job in batch:
                _label([job])
        return
    for job, predictions in zip(batch, answers, strict=True):
        job.future.set_result(predictions)
