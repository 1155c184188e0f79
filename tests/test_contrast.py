"""Minimal pairs: read with their place in mind, labelled in context, counted by pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from train.contrast import Pair, Score, contrast_table, figures, read_pairs, score
from train.labeller import Labeller
from train.schema import Article, Prediction, SelonError

REPOSITORY = Path(__file__).parents[1]


def _pair(name: str, phenomenon: str, a: str, b: str, before: str = "") -> dict[str, Any]:
    members = {"a": {"text": "Il dément.", "label": a}, "b": {"text": "Il confirme.", "label": b}}
    return {"id": name, "phenomenon": phenomenon, "before": before, **members}


class Rule:
    """Says denial where « dément » stands in the sentence, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Article] = []

    def predict(self, articles: Sequence[Article]) -> list[list[Prediction]]:
        self.asked += articles
        return [[self._say(text) for text in article.sentence_texts] for article in articles]

    @staticmethod
    def _say(text: str) -> Prediction:
        return Prediction("denial" if "dément" in text else "claim", (1.0, 0.0, 0.0, 0.0), False, False)


def test_a_pair_passes_when_both_members_are_right() -> None:
    pairs = [
        Pair.model_validate(_pair("1", "dément→confirme", "denial", "claim")),
        Pair.model_validate(_pair("2", "dément→confirme", "denial", "background")),
        Pair.model_validate(_pair("3", "names", "denial", "claim", before="Le maire dément tout.")),
    ]
    rule = Rule()
    scores = score(cast(Labeller, rule), pairs)
    assert scores == {"dément→confirme": Score(1, 2), "names": Score(1, 1), "all": Score(2, 3)}
    shares = {"dément→confirme": 0.5, "names": 1.0, "all": pytest.approx(2 / 3)}
    assert figures(scores) == {f"contrast/{name}": share for name, share in shares.items()}
    assert contrast_table(scores).row_count == 3
    assert rule.asked[0].sentence_texts == ("Il dément.",)
    assert rule.asked[4].sentence_texts == ("Le maire dément tout.", "Il dément.")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"pairs\.jsonl:2: no valid JSON"),
        (json.dumps(_pair("1", "x", "denial", "clam")), r"pairs\.jsonl:2: b\.label: Input should be 'claim'"),
        (json.dumps({"id": "1"}), r"pairs\.jsonl:2: phenomenon: Field required"),
    ],
)
def test_what_does_not_hold_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(_pair("1", "x", "denial", "claim")) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(SelonError, match=said):
        read_pairs(path)
    path.write_text("")
    with pytest.raises(SelonError, match="holds no rows"):
        read_pairs(path)
    with pytest.raises(SelonError, match="cannot be read"):
        read_pairs(tmp_path)


def test_the_shipped_suite_is_in_order() -> None:
    pairs = read_pairs(REPOSITORY / "data/contrast/pairs.jsonl")
    assert len(pairs) > 150
    assert len({pair.id for pair in pairs}) == len(pairs)
