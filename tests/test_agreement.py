"""Two annotations of the same sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from train.agreement import agreement, agreement_table, read_annotations
from train.schema import SelonError


def _write(path: Path, annotated: list[tuple[str, str] | None]) -> Path:
    lines = []
    for place, both in enumerate(annotated):
        row = {"article_id": "x", "sentence": place, "text": f"Phrase {place}.", "label": "claim"}
        lines.append(row | ({"annotations": {"author": both[0], "second": both[1]}} if both else {}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_kappa_overall_and_of_each_label(tmp_path: Path) -> None:
    one = _write(tmp_path / "1.jsonl", [("claim", "claim"), ("claim", "background"), None])
    two = _write(tmp_path / "2.jsonl", [("denial", "denial"), ("background", "background")])
    scores = agreement(*read_annotations([one, two]))
    # Agreement 3/4; by chance (2 x 1 + 1 x 1 + 1 x 2) / 16 = 5/16.
    assert scores["all"].share == 0.75
    assert scores["all"].kappa == pytest.approx((3 / 4 - 5 / 16) / (1 - 5 / 16))
    assert scores["claim"].kappa == pytest.approx(0.5)
    assert scores["claim"].given == (2, 1)
    assert scores["denial"].kappa == 1
    assert agreement_table(scores).row_count == 5


def test_nothing_annotated_twice(tmp_path: Path) -> None:
    with pytest.raises(SelonError, match="no sentence is annotated twice"):
        read_annotations([_write(tmp_path / "1.jsonl", [None, None])])
    path = _write(tmp_path / "2.jsonl", [("claim", "clam")])
    with pytest.raises(SelonError, match=r"2\.jsonl:1: .*annotations\.second"):
        read_annotations([path])
