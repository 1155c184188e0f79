"""How far two annotations of the same sentences agree: Cohen's kappa, overall and for each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from train.corpus import Row, json_lines, parse
from train.metrics import Labels, kappa
from train.schema import LABELS, SelonError

#: The keys of a row's ``annotations``: who labelled it first, and who did so without seeing that.
ANNOTATORS = ("author", "second")


@dataclass(frozen=True)
class Agreement:
    """Two annotators' agreement, on all labels or on one of them against the rest.

    ``given`` says how many sentences the first and the second gave the label to.
    """

    kappa: float
    share: float
    given: tuple[int, int]


def read_annotations(paths: Sequence[Path]) -> tuple[Labels, Labels]:
    """Return both annotations of every sentence in rows files that has two, as indices into ``LABELS``.

    Raises
    ------
    SelonError
        For a file that is no rows file, or when no sentence has two annotations.
    """
    pairs = []
    for path in paths:
        for _, row in parse(path, json_lines(path), Row):
            both = row.annotations or {}
            if all(name in both for name in ANNOTATORS):
                pairs.append([LABELS.index(both[name]) for name in ANNOTATORS])
    if not pairs:
        names = " and ".join(ANNOTATORS)
        raise SelonError(f"{paths[0]}: no sentence is annotated twice; rows carry annotations: {names}")
    first, second = np.array(pairs, dtype=np.int64).T
    return first, second


def agreement(first: Labels, second: Labels) -> dict[str, Agreement]:
    """Return the agreement on "all" labels and on each label against the rest."""
    scores = {"all": Agreement(kappa(first, second), float((first == second).mean()), (len(first), len(second)))}
    for place, label in enumerate(LABELS):
        a, b = (first == place).astype(np.int64), (second == place).astype(np.int64)
        scores[label] = Agreement(kappa(a, b), float((a == b).mean()), (int(a.sum()), int(b.sum())))
    return scores


def agreement_table(scores: dict[str, Agreement]) -> Table:
    """Return the agreement as a table for the terminal."""
    table = Table(title=f"agreement on {scores['all'].given[0]} sentences, a label against the rest")
    for column in ("label", "Cohen's κ", "agree", *ANNOTATORS):
        table.add_column(column, justify="left" if column == "label" else "right")
    for name, one in scores.items():
        style = "bold" if name == "all" else None
        table.add_row(name, f"{one.kappa:.3f}", f"{one.share:.1%}", *map(str, one.given), style=style)
    return table
