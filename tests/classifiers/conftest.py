"""What the tests of several classifiers are fitted on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from train.corpus import read_articles
from train.schema import Article


@pytest.fixture(scope="module")
def splits(make_project: Callable[[], Path]) -> dict[str, list[Article]]:
    """The toy corpus by split; articles are frozen, so a module's tests may share it."""
    root = make_project()
    return {name: read_articles(root / f"data/corpus/{name}.jsonl") for name in ("train", "validation", "test")}
