"""The text an encoder reads: the template is part of a saved model, so its exact form is held here."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from train.config import InputConfig
from train.inputs import build_inputs, drop_context
from train.normalisation import normalise
from train.schema import Article, Sentence
from train.segmentation import segment

TEXT = "« La pompe a lâché. C’est rageant », dit le chef.\nL’atelier est fermé. Il rouvrira."
NOTHING = InputConfig(title=False, before=0, after=0, position=False, quotation=False, cues=False)


def article(text: str = TEXT, title: str = "La fonderie à l’arrêt") -> Article:
    return Article("a", text, segment(text), title=title)


def test_the_whole_template() -> None:
    assert build_inputs(article(), InputConfig()) == [
        ('"La pompe a lâché.', "début | parole citation | La fonderie à l'arrêt |  | C'est rageant\", dit le chef."),
        (
            '"... C\'est rageant", dit le chef.',
            "milieu | parole guillemets | La fonderie à l'arrêt | \"La pompe a lâché. | L'atelier est fermé.",
        ),
        ("L'atelier est fermé.", "milieu |  | La fonderie à l'arrêt | C'est rageant\", dit le chef. | Il rouvrira."),
        ("Il rouvrira.", "fin |  | La fonderie à l'arrêt | L'atelier est fermé. | "),
    ]


def test_what_is_switched_off_is_left_out() -> None:
    texts = [normalise(text) for text in article().sentence_texts]
    assert build_inputs(article(), NOTHING) == [(text, "") for text in texts]
    assert build_inputs(article(), NOTHING.model_copy(update={"title": True}))[1] == (
        texts[1],
        "La fonderie à l'arrêt",
    )
    assert build_inputs(article(), NOTHING.model_copy(update={"position": True}))[3][1] == "fin"
    assert build_inputs(article(), NOTHING.model_copy(update={"quotation": True}))[1][0].startswith('"... ')
    assert build_inputs(article(), NOTHING.model_copy(update={"cues": True}))[1] == (texts[1], "parole guillemets")


def test_neighbours_are_counted_and_cut_nearest_to_the_sentence() -> None:
    config = NOTHING.model_copy(update={"before": 2, "after": 1})
    assert build_inputs(article(), config)[2][1] == '"La pompe a lâché. C\'est rageant", dit le chef. | Il rouvrira.'
    long = article("Début " + "mot " * 200 + "avant.\nMilieu.\nAprès " + "mot " * 200 + "fin.")
    before, after = build_inputs(long, config)[1][1].split(" | ")
    assert before.endswith("mot avant.")
    assert after.startswith("Après mot")
    assert len(before) == len(after) == 160


def test_an_empty_article_and_a_single_sentence() -> None:
    assert build_inputs(Article("a", "", ()), InputConfig()) == []
    assert build_inputs(article("Seule.", title=""), InputConfig()) == [("Seule.", "début |  |  |  | ")]


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=())), st.integers(0, 3), st.integers(0, 3))
def test_any_text_gives_one_input_a_sentence_without_line_breaks(text: str, before: int, after: int) -> None:
    inputs = build_inputs(article(text), InputConfig(before=before, after=after))
    assert len(inputs) == len(segment(text))
    assert all(len(part.splitlines()) <= 1 for pair in inputs for part in pair)


def test_offsets_that_segmentation_would_not_give_are_accepted() -> None:
    odd = Article("a", TEXT, (Sentence(2, 9), Sentence(9, 20)))
    assert [text for text, _ in build_inputs(odd, NOTHING)] == ["La pomp", "e a lâché."]


def test_dropped_context_is_what_use_without_it_gives() -> None:
    whole, config = article(), InputConfig()
    alone = [build_inputs(article(text, title=""), config)[0] for text in whole.sentence_texts]
    bare = build_inputs(article(title=""), config)
    kept = build_inputs(whole, config)

    def drawn(share: float) -> list[list[tuple[str, str]]]:
        draw = np.random.default_rng(0)
        return [drop_context(whole, config, share, draw) for _ in range(100)]

    assert all(inputs == kept for inputs in drawn(0))
    shares = [
        np.mean([given == expected for inputs in drawn(0.2) for given, expected in zip(inputs, form, strict=True)])
        for form in (alone, bare, kept)
    ]
    np.testing.assert_allclose(shares, [0.2, 0.2, 0.6], atol=0.07)
