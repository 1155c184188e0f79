"""The guideline's examples and the contrast pairs: valid labels, and never among what is trained on."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from train.corpus import read_articles
from train.normalisation import normalise
from train.schema import LABELS

ROOT = Path(__file__).parent.parent.parent
GUIDELINES = ROOT / "data/GUIDELINES.md"
HEADER = ["sentence", "label", "why"]


def example_rows() -> list[tuple[int, list[str]]]:
    """Return the rows, with their lines, of the tables whose header is ``| sentence | label | why |``."""
    found, inside = [], False
    for number, line in enumerate(GUIDELINES.read_text(encoding="utf-8").splitlines(), start=1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells == HEADER:
            inside = True
        elif inside and not set(line) <= set("|-: "):
            found.append((number, cells))
    return found


def bare(text: str) -> str:
    """Return what two writings of one sentence share: its words."""
    return " ".join(re.findall(r"\w+", normalise(text).lower()))


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    lines = (ROOT / "data/contrast/pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def corpus() -> set[str]:
    files = [ROOT / f"data/corpus/{name}.jsonl" for name in ("train", "validation", "test")]
    return {bare(text) for path in files for article in read_articles(path) for text in article.sentence_texts}


def test_every_example_has_three_cells_and_one_of_the_labels() -> None:
    rows = example_rows()
    assert len(rows) >= 60
    assert [number for number, cells in rows if len(cells) != 3 or not all(cells) or cells[1] not in LABELS] == []
    assert {cells[1] for _, cells in rows} == set(LABELS)


def test_no_example_is_given_twice() -> None:
    counts = Counter(bare(cells[0]) for _, cells in example_rows())
    assert [sentence for sentence, n in counts.items() if n > 1] == []


def test_no_example_stands_in_the_corpus(corpus: set[str]) -> None:
    assert [f"GUIDELINES.md:{number}: {cells[0]}" for number, cells in example_rows() if bare(cells[0]) in corpus] == []


def test_no_example_stands_in_the_contrast_pairs(pairs: list[dict[str, Any]]) -> None:
    texts = {bare(pair[member]["text"]) for pair in pairs for member in "ab"} | {bare(pair["before"]) for pair in pairs}
    assert [f"GUIDELINES.md:{number}: {cells[0]}" for number, cells in example_rows() if bare(cells[0]) in texts] == []


def test_contrast_pairs_are_whole(pairs: list[dict[str, Any]]) -> None:
    assert len(pairs) >= 150
    assert [pair_id for pair_id, n in Counter(pair["id"] for pair in pairs).items() if n > 1] == []
    for pair in pairs:
        assert pair.keys() == {"id", "phenomenon", "before", "a", "b"}, pair["id"]
        assert isinstance(pair["before"], str), pair["id"]
        assert pair["phenomenon"], pair["id"]
        for member in "ab":
            assert pair[member].keys() == {"text", "label"}, pair["id"]
            assert pair[member]["text"].strip(), pair["id"]
            assert pair[member]["label"] in LABELS, pair["id"]
        assert pair["a"]["text"] != pair["b"]["text"], pair["id"]


def test_contrast_pairs_are_not_trained_on(pairs: list[dict[str, Any]], corpus: set[str]) -> None:
    assert [pair["id"] for pair in pairs if {bare(pair[member]["text"]) for member in "ab"} & corpus] == []


def test_the_contrast_card_counts_right(pairs: list[dict[str, Any]]) -> None:
    card = (ROOT / "data/contrast/README.md").read_text(encoding="utf-8")
    told = {name: int(n) for name, n in re.findall(r"^\| ([^|`]+) \| (\d+) \|", card, re.MULTILINE)}
    assert told == Counter(pair["phenomenon"] for pair in pairs)
    labels = Counter(pair[member]["label"] for pair in pairs for member in "ab")
    counts = ", ".join(f"{label} {labels[label]}" for label in ("claim", "background", "attribution", "denial"))
    assert f"{2 * len(pairs)} sentences: {counts}." in card
