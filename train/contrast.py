"""Minimal pairs: a model should change its label where, and only where, a small change alters who vouches.

``data/contrast/pairs.jsonl`` holds a pair a line; a pair is passed when both of its members are labelled right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, StrictStr
from rich.table import Table
from rich.text import Text

from train.corpus import json_lines, parse
from train.labeller import Labeller
from train.schema import Article, Label, Sentence

#: Where the suite lies below the project root.
PAIRS = "data/contrast/pairs.jsonl"


class Member(BaseModel):
    """One wording, and the label that is right for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: StrictStr
    label: Label


class Pair(BaseModel):
    """Two wordings that differ by one phenomenon; ``before`` is the sentence in front of either, or empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: StrictStr
    phenomenon: StrictStr
    before: StrictStr = ""
    a: Member
    b: Member


@dataclass(frozen=True)
class Score:
    """How many pairs of a phenomenon are passed."""

    passed: int
    pairs: int

    @property
    def rate(self) -> float:
        """The share of the pairs that is passed."""
        return self.passed / self.pairs


def read_pairs(path: Path) -> list[Pair]:
    """Read a suite; SelonError with file and line for what does not hold."""
    return [pair for _, pair in parse(path, json_lines(path), Pair)]


def score(labeller: Labeller, pairs: Sequence[Pair]) -> dict[str, Score]:
    """Return the score of each phenomenon, in the order of the suite, and of "all"."""
    articles = [_article(pair, member) for pair in pairs for member in (pair.a, pair.b)]
    given = [predictions[-1].label for predictions in labeller.predict(articles)]
    passed = [(given[2 * i], given[2 * i + 1]) == (pair.a.label, pair.b.label) for i, pair in enumerate(pairs)]
    scores = {}
    for phenomenon in dict.fromkeys(pair.phenomenon for pair in pairs):
        own = [right for right, pair in zip(passed, pairs, strict=True) if pair.phenomenon == phenomenon]
        scores[phenomenon] = Score(sum(own), len(own))
    return scores | {"all": Score(sum(passed), len(passed))}


def figures(scores: dict[str, Score]) -> dict[str, float]:
    """Return the shares of passed pairs as MLflow logs them: ``contrast/PHENOMENON`` and ``contrast/all``."""
    return {f"contrast/{name}": one.rate for name, one in scores.items()}


def contrast_table(scores: dict[str, Score]) -> Table:
    """Return the scores as a table for the terminal."""
    table = Table(title="contrast: pairs with both members right")
    for column in ("phenomenon", "passed", "pairs", "share"):
        table.add_column(column, justify="left" if column == "phenomenon" else "right")
    for name, one in scores.items():
        style = "bold" if name == "all" else None
        table.add_row(Text(name), str(one.passed), str(one.pairs), f"{one.rate:.0%}", style=style)
    return table


def _article(pair: Pair, member: Member) -> Article:
    """Return the member as the last sentence of an article of its own."""
    start = len(pair.before) + 1 if pair.before else 0
    before = (Sentence(0, len(pair.before)),) if pair.before else ()
    text = f"{pair.before} {member.text}" if pair.before else member.text
    return Article(pair.id, text, (*before, Sentence(start, len(text))))
