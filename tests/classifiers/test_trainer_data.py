"""Articles as Trainer's data: nothing lost between the groups, types where the model has them, a bar on stderr."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from train.classifiers import trainer_data
from train.classifiers.camembert import encode
from train.classifiers.trainer_data import tokenise
from train.config import InputConfig
from train.inputs import build_inputs
from train.schema import Article

READ = partial(build_inputs, config=InputConfig())


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_every_sentence_is_there_in_order_however_many_articles_are_read_at_once(
    encoders: Path, splits: dict[str, list[Article]], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    articles = splits["test"]
    monkeypatch.setattr(trainer_data, "_AT_ONCE", at_once)
    tokenizer = AutoTokenizer.from_pretrained(encoders / "camembert")
    targets = np.random.default_rng(0).dirichlet([1, 1, 1, 1], sum(map(len, articles)))
    found = tokenise(articles, READ, tokenizer, 24, False, targets)
    pairs = [pair for article in articles for pair in READ(article)]
    expected = [one.encoding.ids for one in encode(tokenizer.backend_tokenizer, pairs, 24)]
    assert found["input_ids"][:] == expected
    assert found["length"][:] == [len(ids) for ids in expected]
    assert np.allclose(found["labels"][:], targets)


def test_token_types_are_given_to_models_that_have_them_and_targets_are_optional(
    encoders: Path, splits: dict[str, list[Article]]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoders / "camembert")
    with_types = tokenise(splits["test"][:1], READ, tokenizer, 24, True)
    assert set(with_types.column_names) == {"input_ids", "length", "token_type_ids"}
    assert [len(row) for row in with_types["token_type_ids"]] == with_types["length"][:]


def test_the_bar_stays_off_stdout(
    encoders: Path, splits: dict[str, list[Article]], capsys: pytest.CaptureFixture[str]
) -> None:
    tokenise(splits["test"], READ, AutoTokenizer.from_pretrained(encoders / "camembert"), 24, False)
    assert capsys.readouterr().out == ""
