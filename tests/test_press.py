"""Stand-off labels find their text again: the same text, glued copies, damaged files; and the real press layer."""

from __future__ import annotations

import hashlib
import itertools
import json
import lzma
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.corpus import join_files, read_all, read_articles, read_unlabelled
from train.metrics import NATURAL_SHARES
from train.press import Document, Joined, StandoffArticle, join, read_documents, text_source
from train.schema import LABELS, Article, SelonError, Sentence
from train.segmentation import segment

ROOT = Path(__file__).parent.parent
DEV = ROOT / "data/press/dev.jsonl"
PRESS_LAYER = ["train", "train-2", "train-3", "train-4", "train-5", "validation", "test", "dev"]
PRESS = Path(os.environ.get("SELON_PRESS", ROOT.parent / "shared/press/articles.jsonl.xz"))
needs_press = pytest.mark.skipif(not PRESS.is_file(), reason="the press text is not here: set SELON_PRESS")

TITLE = "Deux symboles à terre"
PARAGRAPHS = (
    "Les « deux symboles » sont tombés.",
    "Personne n’a crié, dit le maire. Non. Le préfet dément tout symbole.",
    "A moins d’un\u00a0miracle, l’été sera long. Non.",
)


@pytest.fixture(autouse=True)
def _no_press_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SELON_PRESS", raising=False)


def standoff(text: str, article_id: str = "orange_7", stratum: str = "random") -> dict[str, Any]:
    """Make the line of a stand-off file, as data/press/README.md describes it."""
    sentences = []
    for number, span in enumerate(segment(text)):
        squeezed = "".join(unicodedata.normalize("NFC", text[span.start : span.end]).split())
        sha = hashlib.sha256(squeezed.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        label = LABELS[number % 4]
        sentences.append({"start": span.start, "end": span.end, "label": label, "n": len(squeezed), "sha": sha})
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {"article_id": article_id, "stratum": stratum, "sha256": digest, "sentences": sentences}


def labels_file(folder: Path, *articles: dict[str, Any]) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(article) + "\n" for article in articles), encoding="utf-8")
    return path


def orange(folder: Path, number: int = 7, **fields: Any) -> Path:
    """Write a document as OrangeSum's data/docs/parsed has it: the article's paragraphs glued together."""
    parsed = folder / "data/docs/parsed"
    parsed.mkdir(parents=True, exist_ok=True)
    document = {"title": TITLE, "heading": PARAGRAPHS[0], "article": "".join(PARAGRAPHS[1:]), "date": "2020-01-01"}
    (parsed / f"{number}.json").write_text(json.dumps(document | fields), encoding="utf-8")
    return folder


def join_one(source: Path, text: str = "\n".join(PARAGRAPHS), partial: bool = False) -> Joined:
    labels = Path("labels.jsonl")
    return join({labels: [StandoffArticle.model_validate(standoff(text))]}, source, partial)[labels]


