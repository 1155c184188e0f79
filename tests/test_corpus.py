"""Labelled articles on disk: the three formats, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.corpus import (
    CorpusError,
    content_key,
    fingerprint,
    join_files,
    read_all,
    read_articles,
    read_text_with_labels,
    statistics,
    to_rows,
)
from train.schema import LABELS, Article, SelonError, Sentence

ROOT = Path(__file__).parent.parent


def row(sentence: int = 0, article_id: str = "a-1", **changes: Any) -> dict[str, Any]:
    return {
        "article_id": article_id,
        "sentence": sentence,
        "paragraph": sentence // 2,
        "text": f"Phrase {sentence}.",
        "label": "claim",
        "title": "Un titre",
        **changes,
    }


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in row().items() if name != key}


def write(folder: Path, *rows: dict[str, Any] | str, name: str = "rows.jsonl", newline: str = "\n") -> Path:
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in rows]
    path = folder / name
    path.write_text("".join(line + newline for line in lines), encoding="utf-8", newline="")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(CorpusError) as caught:
        read_articles(path)
    assert str(caught.value).startswith(caught.value.problems[0])
    return [problem.removeprefix(str(path.parent) + os.sep) for problem in caught.value.problems]


def test_rows_become_an_article(tmp_path: Path) -> None:
    path = write(tmp_path, row(0), row(1, label="denial"), row(2), row(0, "a-2", title="", genre="court"))
    first, second = read_articles(path)
    assert first.text == "Phrase 0. Phrase 1.\nPhrase 2."
    assert first.sentence_texts == ("Phrase 0.", "Phrase 1.", "Phrase 2.")
    assert first.labels == ("claim", "denial", "claim")
    assert first.gold.tolist() == [0, 1, 0]
    assert (first.id, first.title) == ("a-1", "Un titre")
    assert second.metadata == {"genre": "court"}


def test_the_label_error_in_its_exact_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/corpus").mkdir(parents=True)
    write(Path("data/corpus"), *(row(i) for i in range(117)), row(117, label="clam"), name="train.jsonl")
    with pytest.raises(CorpusError) as caught:
        read_articles("data/corpus/train.jsonl")
    assert (
        str(caught.value)
        == 'data/corpus/train.jsonl:118: label "clam" is not one of claim, denial, attribution, background'
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(label=None), "label null is not one of claim, denial, attribution, background"),
        (row(label=7), "label 7 is not one of claim, denial, attribution, background"),
        (row(label=["claim"]), 'label ["claim"] is not one of claim, denial, attribution, background'),
        (row(label="Claim"), 'label "Claim" is not one of claim, denial, attribution, background'),
        (without("label"), "label: Field required"),
        (row(text=None), "text: Input should be a valid string"),
        (row(text=""), "text is empty"),
        (row(text=" \u00a0"), "text is empty"),
        (row(text="Une.\nDeux."), "text must be one line without white space at its ends"),
        (row(text="Une.\u2028Deux."), "text must be one line without white space at its ends"),
        (row(text="Une. "), "text must be one line without white space at its ends"),
        (without("text"), "text: Field required"),
        (row(article_id=""), "article_id: String should have at least 1 character"),
        (row(article_id=3), "article_id: Input should be a valid string"),
        (row(sentence=True), "sentence: Input should be a valid integer"),
        (row(sentence=-1), "sentence: Input should be greater than or equal to 0"),
        (row() | {"sentence": "0"}, "sentence: Input should be a valid integer"),
        (row(lable="claim"), "lable: Extra inputs are not permitted"),
        (row(annotations={"author": "clam"}), "annotations.author: Input should be 'claim', 'denial', "),
        ('{"article_id": "a-1"', "no valid JSON: Expecting ',' delimiter at column 21"),
        ("[1, 2]", "a row is a JSON object, not [1, 2]"),
        ("null", "a row is a JSON object, not null"),
    ],
)
def test_a_bad_row_is_named_by_line(tmp_path: Path, bad: dict[str, Any] | str, message: str) -> None:
    path = write(tmp_path, row(0, "before"), bad, row(0, "after"))
    [problem] = problems(path)
    assert problem.startswith(f"rows.jsonl:2: {message}")


def test_every_problem_of_a_file_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path, row(0, label="x"), row(1), row(2, text=""), row(3, text=None))
    assert [p.split(": ")[0] for p in problems(path)] == ["rows.jsonl:1", "rows.jsonl:3", "rows.jsonl:4"]
    with pytest.raises(CorpusError, match=r"\(and 2 more; `selon corpus check`\)$"):
        read_articles(path)
    path = write(tmp_path, "{", row(0), "[]")
    assert [p.split(": ")[0] for p in problems(path)] == ["rows.jsonl:1", "rows.jsonl:3"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0), row(2)], "rows.jsonl:2: sentence 2 of a-1 should be 1"),
        ([row(1)], "rows.jsonl:1: sentence 1 of a-1 should be 0"),
        ([row(0), row(0)], "rows.jsonl:2: sentence 0 of a-1 should be 1"),
        ([row(0), row(0, "a-2"), row(1)], "rows.jsonl:3: sentence 1 of a-1 should be 0: an article's rows stand tog"),
        ([row(0), row(0, "a-2"), row(0)], "rows.jsonl:3: article a-1 already stands at line 1"),
        ([row(0), row(1, title="Autre")], "rows.jsonl:2: a-1 has another title, genre, topic or style here"),
        ([row(0, paragraph=1), row(1, paragraph=0)], "rows.jsonl:2: paragraph numbers of a-1 run backwards"),
    ],
)
def test_rows_that_do_not_make_articles(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    [problem] = problems(write(tmp_path, *rows))
    assert problem.startswith(message)


def test_a_byte_order_mark_crlf_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    plain = read_articles(write(tmp_path, row(0), row(1)))
    odd = tmp_path / "odd.jsonl"
    odd.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(json.dumps(row(i)).encode() for i in range(2)))
    assert read_articles(odd) == plain
    odd.write_text(odd.read_text(encoding="utf-8-sig").replace("claim", "clam"), encoding="utf-8", newline="")
    assert [problem.split(": ")[0] for problem in problems(odd)] == ["odd.jsonl:1", "odd.jsonl:3"]


def test_files_that_are_no_corpus(tmp_path: Path) -> None:
    assert problems(write(tmp_path)) == ["rows.jsonl: the file holds no rows"]
    assert problems(write(tmp_path, "", " ")) == ["rows.jsonl: the file holds no rows"]
    with pytest.raises(CorpusError, match="the file holds no rows"):
        join_files([write(tmp_path)], None, partial=True)
    with pytest.raises(SelonError, match="there is no such file; name a labelled"):
        read_articles(tmp_path / "absent.jsonl")
    with pytest.raises(SelonError, match=r"no \.txt with its \.labels\.tsv in this folder"):
        read_articles(tmp_path)
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xe9"}')
    with pytest.raises(SelonError, match=r"latin\.jsonl: not UTF-8 at byte 10; save the file as UTF-8"):
        read_articles(tmp_path / "latin.jsonl")


@pytest.mark.parametrize("key", ["text", "title"])
def test_a_lone_surrogate_is_refused(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, json.dumps(row(**{key: "\ud800."})))
    assert problems(path) == [
        "rows.jsonl:1: text holds half a character (a lone surrogate), which no file or tokenizer takes"
    ]


def test_read_all_refuses_an_id_in_two_files(tmp_path: Path) -> None:
    one, two = (
        write(tmp_path, row(0), name="one.jsonl"),
        write(tmp_path, row(0, "a-2"), row(0, "a-3"), name="two.jsonl"),
    )
    assert [a.id for a in read_all([one, two])] == ["a-1", "a-2", "a-3"]
    with pytest.raises(SelonError, match=r"three\.jsonl: article a-2 is also in .*two\.jsonl; remove one"):
        read_all([one, two, write(tmp_path, row(0, "a-2"), name="three.jsonl")])


# Rows that articles can be made of: any line of text that is not white space at an end.
lines = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and len(text.splitlines()) == 1
)
sentences = st.lists(st.tuples(lines, st.sampled_from(LABELS), st.booleans()), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(sentences, lines)
def test_rows_are_read_back_to_the_code_point(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, Any, bool]], title: str
) -> None:
    paragraph, rows = 0, []
    for number, (text, label, breaks) in enumerate(written):
        paragraph += breaks
        rows.append(row(number, text=text, label=label, paragraph=paragraph, title=title, genre="live"))
    folder = tmp_path_factory.getbasetemp()
    [article] = read_articles(write(folder, *rows))
    assert article.sentence_texts == tuple(text for text, _, _ in written)
    assert article.labels == tuple(label for _, label, _ in written)
    assert article.text.count("\n") == sum(breaks for _, _, breaks in written[1:])
    again = [json.loads(json.dumps(r)) for r in to_rows([article])]
    assert [r["label"] for r in again] == [label for _, label, _ in written]
    assert [r["text"] for r in again] == [" ".join(text.split()) for text, _, _ in written]
    if all(text == " ".join(text.split()) for text, _, _ in written):
        assert fingerprint(read_articles(write(folder, *again))) == fingerprint([article])
        assert read_articles(write(folder, *again))[0].metadata == {"genre": "live"}


def test_to_rows_asks_for_labels() -> None:
    with pytest.raises(SelonError, match="article x carries no labels"):
        list(to_rows([Article("x", "Une.", (Sentence(0, 4),))]))


def labelled_text(folder: Path, table: str, text: str = "Une. Deux.\r\nTrois.") -> Path:
    (folder / "t.txt").write_text(text, encoding="utf-8", newline="")
    (folder / "t.labels.tsv").write_text(table, encoding="utf-8", newline="")
    return folder / "t.txt"


def test_text_with_labels_keeps_offsets(tmp_path: Path) -> None:
    path = labelled_text(tmp_path, "start\tend\tlabel\n0\t4\tclaim\n5\t10\tdenial\n12\t18\tbackground\n")
    article = read_text_with_labels(path)
    assert article.sentence_texts == ("Une.", "Deux.", "Trois.")
    assert article.labels == ("claim", "denial", "background")
    assert (article.id, article.text) == ("t", "Une. Deux.\r\nTrois.")
    assert read_articles(tmp_path) == read_articles(path) == [article]
    odd = labelled_text(
        tmp_path, '\ufeffstart\tend\tlabel\tnote\r\n0\t4\tclaim\tx"y\r\n5\t10\tdenial\r\n12\t18\tbackground'
    )
    assert read_text_with_labels(odd) == article


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("start\tend\tlabel\n0\t4\tclam\n", 't.labels.tsv:2: label "clam" is not one of claim, denial, attribution, '),
        ("start\tend\tlabel\n\n\n0\tx\tclaim\n", "t.labels.tsv:4: invalid literal for int() with base 10: 'x'"),
        ("start\tend\tlabel\n0\n", "t.labels.tsv:2: invalid literal for int()"),
        ("start\tend\tlabel\n0\t4\n", 't.labels.tsv:2: label "" is not one of'),
        ("start\tend\tlabel\n0\t4\tclaim\n3\t6\tclaim\n", "t.labels.tsv:3: 3-6 is empty, overlaps or leaves t.txt"),
        ("start\tend\tlabel\n4\t4\tclaim\n", "t.labels.tsv:2: 4-4 is empty, overlaps or leaves t.txt"),
        ("start\tend\tlabel\n-1\t4\tclaim\n", "t.labels.tsv:2: -1-4 is empty, overlaps or leaves t.txt"),
        ("start\tend\tlabel\n0\t99\tclaim\n5\t10\tclaim\n", "t.labels.tsv:2: 0-99 is empty, overlaps or leaves t.txt"),
        ("start\tend\tlabel\n10\t12\tclaim\n", "t.labels.tsv:2: the sentence holds white space only"),
        ("start,end,label\n0,4,claim\n", "t.labels.tsv:1: the columns are start, end, label, separated by tabs"),
        ("0\t4\tclaim\n", "t.labels.tsv:1: the columns are start, end, label, separated by tabs"),
        ("start\tend\tlabel\n", "t.labels.tsv: no labelled sentences"),
        ("", "t.labels.tsv:1: the columns are start, end, label, separated by tabs"),
    ],
)
def test_a_wrong_table_is_named_by_line(tmp_path: Path, table: str, message: str) -> None:
    [problem] = problems(labelled_text(tmp_path, table))
    assert problem.startswith(message)


def test_a_text_without_its_table(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Une.", encoding="utf-8")
    with pytest.raises(
        SelonError, match=r"t\.labels\.tsv: there is no such file; the labels of t\.txt stand beside it"
    ):
        read_articles(tmp_path / "t.txt")


def test_the_seed_article() -> None:
    [article] = read_articles(ROOT / "seeds")
    assert len(article) == 23
    assert "".join("".join(article.sentence_texts).split()) == "".join(article.text.split())


def test_the_fingerprint_covers_all_that_is_learnt_from(tmp_path: Path) -> None:
    articles = read_articles(write(tmp_path, row(0), row(1), row(0, "a-2", text="Autre.")))
    name = fingerprint(articles)
    assert fingerprint(articles[::-1]) == name
    first = articles[0]
    for changed in (
        replace(first, text=first.text.replace("0", "9")),
        replace(first, labels=("claim", "denial")),
        replace(first, sentences=(Sentence(0, 9), Sentence(10, 18))),
        replace(first, title="Autre"),
        replace(first, id="a-9"),
    ):
        assert fingerprint([changed, articles[1]]) != name
    assert fingerprint(articles[:1]) != name


def test_the_content_key_ignores_id_spaces_and_composition() -> None:
    a = Article("a", "L'été. Fini.", (Sentence(0, 6), Sentence(7, 12)))
    b = Article("b", "L'e\u0301te\u0301.\n\n\u00a0Fini.", (Sentence(0, 8), Sentence(11, 16)))
    assert content_key(a) == content_key(b)
    assert content_key(a) != content_key(replace(a, text="L'ète. Fini."))


def test_statistics_count(tmp_path: Path) -> None:
    rows = [row(0, label="denial", genre="court"), row(1, text="Oui.", genre="court"), row(0, "a-2", style="scraped")]
    table = statistics(read_articles(write(tmp_path, *rows)))
    assert table == {
        "articles": 2,
        "sentences": 3,
        "sentences per article": 1.5,
        "median characters per sentence": 9,
        "labels": {"claim": 2, "denial": 1, "attribution": 0, "background": 0},
        "genre": {"court": 1},
        "style": {"scraped": 1},
    }
    assert statistics([])["sentences"] == 0
