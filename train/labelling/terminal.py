"""What a person sees of a labelling: the coloured table, the progress bar, the line at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from train.labelling.archive import Totals
from train.labelling.rows import Labelled
from train.schema import Label

if TYPE_CHECKING:
    from rich.progress import Progress

#: Colours that colour-blind readers tell apart (Okabe and Ito), and a letter for those who see none.
STYLES: dict[Label, tuple[str, str]] = {
    "claim": ("#0072b2", "C"),
    "denial": ("#d55e00", "D"),
    "attribution": ("#009e73", "A"),
    "background": ("default", "·"),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BREAK = re.compile(r"\r?\n|\r")


def plain(text: str) -> str:
    """Return a text without what would command the terminal: scraped pages hold anything."""
    return _CONTROL.sub("\ufffd", text)


def table(labelled: Labelled) -> Table:
    """Return the sentences with their labels, coloured; unsure ones carry a question mark."""
    article = labelled.article
    shown = Table(
        title=Text(plain(article.title or article.id)), show_lines=False, pad_edge=False, box=None, padding=(0, 1)
    )
    shown.add_column("", no_wrap=True)
    shown.add_column("label", no_wrap=True)
    shown.add_column("", justify="right", no_wrap=True)
    shown.add_column("sentence", ratio=1)
    for text, prediction in zip(article.sentence_texts, labelled.predictions, strict=True):
        colour, mark = STYLES[prediction.label]
        doubt = "?" if prediction.review else " "
        # Text, never markup: an article may hold square brackets.
        shown.add_row(
            Text(mark, style=f"bold {colour}"),
            Text(prediction.label, style=colour),
            Text(f"{prediction.confidence:.2f}{doubt}", style="dim"),
            Text(plain(_BREAK.sub(" ", text)), style=colour),
        )
    return shown


class Bar:
    """A progress bar over the bytes of the inputs that also counts sentences."""

    def __init__(self, progress: Progress, size: int) -> None:
        self._progress, self._sentences, self._began = progress, 0, time.perf_counter()
        self._task = progress.add_task("", total=size, rate="")

    def read(self, size: int) -> None:
        """Move on by ``size`` bytes of input."""
        self._progress.update(self._task, advance=size)

    def labelled(self, sentences: int) -> None:
        """Count sentences into the rate."""
        self._sentences += sentences
        rate = self._sentences / max(time.perf_counter() - self._began, 1e-9)
        self._progress.update(self._task, rate=f"{self._sentences:,} sentences, {rate:,.0f}/s")


@contextmanager
def progress(console: Console, size: int) -> Iterator[Bar]:
    """Give a bar with rate and time left; it is seen on a terminal only, and goes when done."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("labelling"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield Bar(shown, size)


def summary(totals: Totals, fresh: int, seconds: float, passed_over: int) -> str:
    """Return the last line: articles, sentences, skipped, time, the rate of what this run labelled, files not read."""
    again = f" ({totals.sentences - fresh:,} of them before)" if fresh < totals.sentences else ""
    return (
        f"{_count(totals.articles, 'article')}, {_count(totals.sentences, 'sentence')}{again}, "
        f"{totals.rejected:,} skipped, {duration(seconds)}, {fresh / max(seconds, 1e-9):,.0f} sentences/s"
        + _passed_over(passed_over)
    )


def forecast(totals: Totals, factor: float, rate: float, exact: bool, passed_over: int) -> str:
    """Return what a dry run found; times ``factor``, where it counted a part only."""
    about = "" if exact else "about "
    articles, sentences = round(totals.articles * factor), round(totals.sentences * factor)
    skipped = round(totals.rejected * factor)
    return (
        f"{about}{_count(articles, 'article')}, {about}{_count(sentences, 'sentence')}, "
        f"{about}{skipped:,} to be skipped; about {duration(sentences / max(rate, 1e-9))} "
        f"at {rate:,.0f} sentences/s" + _passed_over(passed_over)
    )


def duration(seconds: float) -> str:
    """Return a time as people say it: 0.4 s, 12 s, 3 min 20 s, 5 h 12 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, next_unit, next_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // next_size} {next_unit}"
    return f"{whole} s"


def _passed_over(count: int) -> str:
    return f", {_count(count, 'file')} of unknown kind passed over" if count else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)
