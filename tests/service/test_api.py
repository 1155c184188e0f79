"""POST /v1/label and GET /v1/model: what is answered, and what is said of input that will not do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from train import __version__
from train.corpus import read_articles
from train.cues import find_cues
from train.labeller import Labeller
from train.labelling.rows import Labelled, rows_of
from train.labelling.sources import Source
from train.schema import LABELS
from train.service.rendering import cut
from train.service.served import Keeper

SEED = Path(__file__).parents[2] / "seeds/000_67de78d66b7b359b.txt"
TEXT = "Le maire dément la grève 🙂.\r\nE\u0301mile, selon le pont, est vert. Fin\u2028« C'est une honte »."


def _label(client: TestClient, **body: Any) -> Any:
    response = client.post("/v1/label", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_seed_article_is_labelled_as_on_the_command_line(client: TestClient, folder: Path) -> None:
    with SEED.open(encoding="utf-8", newline="") as file:
        text = file.read()
    answer = _label(client, text=text, title="Un titre", id="graine")
    labeller = Labeller.open(folder)
    source = Source("graine", text, title="Un titre")
    rows = list(rows_of(Labelled(source, *labeller.label(text, "Un titre"))))
    assert answer["model"] == {"name": "tfidf", "version": None, "sha256": labeller.sha256, "selon": __version__}
    assert answer["review_below"] == labeller.bundle.review_below
    assert answer["id"] == "graine"
    assert answer["input_sha256"] == hashlib.sha256(SEED.read_bytes()).hexdigest()
    assert len(answer["sentences"]) == len(rows) > 20
    for sentence, row in zip(answer["sentences"], rows, strict=True):
        assert {
            key: sentence[key] for key in ("start", "end", "text", "label", "confidence", "review", "truncated")
        } == {key: row[key] for key in ("start", "end", "text", "label", "confidence", "review", "truncated")}
        assert sentence["index"] == row["sentence"]
        assert sentence["probabilities"] == {label: row[f"p_{label}"] for label in LABELS}
        assert sentence["parts"] is None
    assert answer["counts"] == {label: sum(row["label"] == label for row in rows) for label in LABELS}
    paragraphs = [sentence["paragraph"] for sentence in answer["sentences"]]
    assert paragraphs == sorted(paragraphs)
    assert paragraphs[-1] == len(text.strip().split("\n")) - 1


def test_offsets_point_into_the_raw_text(client: TestClient) -> None:
    answer = _label(client, text=TEXT, parts=True)
    assert [sentence["paragraph"] for sentence in answer["sentences"]] == [0, 1, 1, 2]
    kinds = set()
    for sentence in answer["sentences"]:
        assert TEXT[sentence["start"] : sentence["end"]] == sentence["text"]
        assert "".join(part["text"] for part in sentence["parts"]) == sentence["text"]
        for cue in sentence["cues"]:
            assert TEXT[cue["start"] : cue["end"]] == cue["text"]
            kinds.add(cue["kind"])
    assert {"denial", "source", "quotation"} <= kinds


def test_several_articles_come_back_in_order(client: TestClient) -> None:
    texts = ["Le maire dément.", "", "Le pont est vert. La rue est rouge.", " \n "]
    answer = _label(client, articles=[{"id": str(i), "text": text} for i, text in enumerate(texts)])
    assert [article["id"] for article in answer["articles"]] == ["0", "1", "2", "3"]
    assert [len(article["sentences"]) for article in answer["articles"]] == [1, 0, 2, 0]
    alone = _label(client, text=texts[2])
    assert answer["articles"][2]["sentences"] == alone["sentences"]


def test_the_model_is_described(client: TestClient, keeper: Keeper) -> None:
    said = client.get("/v1/model").json()
    bundle = keeper.current.labeller.bundle
    assert (said["name"], said["kind"], said["labels"]) == ("tfidf", "tfidf", list(LABELS))
    assert said["held_out"] == json.loads(bundle.held_out.model_dump_json())
    assert said["held_out"]["articles"] == 12
    assert set(said["held_out"]["natural_precision"]) == set(LABELS)


@pytest.mark.parametrize(
    ("content", "kind", "status", "said"),
    [
        (b'{"text": 3}', "application/json", 422, "text: Input should be a valid string"),
        (b'{"text": "a", "titel": "b"}', "application/json", 422, "titel: Extra inputs are not permitted"),
        (b'{"articles": [{"text": "a"}, {"text": null}]}', "application/json", 422, "articles.1.text: "),
        (b'{"articles": []}', "application/json", 422, "articles: "),
        (b'{"text": "a", "articles": []}', "application/json", 422, ""),
        (b'{"text": "a", "parts": "yes"}', "application/json", 422, "parts: "),
        (b'{"text": "\\ud800"}', "application/json", 422, "text: "),
        (b'{"text": "a", "\\ud800": 1}', "application/json", 422, ""),
        (b"[]", "application/json", 422, "body: "),
        (b"", "application/json", 422, "body: "),
        (b'{"text": "a"', "application/json", 400, "no valid JSON"),
        (b'{"text": ' + b"[" * 100_000, "application/json", 400, ""),
        (b'{"text": ' + b"9" * 10_000 + b"}", "application/json", 400, ""),
        (b'{"text": "\xff"}', "application/json", 400, ""),
        (b'{"text": "a"}', "text/plain", 415, "application/json"),
        (b"text=a", "application/x-www-form-urlencoded", 415, "application/json"),
    ],
)
def test_what_will_not_do_is_a_problem(client: TestClient, content: bytes, kind: str, status: int, said: str) -> None:
    response = client.post("/v1/label", content=content, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert said in response.json()["detail"]


def test_a_problem_repeats_no_value(client: TestClient) -> None:
    for body in (
        {"text": ["très secret"]},
        {"text": "a", "title": 3 * ["très secret"]},
        {"text": "très secret" * 9, "id": "x" * 999},
    ):
        response = client.post("/v1/label", json=body)
        assert response.status_code == 422
        assert "secret" not in response.text
        assert "xxx" not in response.text


def test_the_limit_on_sentences(serving: Callable[..., Any]) -> None:
    with serving(max_sentences=3) as client:
        assert client.post("/v1/label", json={"text": "Un pont. " * 3}).status_code == 200
        refused = client.post("/v1/label", json={"text": "Un pont. " * 4})
    assert refused.status_code == 422
    assert "the article has 4 sentences; the most is 3" in refused.json()["detail"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    st.text(max_size=400) | st.text("«»“”\"'. \n\u2028()!?…-aAéÉ1\u0301\u200b🙂", max_size=200), st.text(max_size=60)
)
def test_any_text_is_labelled(client: TestClient, text: str, title: str) -> None:
    answer = _label(client, text=text, title=title, parts=True)
    for sentence in answer["sentences"]:
        assert text[sentence["start"] : sentence["end"]] == sentence["text"]
        assert sentence["label"] in LABELS
        assert sum(sentence["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert "".join(part["text"] for part in sentence["parts"]) == sentence["text"]


@given(st.text("a sélonédmti« »aurait,.1 ", max_size=80))
def test_parts_are_the_sentence(text: str) -> None:
    cues = find_cues(text)
    parts = cut(text, cues)
    assert "".join(part.text for part in parts) == text
    assert all(part.text for part in parts)
    for kind in {cue.kind for cue in cues}:
        marked = sum(len(part.text) for part in parts if kind in part.kinds)
        assert marked == len({i for cue in cues if cue.kind == kind for i in range(cue.start, cue.end)})


@pytest.mark.parametrize("unit", ["1;2;", "« ", "dit ", "a", "1 "])
def test_long_lines_are_cut_fast(unit: str) -> None:
    text = unit * (60_000 // len(unit))  # a quadratic rule would take a minute
    assert "".join(part.text for part in cut(text, find_cues(text))) == text


def test_a_very_long_sentence_has_cues_where_it_begins(client: TestClient) -> None:
    (sentence,) = _label(client, text="dit " * 5000, parts=True)["sentences"]
    assert len(sentence["cues"]) == 1000
    assert "".join(part["text"] for part in sentence["parts"]) == sentence["text"]


def test_corrections_of_the_page_are_read_as_rows(client: TestClient, tmp_path: Path) -> None:
    """What reader.js writes from an answer is a rows file, line breaks of any kind and all."""
    answer = _label(client, text=TEXT)
    rows = [
        {
            "article_id": answer["input_sha256"][:16],
            "sentence": sentence["index"],
            "paragraph": sentence["paragraph"],
            "text": sentence["text"],
            "label": "claim",
            "title": "",
            "annotations": {"model": sentence["label"], "reader": "claim"},
        }
        for sentence in answer["sentences"]
    ]
    path = tmp_path / "corrections.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (article,) = read_articles(path)
    assert article.sentence_texts == tuple(sentence["text"] for sentence in answer["sentences"])