def test_articles_without_labels(tmp_path: Path) -> None:
    source = tmp_path / "articles.jsonl"
    rows = [{"article_id": "orange_7", "title": TITLE, "text": "Oui. Non."}, {"text": "Si."}, {"text": " "}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first, second = read_unlabelled(source)
    assert first == Article("orange_7", "Oui. Non.", (Sentence(0, 4), Sentence(5, 9)), title=TITLE)
    assert (second.id, second.labels) == ("articles:2", None)
    assert read_unlabelled(tmp_path) == [first, replace(second, id=f"{tmp_path.stem}:2")]
    ids = tmp_path / "some.txt"
    ids.write_text("orange_7\n", encoding="utf-8")
    assert read_unlabelled(ids, source) == [first]
    ids.write_text("orange_7\norange_8\n", encoding="utf-8")
    with pytest.raises(SelonError, match=r"some\.txt: 1 of 2 ids \(orange_8, …\) are not in the press text"):
        read_unlabelled(ids, source)
    for wrong, said in ((b"\xe9", "not UTF-8 at byte 0"), (b"\xef\xbb\xbf\n", "no id in it")):
        ids.write_bytes(wrong)
        with pytest.raises(SelonError, match=said):
            read_unlabelled(ids, source)
    ids.unlink()
    for name in ("none.jsonl", "articles.jsonl.gz"):
        with pytest.raises(SelonError, match=r"name a \.jsonl, \.jsonl\.xz or \.parquet file of articles, a folder of"):
            read_unlabelled(tmp_path / name)
    for wrong, said in (('{"text": " "}', "no article"), ('{"text": "Oui.", "title": "\\ud800"}', "half a character")):
        source.write_text(wrong, encoding="utf-8")
        with pytest.raises(SelonError, match=said):
            read_unlabelled(source)


def test_several_files_are_joined_by_one_reading_of_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, read = tmp_path / "articles.jsonl", []
    rows = [{"article_id": name, "text": text} for name, text in (("orange_1", "Oui. Non."), ("orange_2", "Si."))]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    one, two, written = (tmp_path / name for name in ("one.jsonl", "two.jsonl", "written.jsonl"))
    labels_file(tmp_path, standoff("Oui. Non.", "orange_1")).rename(one)
    labels_file(tmp_path, standoff("Si.", "orange_2")).rename(two)
    written.write_text(
        json.dumps({"article_id": "w", "sentence": 0, "text": "Là.", "label": "claim"}), encoding="utf-8"
    )

    def counted(place: Path) -> Iterator[Document]:
        read.append(place)
        return read_documents(place)

    monkeypatch.setattr("train.press.read_documents", counted)
    articles = read_all([two, written, one], source)
    assert [(article.id, article.text) for article in articles] == [
        ("orange_2", "Si."),
        ("w", "Là."),
        ("orange_1", "Oui. Non."),
    ]
    assert read == [source]
    with pytest.raises(SelonError, match=r"one\.jsonl: is named twice; name it once"):
        read_all([one, one], source)
    source.write_text(json.dumps(rows[0]), encoding="utf-8")
    with pytest.raises(SelonError, match=r"two\.jsonl: 1 of 1 sentences are not in .*articles\.jsonl"):
        read_all([one, two], source)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.xz"])
def test_the_same_text_is_joined_by_offset(tmp_path: Path, suffix: str) -> None:
    text = "\n".join(PARAGRAPHS).replace("é", "e\u0301")  # offsets hold in the raw text, not in its NFC
    lines = "\n\n".join(
        json.dumps(d) for d in [{"article_id": "x"}, {"article_id": "orange_7", "title": TITLE, "text": text}]
    )
    source = tmp_path / f"articles{suffix}"
    source.write_bytes(lzma.compress(lines.encode()) if suffix.endswith("xz") else lines.encode("utf-8-sig"))
    [article] = read_articles(labels_file(tmp_path, standoff(text)), source)
    assert article.text == text
    assert article.sentences == segment(text)
    assert article.labels == ("claim", "denial", "attribution", "background", "claim", "denial")
    assert (article.id, article.title, article.stratum) == ("orange_7", TITLE, "random")


def test_offsets_that_do_not_fit_their_hash_are_not_believed(tmp_path: Path) -> None:
    text = "\n".join(PARAGRAPHS)
    source = tmp_path / "articles.jsonl"
    source.write_text(json.dumps({"article_id": "orange_7", "text": text}), encoding="utf-8")
    wrong = standoff(text)
    wrong["sentences"][1]["end"] += 3
    with pytest.raises(SelonError, match=r"labels\.jsonl: 1 of 6 sentences are not in .*articles\.jsonl; "):
        read_articles(labels_file(tmp_path, wrong), source)


def test_a_folder_of_glued_orangesum_documents(tmp_path: Path) -> None:
    source = orange(orange(tmp_path), 8, article="Autre article.")
    joined = join_one(source)
    assert (joined.found, joined.wanted) == (6, 6)
    [article] = joined.articles
    assert article.text == f"{PARAGRAPHS[0]}\n{PARAGRAPHS[1]}{PARAGRAPHS[2]}"
    assert [" ".join(text.split()) for text in article.sentence_texts] == [
        "Les « deux symboles » sont tombés.",
        "Personne n’a crié, dit le maire.",
        "Non.",
        "Le préfet dément tout symbole.",
        "A moins d’un miracle, l’été sera long.",
        "Non.",
    ]
    assert join_one(source / "data/docs/parsed").found == 6


@pytest.mark.parametrize("form", ["jsonl", "folder of jsonl", "parquet", "folder of parquet"])
def test_downloads_without_ids_are_matched_by_content(tmp_path: Path, form: str) -> None:
    rows = [{"text": f"Article {i}. Non. Rien à voir avec cela.", "summary": "Un chapeau."} for i in range(5)]
    rows.insert(3, {"text": "".join(PARAGRAPHS[1:]), "summary": PARAGRAPHS[0]})
    folder = tmp_path / "download/abstract"
    folder.mkdir(parents=True)
    if form.endswith("parquet"):
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        source = folder / "train.parquet"
        pq.write_table(pa.Table.from_pylist(rows), source)
    else:
        source = folder / "train.jsonl"
        source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    joined = join_one(source.parent if form.startswith("folder") else source)
    assert joined.found == 6
    assert joined.articles[0].id == "orange_7"


def test_a_short_sentence_that_stands_elsewhere_leads_nobody_astray(tmp_path: Path) -> None:
    """The first « Non. » is missing from the copy; the second must not be taken for it, nor end the search."""
    source = orange(tmp_path, article=("".join(PARAGRAPHS[1:])).replace("maire. Non. ", "maire. ", 1))
    joined = join_one(source, partial=True)
    texts = joined.articles[0].sentence_texts
    assert (joined.found, joined.wanted) == (5, 6)
    assert "Le préfet dément tout symbole." in texts
    assert texts[-1] == "Non."


def test_other_captions_change_nothing(tmp_path: Path) -> None:
    source = orange(tmp_path, article="(Photo : AFP)" + "\u2022 Lire aussi".join(PARAGRAPHS[1:]) + "Non.")
    assert join_one(source).found == 6


def test_what_is_missing_is_told_or_left_out(tmp_path: Path) -> None:
    source = orange(tmp_path, article=PARAGRAPHS[2])
    with pytest.raises(SelonError) as caught:
        join_one(source)
    assert str(caught.value) == (
        f"labels.jsonl: 3 of 6 sentences are not in {source}; `selon corpus join --partial` keeps what is found"
    )
    joined = join_one(source, partial=True)
    assert (joined.found, joined.wanted) == (3, 6)
    assert len(joined.articles[0]) == len(joined.articles[0].labels or ()) == 3
    nothing = join_one(orange(tmp_path / "other", 9), partial=True)
    assert (nothing.articles, nothing.found, nothing.wanted) == ([], 0, 6)


words = st.text("abcdeéÉ’« .", min_size=1, max_size=30).map(lambda text: " ".join(text.split()) or "a")
paragraph = st.lists(words, min_size=1, max_size=4).map(
    lambda parts: ". ".join(part.capitalize() for part in parts) + "."
)


@settings(deadline=None, max_examples=60)
@given(st.lists(paragraph, min_size=1, max_size=5), st.sampled_from(["", " ", "\n\n", "\u00a0"]), st.booleans())
def test_any_article_is_found_whatever_glues_it(
    tmp_path_factory: pytest.TempPathFactory, paragraphs: list[str], glue: str, decomposed: bool
) -> None:
    copy = glue.join(paragraphs)
    source = tmp_path_factory.getbasetemp() / "any.jsonl"
    text = unicodedata.normalize("NFD", copy) if decomposed else copy
    source.write_text(json.dumps({"article_id": "orange_7", "text": text}), encoding="utf-8")
    original = "\n".join(paragraphs)
    joined = join_one(source, original)
    [article] = joined.articles
    assert joined.found == joined.wanted == len(segment(original))
    assert [bare(t) for t in article.sentence_texts] == [bare(original[s.start : s.end]) for s in segment(original)]
    ends = [0, *(sentence.end for sentence in article.sentences)]
    assert all(end <= sentence.start for end, sentence in zip(ends, article.sentences, strict=False))


def bare(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.xz", b"no xz", "a.jsonl.xz: cannot be read after line 0 "),
        ("a.jsonl.xz", lzma.compress(b'{"text": "a"}\n' * 9999)[:60], "a.jsonl.xz: cannot be read after line "),
        ("a.jsonl.xz", b"", "a.jsonl.xz: cannot be read after line 0 "),
        ("a.jsonl", b"", "labels.jsonl: 6 of 6 sentences are not in "),
        ("a.jsonl", b'{"text": "a"}\n\n{"text"', "a.jsonl:3: no valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9"}', "a.jsonl: cannot be read after line "),
        ("a.jsonl", b"[]\n", "a.jsonl: cannot be read after line 1 (an article is a JSON object)"),
        ("a.jsonl", b'{"text": ["a"]}\n', "a.jsonl: cannot be read after line 1 (text: text is wanted)"),
        ("a.parquet", b"no parquet", "a.parquet: cannot be read "),
        ("7.json", b"{", "7.json: cannot be read "),
        ("7.json", b"[]", "7.json: cannot be read (an article is a JSON object)"),
        ("notes.txt", b"x", "no N.json, .parquet or .jsonl of press articles in this folder"),
    ],
)
def test_damaged_sources_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SelonError) as caught:
        join_one(tmp_path / name if name.startswith("a.") else tmp_path)
    assert message in str(caught.value)


