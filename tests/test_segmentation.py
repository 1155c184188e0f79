"""Sentence boundaries and open quotations: hard cases, properties, the seed article and the press layer."""

from __future__ import annotations

import json
import lzma
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.schema import Sentence
from train.segmentation import VISIBLE, open_quotations, segment, unwrap

ROOT = Path(__file__).parent.parent
PRESS = Path(os.environ.get("SELON_PRESS", ROOT.parent / "shared/press/articles.jsonl.xz"))
SEED = ROOT / "seeds/000_67de78d66b7b359b.txt"
HARD = ROOT / "tests/fixtures/hard_sentences.txt"

#: How the fixture writes a boundary, and what stands there in the raw text.
_BOUNDARY = re.compile(r" ¦ |¦|⏎")
_IN_TEXT = {" ¦ ": " ", "¦": "", "⏎": "\n"}

#: Any Unicode, lone surrogates included, and text dense in what the rules look at.
any_unicode = st.text(st.characters(exclude_categories=()))
tricky_text = st.lists(
    st.sampled_from(
        "Le_|il_|M._|J.|U.S.A._|3.000|etc.|(...)|www.a.fr|@Nom|fin.Il|\r\n".replace("_", " ").split("|")
        + list("aÉ1 .?!…«»“”″\"'’()[]-–\n\u2028\u200b\u00a0\x1f\ud800")
    )
).map("".join)


def slices(text: str) -> list[str]:
    return [text[s.start : s.end] for s in segment(text)]


def test_hard_cases() -> None:
    lines = HARD.read_text(encoding="utf-8").replace("␣", "\u00a0").split("\n")
    cases = [line for line in lines if line and not line.startswith("# ")]
    failures = []
    for case in cases:
        expected = _BOUNDARY.split(case)
        found = slices(_BOUNDARY.sub(lambda m: _IN_TEXT[m[0]], case))
        if found != expected:
            failures.append(f"expected {expected}\n   found {found}")
    assert len(cases) == 201
    assert len(failures) <= 0.05 * len(cases), "\n".join(failures)


@settings(deadline=None)
@given(any_unicode | tricky_text)
def test_sentences_are_stripped_ordered_and_cover_the_text(text: str) -> None:
    sentences = segment(text)
    end = 0
    for sentence in sentences:
        assert not VISIBLE.search(text[end : sentence.start])
        piece = text[sentence.start : sentence.end]
        assert VISIBLE.search(piece)
        assert piece == piece.strip()
        assert len(unwrap(text)[sentence.start : sentence.end].splitlines()) == 1
        end = sentence.end
    assert not VISIBLE.search(text[end:])


def test_nobody_sees_a_sentence_in_invisible_characters() -> None:
    assert slices("\u200b\nLe pont\u200b est vert.\n\ufeff\u2060\n\x01 \xad\nUn autre.\u200b") == [
        "Le pont\u200b est vert.",
        "Un autre.\u200b",
    ]


@settings(deadline=None)
@given(any_unicode | tricky_text)
def test_each_line_is_segmented_by_itself(text: str) -> None:
    unwrapped = unwrap(text)
    found = [unwrapped[s.start : s.end] for s in segment(text)]
    assert found == [piece for line in unwrapped.splitlines() for piece in slices(line)]


@settings(deadline=None)
@given(any_unicode | tricky_text)
def test_unwrapping_changes_line_breaks_alone(text: str) -> None:
    unwrapped = unwrap(text)
    assert len(unwrapped) == len(text)
    assert all(new == old or (new == " " and old in "\r\n") for new, old in zip(unwrapped, text, strict=True))


@settings(deadline=None)
@given(st.integers(50, 115), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from(["", "  "]))
def test_wrapped_text_is_cut_like_the_same_text_unwrapped(
    width: int, line_break: str, blank: bool, margin: str
) -> None:
    paragraphs = SEED.read_text(encoding="utf-8").split("\n")
    filled = [textwrap.fill(line, width, break_on_hyphens=False, break_long_words=False) for line in paragraphs]
    # One line in ten may be too long: an address, a notice.
    lines = [*("\n" * (1 + blank)).join(filled).split("\n"), "", f"Lire aussi : {'un autre titre ' * 9}"]
    wrapped = line_break.join(margin + line for line in lines)
    raw = "\n".join([*paragraphs, lines[-1]])
    assert [piece.split() for piece in slices(wrapped)] == [piece.split() for piece in slices(raw)]
    assert open_quotations(wrapped, segment(wrapped)) == open_quotations(raw, segment(raw))


