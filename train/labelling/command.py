"""The flow of `selon label`: what is read, what answers, where it goes, and what is said at the end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from train.labeller import Labeller, read_article
from train.labelling import terminal, writers
from train.labelling.archive import Archive, Totals, beside
from train.labelling.choices import Engine, Form, Kind
from train.labelling.columns import check_columns
from train.labelling.inputs import Input, items
from train.labelling.items import Item
from train.labelling.rows import Labelled
from train.labelling.shards import Job, Shard, label_items, label_shard, shards
from train.labelling.sources import Reading, Reject, read_source
from train.labelling.writers import Output
from train.schema import Article, SelonError

#: How long a dry run counts before it reckons the rest, in seconds; and how many sentences it tries.
_COUNTING, _TRYING = 5.0, 256


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    ``target`` is None for standard output; ``parts`` says that it is a folder.
    """

    inputs: list[Input]
    reading: Reading
    output: Output
    target: Path | None = None
    parts: bool = False
    shard: int = 200
    engine: Engine = Engine.local
    workers: int | None = None

    def check(self) -> None:
        """Refuse what cannot be meant, before a model is opened or a byte written.

        Raises
        ------
        SelonError
            For a file alone without a readable article, missing columns, an output that has no place, that would
            overwrite an input, or that would be read as input the next time.
        """
        if self.target and self.output.form is Form.table:
            raise SelonError("--output needs a --format other than table")
        if self.target is None and (self.engine is Engine.ray or self.output.form is Form.parquet):
            what = "--engine ray" if self.engine is Engine.ray else "--format parquet"
            raise SelonError(f"{what} needs --output, a file or a folder")
        check_columns(self.inputs, self.reading)
        if len(self.inputs) == 1 and self.inputs[0].kind in (Kind.text, Kind.html):  # one of several is rejected
            found = read_source(next(self.items()), self.reading)
            if isinstance(found, Reject):
                raise SelonError(f"{found.place}: {found.reason}")
        for written in beside(self.target) if self.target and not self.parts else ():
            # Path.exists() would raise for a folder that may not be looked into.
            there = os.path.exists(written)  # noqa: PTH110
            if there and any(one.path.exists() and one.path.samefile(written) for one in self.inputs):
                raise SelonError(f"{written}: is read, and --output would overwrite it; name another place")
        for folder in (one for one in self.inputs if one.kind is None):
            if self.target and self.target.resolve().is_relative_to(folder.path.resolve()):
                raise SelonError(f"{self.target}: lies in {folder.name}, which is read; name a place outside it")
        if next(self.items(), None) is None:
            raise SelonError(f"{', '.join(one.name for one in self.inputs)}: there is nothing to label in it")

    def items(self) -> Iterator[Item]:
        """Yield all that should be articles."""
        return items(self.inputs, self.reading.read)

    @property
    def passed_over(self) -> int:
        """How many files of folders nobody said how to read."""
        return sum(one.passed_over for one in self.inputs)

    def provenance(self, labeller: Labeller) -> dict[str, Any]:
        """Return all that the output depends on: what labelled it, the inputs in order, the options."""
        options = {"shard": self.shard, **vars(self.reading), **vars(self.output)}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
        return {
            **labeller.provenance(),
            "inputs": [{"name": one.name, "kind": _read_as(one), "sha256": one.sha256} for one in self.inputs],
            "options": plain,
        }


def show_inputs(request: Request, labeller: Labeller, err: Console) -> int:
    """Print what the model reads for each sentence, as a person can read it; return the exit code as ``label``."""
    code = 0
    for item in request.items():
        found = read_source(item, request.reading)
        if isinstance(found, Reject):
            _tell(found, err)
            code = 1
        else:
            for line in labeller.classifier.show_inputs(read_article(found.text, found.title, found.id)):
                print(line)
    return code


def label(request: Request, labeller: Labeller, out: Console, err: Console) -> int:
    """Label everything; return the exit code: 0, or 1 where some of it was skipped."""
    began = time.perf_counter()
    fresh: int | None
    if request.target is not None:
        totals, fresh = _to_disk(request, labeller, err)
    else:
        totals = _to_screen(request, labeller, out, err)
        fresh = totals.sentences
    if fresh is not None:
        last = terminal.summary(totals, fresh, time.perf_counter() - began, request.passed_over)
        # As it is, not wrapped: the last line is for machines too.
        err.print(last, soft_wrap=True)
    return 1 if totals.rejected else 0


