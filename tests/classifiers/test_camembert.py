"""Tokenising, batching and the graph of the encoder family, as labelling uses them (no torch)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from train import registry
from train.classifiers.camembert import GRAPH, CamembertClassifier, batches, encode
from train.config import CamembertConfig, InputConfig
from train.labeller import Labeller
from train.schema import Article, SelonError, Sentence


@pytest.fixture(scope="module")
def tokenizer(encoders: Path) -> Tokenizer:
    return Tokenizer.from_file(str(encoders / "camembert/tokenizer.json"))


def test_context_gives_way_to_the_sentence(tokenizer: Tokenizer) -> None:
    sentence, context = "Le maire dément.", "la grève du pont " * 20
    alone, _ = encode(tokenizer, [(sentence, "")], 16)[0]
    encoding, truncated = encode(tokenizer, [(sentence, context)], 16)[0]
    assert len(encoding.ids) == 16
    assert not truncated
    assert encoding.ids[: len(alone.ids)] == alone.ids  # the whole sentence is there


def test_a_sentence_that_is_too_long_is_cut_and_marked(tokenizer: Tokenizer) -> None:
    encoding, truncated = encode(tokenizer, [("le maire " * 30, "le pont")], 16)[0]
    assert len(encoding.ids) == 16
    assert truncated


def test_the_longest_sentence_that_fits_is_not_marked(tokenizer: Tokenizer) -> None:
    size = len(tokenizer.encode("le maire " * 4).ids)
    assert [encode(tokenizer, [("le maire " * 4, "")], length)[0].truncated for length in (size, size - 1)] == [
        False,
        True,
    ]


def test_inputs_keep_their_places_whatever_stands_beside_them(tokenizer: Tokenizer) -> None:
    pairs = [
        ("le maire", "le pont"),
        ("le pont " * 30, "le maire"),
        ("", ""),
        ("le maire", ""),
        ("le pont", "le " * 40),
    ]
    together = [(one.encoding.ids, one.truncated) for one in encode(tokenizer, pairs, 16)]
    assert together == [(one.encoding.ids, one.truncated) for pair in pairs for one in encode(tokenizer, [pair], 16)]
    assert encode(tokenizer, [], 16) == []


def test_batches_hold_every_input_once_and_stay_within_the_budget() -> None:
    lengths = [3, 50, 7, 7, 120, 1, 64]
    found = list(batches(lengths, 128))
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[place] for place in batch) <= 128 for batch in found)


def test_batch_mates_do_not_change_an_answer(trained: Path, rows: Callable[..., object]) -> None:
    labeller = Labeller.open(registry.resolve("models:/selon/2"))
    short = Article("s", "Le pont.", (Sentence(0, 8),))
    long = Article("l", "la rue du marché " * 8, (Sentence(0, 136),))
    alone = labeller.predict_proba([short])[0]
    together = labeller.predict_proba([long, short, long])[1]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_no_articles_and_articles_without_sentences(trained: Path) -> None:
    labeller = Labeller.open(registry.resolve("models:/selon/2"))
    assert labeller.predict_proba([]) == []
    assert labeller.predict_proba([Article("e", "", ())])[0].shape == (0, 4)


def test_a_damaged_graph_is_refused(tmp_path: Path, encoders: Path) -> None:
    shutil.copy(encoders / "camembert/tokenizer.json", tmp_path)
    (tmp_path / GRAPH).write_bytes(b"no graph")
    config = CamembertConfig(kind="camembert", encoder="x")
    with pytest.raises(SelonError, match="cannot be opened"):
        CamembertClassifier.load(tmp_path, config, InputConfig())


def test_an_unfitted_classifier_says_so() -> None:
    with pytest.raises(RuntimeError, match="fit or load first"):
        CamembertClassifier(CamembertConfig(kind="camembert", encoder="x"), InputConfig()).logits([])
