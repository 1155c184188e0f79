"""The baseline: learns the toy rule, uses its context, and comes back from disk as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from train.classifiers.base import Fitting
from train.classifiers.tfidf import TfidfClassifier
from train.config import InputConfig, TfidfConfig
from train.corpus import read_articles
from train.metrics import confusion, macro_f1
from train.schema import Article, SelonError, Sentence


@pytest.fixture
def articles(project: Path) -> dict[str, list[Article]]:
    return {name: read_articles(project / f"data/corpus/{name}.jsonl") for name in ("train", "validation", "test")}


def _fit(articles: dict[str, list[Article]], inputs: InputConfig, tmp_path: Path, min_df: int = 2) -> TfidfClassifier:
    config = TfidfConfig(kind="tfidf", char_ngrams=3, word_ngrams=1, C=3.0, max_iter=40, min_df=min_df)
    return TfidfClassifier(config, inputs).fit(articles["train"], articles["validation"], Fitting(3, tmp_path))


def test_learns_the_rule_and_comes_back_as_it_was(articles: dict[str, list[Article]], tmp_path: Path) -> None:
    classifier = _fit(articles, InputConfig(), tmp_path)
    probabilities = classifier.predict_proba(articles["test"])
    gold = np.concatenate([article.gold for article in articles["test"]])
    assert macro_f1(confusion(gold, np.concatenate(probabilities).argmax(1))) > 0.9
    np.testing.assert_allclose(np.concatenate(probabilities).sum(1), 1)

    classifier.save(tmp_path)
    again = TfidfClassifier.load(tmp_path, classifier.model, classifier.inputs).predict_proba(articles["test"])
    for before, after in zip(probabilities, again, strict=True):
        np.testing.assert_array_equal(before, after)
    assert [path.name for path in tmp_path.iterdir()] == ["model.skops"]


def test_context_that_is_switched_off_changes_nothing(articles: dict[str, list[Article]], tmp_path: Path) -> None:
    blind = InputConfig(title=False, before=0, after=0, position=False, quotation=False)
    classifier = _fit(articles, blind, tmp_path)
    text = "Le maire dément. Le pont est selon la rue."
    spans = (Sentence(0, 16), Sentence(17, len(text)))
    whole = Article("w", text, spans, title="Un titre")
    alone = Article("a", text[17:], (Sentence(0, len(text) - 17),))
    np.testing.assert_allclose(classifier.predict_proba([whole])[0][1], classifier.predict_proba([alone])[0][0])


def test_words_that_are_all_too_rare(articles: dict[str, list[Article]], tmp_path: Path) -> None:
    with pytest.raises(SelonError, match=r"^model\.min_df: fewer than 999 training sentences .*; take a lower one"):
        _fit(articles, InputConfig(), tmp_path, min_df=999)


def test_nothing_to_label(articles: dict[str, list[Article]], tmp_path: Path) -> None:
    classifier = _fit(articles, InputConfig(), tmp_path)
    assert classifier.predict_proba([]) == []
    assert classifier.predict_proba([Article("e", "", ())])[0].shape == (0, 4)
    one = Article.alone("Le maire dément.")
    assert [rows.shape for rows in classifier.predict_proba([Article("e", "", ()), one])] == [(0, 4), (1, 4)]
