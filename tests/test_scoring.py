"""A row of MLflow's tables: which sentence of which document it asks about, and what it is answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from train.schema import LABELS
from train.scoring import COLUMNS, answer, place, place_rows

DOCUMENT = "Le pont est vert. Le maire dément la grève. La rue est rouge."


def test_a_sentence_is_found_in_its_document() -> None:
    found = place(" Le maire dément la grève. ", DOCUMENT)
    assert found is not None
    assert found.article.sentence_texts == ("Le pont est vert.", "Le maire dément la grève.", "La rue est rouge.")
    assert found.place == 1
    part = place("maire dément", DOCUMENT)  # no sentence of ours: it takes the place of the one it lies in
    assert part is not None
    assert part.article.sentence_texts[part.place] == "maire dément"
    assert len(part.article) == 3
    alone = place("Autre chose.", DOCUMENT)
    assert alone is not None
    assert alone.article.sentence_texts == ("Autre chose.",)


def test_a_sentence_comes_before_a_part_of_one() -> None:
    found = place("Non", "Nonancourt attend sa gare. Non")
    assert found is not None
    assert found.article.sentence_texts == ("Nonancourt attend sa gare.", "Non")
    assert found.place == 1
    fragment = place("Non", "Nonancourt attend sa gare.")
    assert fragment is not None
    assert fragment.article.sentence_texts[fragment.place] == "Non"


def test_the_rows_of_a_document_share_it_and_each_is_answered_by_itself() -> None:
    document = "Non. Le pont est vert. Non."
    texts = ["Le pont est vert.", "Non.", " Non. "]
    placed, articles = place_rows([*((text, document) for text in texts), ("Non.", None)])
    assert [one and one.place for one in placed] == [1, 0, 0, 0]
    assert len(articles) == 2


def test_nothing_is_background() -> None:
    assert place(None, DOCUMENT) is place(" \n", DOCUMENT) is place(float("nan"), None) is None
    assert answer(None) == {
        "label": "background", "p_claim": 0.0, "p_denial": 0.0, "p_attribution": 0.0, "p_background": 1.0,
    }  # fmt: skip
    assert tuple(answer([0.1, 0.6, 0.2, 0.1])) == COLUMNS
    assert answer([0.1, 0.6, 0.2, 0.1])["label"] == LABELS[1]


@given(st.text(max_size=60), st.none() | st.text(max_size=120))
def test_any_row_is_placed(text: str, document: str | None) -> None:
    found = place(text, document)
    if found is None:
        assert not text.strip()
    else:
        assert found.article.sentence_texts[found.place] == text.strip()
        ends = [0, *(sentence.end for sentence in found.article.sentences)]
        starts = [sentence.start for sentence in found.article.sentences]
        assert all(end <= start for end, start in zip(ends, starts, strict=False))