@pytest.mark.parametrize(
    "text",
    [
        # Headlines, one a line: they begin with capitals.
        "Le ministre annonce une hausse\nUn syndicat dénonce un recul\nLa grève est reconduite demain",
        # A list, whose lines are not full.
        "Au programme de la séance de ce mardi soir :\nles prix ;\nles salaires ;\nles retraites.",
        # One lost capital in a page whose paragraphs are lines.
        "Il pleut sur la ville depuis hier.\nle vent se lève aussi, dit-on.\nLa mer monte de deux mètres.",
        # Lines that are longer than any width.
        "Le pont est fermé " + "x " * 60 + "\net la route\naussi, selon\nla mairie",
        # Lines that had room for the next word.
        "L'usine dément toute fermeture du site du Nord\nle personnel attend\nla suite des choses depuis mai 2021.",
    ],
)
def test_lines_that_are_paragraphs_stay_so(text: str) -> None:
    assert unwrap(text) == text


@settings(deadline=None)
@given(any_unicode | tricky_text, st.lists(st.integers(0, 50)))
def test_open_quotations_answers_for_any_sentences(text: str, starts: list[int]) -> None:
    for sentences in (segment(text), tuple(Sentence(start, start + 1) for start in starts)):
        assert len(open_quotations(text, sentences)) == len(sentences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("« Il part. Elle reste. Fin », dit-il. Il sort.", "·oo·"),
        ("“Il part. Elle reste”, dit-il. Il sort.", "·o·"),
        ('"Il part. Elle reste", dit-il. Il sort.', "·o·"),
        ('" Il part. Elle reste. " Il sort. Fin.', "·o··"),
        ('"Il part."Le maire sort. Fin.', "···"),
        ("« Il dit “non” et part. Elle reste. » Il sort.", "·o·"),
        ('« Il a vu "un ours". Il court », dit-il. Fin.', "·o·"),
        # A paragraph closes what its author forgot to close, unless the next one opens with a mark.
        ("« Il part. Elle reste.\nLe maire sort. Fin.", "·o··"),
        ("« Il part.\n« Elle reste. Fin. » Il sort.", "·oo·"),
        ('"Il part.\n"Elle reste. Fin." Il sort.', "·oo·"),
        ("« Il part.\r\n\r\n« Elle reste. »", "·o"),
        ("« Il part. »\n« Elle reste. Fin. »", "··o"),
        ("« Il part.\n– « Elle reste. »", "··"),
        # Marks that close nothing, or close with another shape.
        ('Un écran de 27". Un autre de 32"x20". Fin.', "···"),
        ('Il part. Elle reste", dit-il. Fin.', "···"),
        ("« Il part. C'était en 2022″, dit-il. Fin.", "·o·"),
        ("“Il part. Elle reste“, dit-il. Fin.", "·o·"),
        ("L'un d'eux part. L’autre reste. C'est l'\"énarque\". Fin.", "····"),
        ("", ""),
    ],
)
def test_open_quotations(text: str, expected: str) -> None:
    states = open_quotations(text, segment(text))
    assert "".join("o" if state else "·" for state in states) == expected


@pytest.mark.parametrize(
    "unit", [*'"«“. \ud800', '."', "1. ", "a.", "A. ", "a@", "www.", "(...) ", ". « ", ". - ", "\n«", "a a\nb"]
)
def test_long_lines_finish(unit: str) -> None:
    # Quadratic rules would take a minute here; linear ones take a fraction of a second.
    text = unit * (60_000 // len(unit)) + " Fin. Le reste."
    sentences = segment(text)
    assert sentences[-1] == Sentence(len(text) - len("Le reste."), len(text))
    assert len(open_quotations(text, sentences)) == len(sentences)


def test_seed_article_is_cut_as_its_annotators_did() -> None:
    text = SEED.read_bytes().decode()
    rows = SEED.with_suffix(".labels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    gold = {(int(start), int(end)) for start, end, _ in (row.split("\t") for row in rows)}
    found = {(s.start, s.end) for s in segment(text)}
    assert found == gold


@pytest.fixture(scope="module")
def press_f1() -> Callable[[str], float]:
    """Micro F1 of sentence starts against a split of the press layer, whose own splitter has faults."""
    if not PRESS.is_file():
        pytest.skip(f"no press articles at {PRESS}; set SELON_PRESS to articles.jsonl.xz")
    starts = {}
    for split in ("train", "dev"):
        for line in (PRESS.parent / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            article = json.loads(line)
            starts[article["article_id"]] = (split, {s["start"] for s in article["sentences"]})
    counts = {"train": [0, 0], "dev": [0, 0]}  # shared starts; starts in both layers together
    with lzma.open(PRESS, "rt", encoding="utf-8") as lines:
        for article in map(json.loads, lines):
            if article["article_id"] in starts:
                split, gold = starts[article["article_id"]]
                found = {s.start for s in segment(article["text"])}
                counts[split][0] += len(gold & found)
                counts[split][1] += len(gold) + len(found)
    return lambda split: 2 * counts[split][0] / counts[split][1]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_agreement_with_the_press_layer(press_f1: Callable[[str], float], split: str) -> None:
    f1 = press_f1(split)
    assert f1 >= 0.97, f"boundary F1 on {split} is {f1:.4f}"
