"""What Prometheus reads at /metrics: requests, sentences, batches, the queue, the model, the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from train.schema import LABELS, Prediction
from train.service.served import Served

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = (64, 256, 1024, 2048, 4096, 8192, 16384, 65536)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._requests = Counter("selon_requests", "Requests answered", ["route", "status"], registry=self._registry)
        self._seconds = Histogram(
            "selon_request_seconds", "From first byte to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._sentences = Counter("selon_sentences", "Sentences labelled", ["label"], registry=self._registry)
        self._review = Counter("selon_review_sentences", "Sentences marked for re-reading", registry=self._registry)
        self._batch_tokens = Histogram(
            "selon_batch_tokens", "Estimated tokens of a batch", buckets=_TOKENS, registry=self._registry
        )
        self._batch_seconds = Histogram(
            "selon_batch_seconds", "Labelling a batch", buckets=_SECONDS, registry=self._registry
        )
        self._held = Gauge("selon_queue_tokens", "Estimated tokens admitted, not answered", registry=self._registry)
        self._limit = Gauge("selon_queue_tokens_limit", "What may be admitted just now", registry=self._registry)
        self._swaps = Counter("selon_model_swaps", "Models that took over or failed to", ["outcome"],
                              registry=self._registry)  # fmt: skip
        self._model = Gauge("selon_model_info", "The model that answers", ["name", "version", "sha256"],
                            registry=self._registry)  # fmt: skip

    def watch_queue(self, held: Callable[[], int], limit: Callable[[], int]) -> None:
        """Read the queue whenever the figures are asked for."""
        self._held.set_function(held)
        self._limit.set_function(limit)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is its template, never what a client wrote."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def labelled(self, predictions: Sequence[Prediction]) -> None:
        """Count an article's sentences."""
        for label in LABELS:
            self._sentences.labels(label).inc(sum(one.label == label for one in predictions))
        self._review.inc(sum(one.review for one in predictions))

    def batch(self, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def model(self, served: Served) -> None:
        """Say which model answers."""
        self._model.clear()
        self._model.labels(served.name, served.version or "", served.labeller.sha256).set(1)

    def swapped(self, served: Served, new: bool) -> None:
        """Count a change of model, or a failed one."""
        self._swaps.labels("done" if new else "failed").inc()
        self.model(served)

    def page(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        return generate_latest(self._registry)