def test_a_truncated_archive_says_how_far_it_was_read(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"article_id": str(i), "text": os.urandom(400).hex()}) + "\n" for i in range(300))
    path = tmp_path / "articles.jsonl.xz"
    path.write_bytes(lzma.compress(lines.encode())[:-2000])
    with pytest.raises(
        SelonError, match=r"articles\.jsonl\.xz: cannot be read after line (?!0 )\d+ \(.*get the file again"
    ):
        list(read_documents(path))


def test_where_the_text_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SelonError, match=r"these labels \(or ids\) come without their text: set SELON_PRESS"):
        text_source(None)
    with pytest.raises(SelonError, match="absent: the press text is not there"):
        text_source(tmp_path / "absent")
    monkeypatch.setenv("SELON_PRESS", str(tmp_path / "absent"))
    assert text_source(str(tmp_path)) == tmp_path
    monkeypatch.setenv("SELON_PRESS", str(tmp_path))
    assert text_source(None) == tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentences": []}, "sentences: Tuple should have at least 1 item"),
        ({"sha256": None}, "sha256: Input should be a valid string"),
        (
            {"sentences": [{"start": 0, "end": 4, "label": "clam", "n": 4, "sha": "x"}]},
            "sentences.0.label: Input should",
        ),
    ],
)
def test_broken_stand_off_lines(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = labels_file(tmp_path, standoff("Une."), standoff("Deux.", "b") | change)
    with pytest.raises(SelonError) as caught:
        join_files([path], tmp_path, partial=True)
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_an_article_twice(tmp_path: Path) -> None:
    path = labels_file(tmp_path, standoff("Une."), standoff("Une."))
    with pytest.raises(SelonError, match=r"labels\.jsonl:2: article orange_7 already stands at line 1"):
        join_files([path], tmp_path, partial=True)


def test_the_natural_shares_are_those_of_the_random_stratum() -> None:
    counts: Counter[str] = Counter()
    with (ROOT / "data/press/train.jsonl").open(encoding="utf-8") as file:
        for article in map(StandoffArticle.model_validate_json, file):
            if article.stratum == "random":
                counts.update(sentence.label for sentence in article.sentences)
    shares = np.array([counts[label] for label in LABELS]) / counts.total()
    assert counts.total() == 6808
    np.testing.assert_allclose(NATURAL_SHARES, shares, atol=5e-5)


@pytest.mark.parametrize("name", PRESS_LAYER)
def test_the_committed_press_layer_holds_no_text(name: str) -> None:
    allowed = {"article_id", "stratum", "sha256", "sentences", "start", "end", "label", "n", "sha", "annotations"}
    with (ROOT / f"data/press/{name}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            article = json.loads(line)
            assert {*article, *(key for sentence in article["sentences"] for key in sentence)} <= allowed
            spans = [(s["start"], s["end"]) for s in article["sentences"]]
            assert all(start < end for start, end in spans)
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_no_article_stands_in_two_files_of_the_press_layer() -> None:
    files = [(ROOT / f"data/press/{name}.jsonl").read_text(encoding="utf-8").splitlines() for name in PRESS_LAYER]
    ids = [json.loads(line)["article_id"] for lines in files for line in lines]
    assert len(ids) == 2947 + 2188 + 704 + 200
    ids += (ROOT / "data/press/unlabelled.txt").read_text(encoding="utf-8").split()
    assert len(set(ids)) == len(ids) == 2947 + 2188 + 704 + 200 + 2000


@pytest.mark.parametrize(
    ("name", "size", "disputes"), [("train-2", 17262, 564), ("train-3", 17907, 599), ("test", 3495, 88)]
)
def test_two_annotators_who_agree_are_not_overruled(name: str, size: int, disputes: int) -> None:
    with (ROOT / f"data/press/{name}.jsonl").open(encoding="utf-8") as file:
        sentences = [sentence for line in file for sentence in json.loads(line)["sentences"]]
    disputed = [one for one in sentences if len(set(one["annotations"])) == 2]
    assert (len(sentences), len(disputed)) == (size, disputes)
    assert all(one["label"] in one["annotations"] for one in disputed)
    assert all(one["label"] == one["annotations"][0] for one in sentences if len(set(one["annotations"])) == 1)


@pytest.mark.parametrize(("name", "size", "overruled"), [("train-4", 36000, 162), ("train-5", 13000, 120)])
def test_one_annotator_was_seldom_overruled(name: str, size: int, overruled: int) -> None:
    with (ROOT / f"data/press/{name}.jsonl").open(encoding="utf-8") as file:
        sentences = [sentence for line in file for sentence in json.loads(line)["sentences"]]
    assert len(sentences) == size
    assert sum(one["label"] != one["annotations"][0] for one in sentences) == overruled


@pytest.fixture(scope="module")
def press_rows() -> dict[str, dict[str, str]]:
    """The articles of dev and 300 others."""
    wanted = {article["article_id"] for article in map(json.loads, DEV.read_text(encoding="utf-8").splitlines())}
    rows = {}
    with lzma.open(PRESS, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number < 300 or any(f'"{article_id}"' in line[:40] for article_id in wanted):
                row = json.loads(line)
                rows[row["article_id"]] = row
    return rows


@needs_press
@pytest.mark.parametrize("form", ["ids", "no ids"])
def test_the_press_layer_is_found_in_glued_copies(
    tmp_path: Path, press_rows: dict[str, dict[str, str]], form: str
) -> None:
    """OrangeSum's own form, with a caption put in, as copies differ; and a download without ids."""
    rng = random.Random(13)
    if form == "no ids":
        source = tmp_path / "download.jsonl"
        with source.open("w", encoding="utf-8") as file:
            for row in press_rows.values():
                heading, *paragraphs = row["text"].split("\n")
                file.write(json.dumps({"summary": heading, "text": "".join(paragraphs)}) + "\n")
    else:
        for row in press_rows.values():
            heading, *paragraphs = row["text"].split("\n")
            paragraphs.insert(rng.randint(0, len(paragraphs)), "(Crédit photo : archives)")
            number = int(row["article_id"].removeprefix("orange_"))
            orange(tmp_path, number, heading=heading, article="".join(paragraphs))
        source = tmp_path
    joined = join_files([DEV], source, partial=True)[DEV]
    assert joined.wanted == 299
    assert joined.found >= 0.97 * joined.wanted
    labelled = {
        article["article_id"]: article for article in map(json.loads, DEV.read_text(encoding="utf-8").splitlines())
    }
    for article in joined.articles:
        text, sentences = press_rows[article.id]["text"], labelled[article.id]["sentences"]
        assert {bare(t) for t in article.sentence_texts} <= {bare(text[s["start"] : s["end"]]) for s in sentences}
