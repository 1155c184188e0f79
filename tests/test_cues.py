"""Cues: found where they stand, named for encoders, counted for the baseline."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.cues import KINDS, cue_features, find_cues, name_cues
from train.schema import Article
from train.segmentation import segment


def kinds(text: str) -> set[str]:
    return {cue.kind for cue in find_cues(text)}


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("Selon la mairie, le pont est fermé.", "source", "Selon"),
        ("D’après lui, tout va bien.", "source", "D’après"),
        ("Le site ferme, a déclaré le groupe.", "speech", "déclaré"),
        ("« Oui », répond-il.", "speech", "répond"),
        ("Le groupe dément.", "denial", "dément"),
        ("Il n’en a jamais été question.", "denial", "jamais"),
        ("Elle ne nie pas les faits.", "taken back", "ne nie pas"),
        ("Il aurait fui.", "conditional", "aurait"),
        ("L’auteur présumé dort.", "hedge", "présumé"),
        ("Il manque 40 % des lits.", "figure", "40 %"),
        ("« Oui. »", "quotation", "«"),
    ],
)
def test_each_kind_is_found_where_it_stands(text: str, kind: str, words: str) -> None:
    found = [text[cue.start : cue.end] for cue in find_cues(text) if cue.kind == kind]
    assert words in [piece.strip() for piece in found]


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_cue_may_go_on_in_the_next_line(line_break: str) -> None:
    text = f"La mairie a fait{line_break}savoir que c'était sans{line_break}fondement."
    found = {text[cue.start : cue.end].replace(line_break, " "): cue.kind for cue in find_cues(text)}
    assert found == {"fait savoir": "speech", "sans fondement": "denial"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("La niece de Jean arrive.", "denial"),  # « nie » inside a word
        ("Les selonides sont des poissons.", "source"),
        ("Le train part à midi.", "speech"),
        ("La mairie est ouverte.", "conditional"),
    ],
)
def test_no_cue_is_found_inside_other_words(text: str, kind: str) -> None:
    assert kind not in kinds(text)


def test_the_names_an_encoder_reads() -> None:
    assert name_cues("Le train part.", opened=False) == ""
    assert name_cues("Selon lui, il aurait fui.", opened=False) == "source conditionnel"
    assert name_cues("« Il pleut.", opened=False) == "citation"
    assert name_cues("Il pleut », dit-elle, ravie de son long week-end.", opened=True) == "parole guillemets"
    assert name_cues("Il pleut.", opened=True) == "citation"


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("De 1 234,5 à 12,345a, soit 40 % des 20e.", ["1 234,5 ", "12,", "40 %"]),
        ("Le 3.10.2023, 50% ou 7 . Fin", ["3.10.2023, 50%", "7 . "]),
        ("9" * 30_000 + "a", []),  # a look from every digit would take minutes
    ],
)
def test_figures(text: str, figures: list[str]) -> None:
    assert [text[cue.start : cue.end] for cue in find_cues(text) if cue.kind == "figure"] == figures


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("selon aurait nie «»\"’'.é 4%\n\u00a0🙂"), max_size=60))
def test_cues_lie_in_the_text_in_order(text: str) -> None:
    cues = find_cues(text)
    assert all(0 <= cue.start < cue.end <= len(text) and cue.kind in KINDS for cue in cues)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)


def test_features_know_the_state_of_a_quotation() -> None:
    text = "« Il pleut. Il vente », dit Jean.\nLe port ferme."
    rows = cue_features(Article("a", text, segment(text)))
    assert [row.get("open", 0.0) for row in rows] == [0.0, 1.0, 0.0]
    assert rows[0]["whole"] == 1.0
    assert 0 < rows[1]["inside"] < 1
    assert "inside" not in rows[2]
    assert rows[2]["paragraph begins"] == 1.0


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=80))
def test_any_article_has_a_row_of_finite_numbers_a_sentence(text: str) -> None:
    article = Article("a", text, segment(text))
    rows = cue_features(article)
    assert len(rows) == len(article)
    assert all(0 < value < 1e6 for row in rows for value in row.values())