def dry_run(request: Request, labeller: Labeller) -> str:
    """Return in words how much there is and about how long it takes, from a few seconds' look."""
    totals, position, began = Totals(), 0, time.perf_counter()
    sample: list[Article] = []
    exact = False
    for item in request.items():
        found = read_source(item, request.reading)
        position = item.position
        if isinstance(found, Reject):
            totals.rejected += 1
        else:
            article = read_article(found.text, found.title, found.id)
            totals.articles += 1
            totals.sentences += len(article)
            if sum(map(len, sample)) < _TRYING:
                sample.append(article)
        if time.perf_counter() - began > _COUNTING:
            break
    else:
        exact = True
    share = position / max(sum(one.size for one in request.inputs), 1)
    tried = time.perf_counter()
    labeller.predict(sample)
    rate = sum(map(len, sample)) / (time.perf_counter() - tried)
    factor = 1 if exact else 1 / max(share, 1e-9)
    return terminal.forecast(totals, factor, rate, exact, request.passed_over)


def _to_screen(request: Request, labeller: Labeller, out: Console, err: Console) -> Totals:
    totals = Totals()

    def labelled() -> Iterator[Labelled]:
        for one in label_items(labeller, request.items(), request.reading):
            if isinstance(one, Reject):
                totals.rejected += 1
                _tell(one, err)
                continue
            totals.articles += 1
            totals.sentences += len(one.article)
            totals.review += sum(prediction.review for prediction in one.predictions)
            yield one

    if request.output.form is Form.table:
        for one in labelled():
            with _standard_output():
                out.print(terminal.table(one))
        name = f"{labeller.bundle.name} {labeller.sha256[:12]}"
        err.print(f"{name}: ? marks {totals.review} sentences to read again (à relire)")
    else:
        provenance = request.provenance(labeller)
        sys.stdout.flush()
        for content in writers.stream(labelled(), request.output, provenance):
            with _standard_output():
                sys.stdout.buffer.write(content)
        with _standard_output():
            sys.stdout.buffer.flush()
        print(json.dumps(provenance, ensure_ascii=False), file=sys.stderr)
    return totals


@contextmanager
def _standard_output() -> Iterator[None]:
    """Say in a sentence what standard output refuses, but for a pipe that nobody reads on."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still held back would be refused once more at the end, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        remedy = "make room there; with --output, what is done is kept"
        raise SelonError(f"standard output: cannot be written: {error.strerror}; {remedy}") from None


def _to_disk(request: Request, labeller: Labeller, err: Console) -> tuple[Totals, int | None]:
    """Label into a file or a folder; return what is there now, and how many sentences this run labelled.

    That is None for one file that was finished before: it does not say how much it holds.
    """
    assert request.target is not None  # noqa: S101 - label() sees to it
    provenance = request.provenance(labeller)
    job = Job(request.reading, request.output, provenance, request.parts)
    fresh: int | None = 0
    with Archive.open(request.target, request.output, provenance, request.parts) as archive:
        if archive.complete:
            err.print(f"{request.target}: was finished before; nothing to do")
            fresh = 0 if request.parts else None
        else:
            before = archive.totals().sentences
            with terminal.progress(err, sum(one.size for one in request.inputs)) as bar:
                try:
                    _label_rest(request, labeller, job, archive, bar)
                except SystemExit:  # a signal
                    err.print("selon: nothing is lost: the same command goes on from here")
                    raise
            archive.finish()
            fresh = archive.totals().sentences - before
        totals = archive.totals()
        if totals.rejected:
            said = f"{totals.rejected} could not be labelled: {archive.rejects} says where and why"
            err.print(said)
    return totals, fresh


def _label_rest(request: Request, labeller: Labeller, job: Job, archive: Archive, bar: terminal.Bar) -> None:
    def todo() -> Iterator[Shard]:
        for shard in shards(request.items(), request.shard):
            if shard.number in archive.done:
                bar.read(shard.size)
            else:
                yield shard

    if request.engine is Engine.ray:
        from train.labelling.ray_engine import label_shards

        for shard, part in label_shards(labeller.folder, todo(), job, request.workers):
            archive.commit(part)
            bar.labelled(part.sentences)
            bar.read(shard.size)
        return
    for shard in todo():
        archive.commit(label_shard(labeller, shard, job, bar.labelled))
        bar.read(shard.size)


def _read_as(one: Input) -> str:
    return one.kind or ("folder" if one.otherwise is None else f"folder, others as {one.otherwise}")


def _tell(reject: Reject, err: Console) -> None:
    err.print(terminal.plain(f"selon: {reject.place}: {reject.reason}"), soft_wrap=True)
