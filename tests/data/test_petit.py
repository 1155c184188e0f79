"""The encoder and the classifier that the project ships: whole, small, and of use on the seed article."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from train.corpus import read_articles
from train.evaluation import refuse_seen, verify_golden
from train.labeller import Labeller
from train.metrics import confusion, macro_f1

ROOT = Path(__file__).parents[2]
ENCODER, CLASSIFIER = ROOT / "data/petit/encoder", ROOT / "data/petit/classifier"


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    return Labeller.open(CLASSIFIER)  # checks every file's SHA-256


def test_they_are_small_enough_to_be_committed() -> None:
    assert megabytes(ENCODER) <= 28
    assert megabytes(CLASSIFIER) <= 56


def test_the_encoder_loads_by_the_auto_classes() -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(ENCODER), AutoModel.from_pretrained(ENCODER)
    assert model.config.model_type == "camembert"
    assert model.config.vocab_size == len(tokenizer)
    assert not any(np.isnan(value.detach().numpy()).any() for value in model.parameters())


def test_the_classifier_answers_as_when_it_was_saved(labeller: Labeller) -> None:
    verify_golden(labeller)


def test_it_has_not_seen_what_it_is_tested_on(labeller: Labeller) -> None:
    refuse_seen(labeller, [*read_articles(ROOT / "data/corpus/test.jsonl"), *read_articles(ROOT / "seeds")])


def test_it_is_far_better_than_guessing_on_the_seed_article(labeller: Labeller) -> None:
    (article,) = read_articles(ROOT / "seeds")
    predicted = labeller.predict_proba([article])[0].argmax(1)
    always_claim = np.zeros_like(article.gold)
    assert macro_f1(confusion(article.gold, predicted)) > macro_f1(confusion(article.gold, always_claim)) + 0.2


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Le groupe dément avoir licencié des salariés.", "denial"),
        ("Selon le syndicat, 200 personnes ont perdu leur emploi.", "claim"),
        ("« C'est une honte », s'est emporté le maire.", "attribution"),
        ("Le musée a ouvert ses portes en 1987.", "background"),
    ],
)
def test_it_knows_the_plain_cases(labeller: Labeller, text: str, label: str) -> None:
    assert [prediction.label for prediction in labeller.label(text)[1]] == [label]


@pytest.mark.parametrize(("a", "b"), [("groupe", "ministère"), ("groupe", "club"), ("licencié", "renvoyé")])
def test_who_is_concerned_does_not_change_the_label(labeller: Labeller, a: str, b: str) -> None:
    text = "Le groupe dément avoir licencié des salariés."
    first, second = (labeller.label(one)[1][0].label for one in (text, text.replace(a, b)))
    assert first == second
