"""A run of items, labelled: what one worker does, here or on another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from train.labeller import Labeller, read_article
from train.labelling import writers
from train.labelling.choices import Form
from train.labelling.items import Item
from train.labelling.rows import Labelled
from train.labelling.sources import Reading, Reject, Source, read_source
from train.labelling.writers import Output
from train.schema import Article, Prediction

#: Sentences that are predicted together: enough for batches of like lengths, little enough for any memory.
_TOGETHER = 512
#: What any model that works can label.
_PLAIN = Article.alone("Le maire est venu.")
_Read = tuple[Item, Reject | tuple[Source, Article]]


@dataclass(frozen=True)
class Job:
    """How every shard is labelled; ``whole`` parts are documents of their own, others wait to be joined."""

    reading: Reading
    output: Output
    provenance: dict[str, Any]
    whole: bool


@dataclass(frozen=True)
class Shard:
    """The items of one part, and how many bytes of the inputs they take."""

    number: int
    items: Sequence[Item]
    size: int


@dataclass(frozen=True)
class Part:
    """A labelled shard: the bytes to write and what they hold."""

    number: int
    content: bytes
    articles: int
    sentences: int
    review: int
    rejects: tuple[Reject, ...]


def shards(items: Iterable[Item], size: int) -> Iterator[Shard]:
    """Cut items into shards of ``size``; which items are in which depends on nothing else."""
    number, position = 0, 0
    stream = iter(items)
    while held := list(islice(stream, size)):
        yield Shard(number, held, held[-1].position - position)
        number, position = number + 1, held[-1].position


def label_shard(labeller: Labeller, shard: Shard, job: Job, tick: Callable[[int], None] | None = None) -> Part:
    """Label a shard; the same items give the same bytes. ``tick`` hears of each item's sentences."""
    results = list(label_items(labeller, shard.items, job.reading, tick))
    labelled = [one for one in results if isinstance(one, Labelled)]
    content = writers.body(labelled, job.output, job.provenance)
    if job.whole and job.output.form is not Form.parquet:
        content = writers.head(job.output) + content + writers.tail(job.output, job.provenance)
    return Part(
        shard.number,
        content,
        len(labelled),
        sum(len(one.article) for one in labelled),
        sum(prediction.review for one in labelled for prediction in one.predictions),
        tuple(one for one in results if isinstance(one, Reject)),
    )


def label_items(
    labeller: Labeller,
    items: Iterable[Item],
    reading: Reading,
    tick: Callable[[int], None] | None = None,
) -> Iterator[Labelled | Reject]:
    """Yield, for each item in order, its labelled article or why there is none."""
    waiting: list[_Read] = []
    sentences = 0
    for item in items:
        source = read_source(item, reading)
        if isinstance(source, Reject):
            waiting.append((item, source))
        else:
            article = read_article(source.text, source.title, source.id)
            waiting.append((item, (source, article)))
            sentences += len(article)
        if sentences >= _TOGETHER or len(waiting) >= _TOGETHER:
            yield from _together(labeller, waiting, tick)
            waiting, sentences = [], 0
    yield from _together(labeller, waiting, tick)


def _together(
    labeller: Labeller, waiting: Sequence[_Read], tick: Callable[[int], None] | None
) -> Iterator[Labelled | Reject]:
    predicted = iter(_predicted(labeller, [found[1] for _, found in waiting if not isinstance(found, Reject)]))
    for item, found in waiting:
        result: Labelled | Reject
        if isinstance(found, Reject):
            result = found
        else:
            predictions = next(predicted)
            if isinstance(predictions, Exception):
                result = Reject(item.place, f"the model failed on it ({type(predictions).__name__})")
            else:
                result = Labelled(*found, predictions)
        if tick:
            tick(len(result.article) if isinstance(result, Labelled) else 0)
        yield result


def _predicted(labeller: Labeller, articles: Sequence[Article]) -> list[list[Prediction] | Exception]:
    """Return the predictions of each article; where one makes the model fail, its error."""
    try:
        return list(labeller.predict(articles))
    except Exception:
        labeller.predict([_PLAIN])  # where this fails too, it is not the articles
        found: list[list[Prediction] | Exception] = []
        for article in articles:
            try:
                found += labeller.predict([article])
            except Exception as error:
                found.append(error)
        return found
