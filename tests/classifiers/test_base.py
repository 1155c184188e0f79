"""The contract: every family is registered, complete, and cuts its answers by article."""

from __future__ import annotations

import numpy as np
import pytest

from train.classifiers.base import FAMILIES, Classifier, family, split_by_article
from train.config import InputConfig
from train.schema import Article, SelonError, Sentence


@pytest.mark.parametrize("kind", FAMILIES)
def test_registered_families_keep_the_contract(kind: str) -> None:
    found = family(kind)
    assert issubclass(found, Classifier)
    assert found.family == kind
    assert not found.__abstractmethods__


def test_probabilities_are_cut_by_article() -> None:
    articles = [Article(str(n), "a" * n, tuple(Sentence(i, i + 1) for i in range(n))) for n in (2, 0, 1)]
    stacked = np.arange(12.0).reshape(3, 4)
    first, empty, last = split_by_article(stacked, articles)
    assert first.tolist() == stacked[:2].tolist()
    assert empty.shape == (0, 4)
    assert last.tolist() == stacked[2:].tolist()
    assert split_by_article(np.zeros((0, 4)), []) == []


def test_families_without_a_text_input_say_so() -> None:
    from train.config import TfidfConfig

    model = family("tfidf")(TfidfConfig(kind="tfidf"), InputConfig())
    with pytest.raises(SelonError, match="--show-input is for encoders"):
        model.show_inputs(Article("a", "b", (Sentence(0, 1),)))
