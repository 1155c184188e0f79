"""Splits by article: near-duplicates are seen and stay together, folds are disjoint and cover."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.schema import LABELS, Article, Label, SelonError, Sentence
from train.splits import grouped_folds, groups, leakage, near_duplicates, without_reprints


def article(article_id: str, *texts: str, labels: tuple[Label, ...] | None = None) -> Article:
    text, sentences = "", []
    for sentence in texts:
        text += " " * bool(text)
        sentences.append(Sentence(len(text), len(text) + len(sentence)))
        text += sentence
    return Article(article_id, text, tuple(sentences), labels or ("claim",) * len(texts))


def story(number: int, length: int = 60) -> list[str]:
    """Six sentences of words that no other story has in this order."""
    rng = random.Random(number)
    words = [f"mot{rng.randint(0, 500)}" for _ in range(length)]
    return [" ".join(words[i : i + 10]) + "." for i in range(0, length, 10)]


def test_a_reprint_is_near_and_another_story_is_not() -> None:
    first = article("a", *story(1))
    reprint = article("b", "Un chapeau à eux.", *(t.upper() for t in story(1)[1:5]), "Une fin d’ailleurs.")
    quoting = article("c", *story(2), story(1)[0])
    assert near_duplicates([first, article("d", *story(3)), reprint, quoting]) == [(0, 2)]


def test_a_line_that_closes_every_article_pairs_none_and_many_prints_of_a_story_are_one_group() -> None:
    furniture = "Abonnez-vous dès maintenant pour lire la suite de cet article et tous les autres."
    outlet = [article(f"o{n}", *story(n), furniture) for n in range(100)]
    assert near_duplicates(outlet) == []
    prints = [article(f"p{n}", *story(200), f"Une fin à eux, la {n}e.") for n in range(100)]
    assert len(set(groups([*outlet, *prints]))) == 101


def test_a_short_article_inside_a_long_one_is_near() -> None:
    assert near_duplicates([article("a", *story(1, 300)), article("b", *story(1, 300)[10:12])]) == [(0, 1)]


def test_articles_too_short_for_shingles_are_near_only_when_equal() -> None:
    short = [article("a", "Trois mots ici."), article("b", "Trois  mots ici."), article("c", "Trois mots là.")]
    assert near_duplicates(short) == [(0, 1)]
    assert near_duplicates([]) == []


def test_reprints_of_held_out_articles_are_left_out() -> None:
    held_out = [article("a", *story(1)), article("s", "Trois mots ici.")]
    others = [
        article("b", *story(1)[1:4]),
        article("c", *story(2)),
        article("d", "Trois  mots ici."),
        article("e", "Non."),
    ]
    assert [one.id for one in without_reprints(others, held_out)] == ["c", "e"]
    assert without_reprints(others, []) == others


def test_groups_join_chains() -> None:
    a, b, c = story(1), story(2), story(3)
    articles = [article("a", *a), article("x", *story(9)), article("c", *c, *b), article("b", *a, *b)]
    group = groups(articles)
    assert group[0] == group[2] == group[3] != group[1]


def test_leakage_is_told_by_wording_and_by_id() -> None:
    train = [article("a", *story(1)), article("b", *story(2)), article("c", *story(2))]
    test = [article("x", *story(1)[:4]), article("b", *story(5))]
    assert leakage({"train": train, "test": test, "seed": [article("s", *story(7))]}) == [
        "x of test is near to a of train: keep it in one split only",
        "b of test has the id of b of train: keep it in one split only",
    ]
    assert leakage({"train": train, "test": [article("y", *story(6))]}) == []


fold_articles = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.sampled_from(LABELS), min_size=1, max_size=6)), min_size=8, max_size=16
)


@settings(deadline=None, max_examples=25)
@given(fold_articles, st.integers(0, 5))
def test_folds_are_disjoint_cover_and_part_no_story(drawn: list[tuple[int, list[Label]]], seed: int) -> None:
    """The same number is the same story, so articles that share one must share a fold."""
    articles = [
        article(f"{place}-{number}", *story(number)[: len(labels)], labels=tuple(labels))
        for place, (number, labels) in enumerate(drawn)
    ]
    different = len(set(groups(articles)))
    labels = [label for _, given_labels in drawn for label in given_labels]
    if different < 2 or max(map(labels.count, LABELS)) < 2:
        with pytest.raises(SelonError, match="2 folds"):
            list(grouped_folds(articles, 2, seed))
        return
    folds = list(grouped_folds(articles, 2, seed))
    assert sorted(a.id for _, held in folds for a in held) == sorted(a.id for a in articles)
    for rest, held in folds:
        assert {a.id for a in rest} | {a.id for a in held} == {a.id for a in articles}
        assert rest
        assert held
        assert leakage({"train": rest, "held out": held}) == []


def test_folds_have_like_shares_of_labels_and_the_seed_decides() -> None:
    labels: tuple[Label, ...] = ("claim", "background", "attribution", "denial", "claim", "background")
    articles = [article(str(n), *story(n), labels=labels if n % 3 else ("background",) * 6) for n in range(30)]
    folds = [[a.id for a in held] for _, held in grouped_folds(articles, 5, 1)]
    assert folds == [[a.id for a in held] for _, held in grouped_folds(articles, 5, 1)]
    assert folds != [[a.id for a in held] for _, held in grouped_folds(articles, 5, 2)]
    assert [sum("denial" in (articles[int(i)].labels or ()) for i in fold) for fold in folds] == [4] * 5


def test_too_many_folds_are_refused() -> None:
    same = [replace(article("a", *story(1)), id=str(i)) for i in range(4)]
    with pytest.raises(SelonError, match="3 folds want as many different articles; there are 2: ask for fewer"):
        list(grouped_folds([*same, article("b", *story(2))], 3, 0))
    with pytest.raises(SelonError, match="3 folds: no label has as many sentences"):
        list(grouped_folds([article(str(n), f"Mot {n}.", labels=(LABELS[n],)) for n in range(4)], 3, 0))
