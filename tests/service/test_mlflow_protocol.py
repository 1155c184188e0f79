"""/invocations answers as MLflow's own scoring server does for the same model."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from train import __version__, scoring, tracking

TEXTS = ["Le maire dément la grève.", None, "", "Le pont est vert.", "L'eau, selon la mairie, est rouge."]
DOCUMENT = "Le pont est vert. Le maire dément la grève. La rue est rouge."
PAYLOADS: list[dict[str, Any]] = [
    {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}},
    {"dataframe_split": {"columns": ["document", "text"], "index": [3, 4],
                         "data": [[DOCUMENT, TEXTS[0]], [None, TEXTS[0]]]}},
    {"dataframe_records": [{"text": TEXTS[0], "document": DOCUMENT}, {"text": TEXTS[3]}]},
    {"dataframe_records": [{"text": TEXTS[0], "more": 1}]},
    {"inputs": {"text": [TEXTS[0], TEXTS[4]]}},
    {"inputs": [{"text": TEXTS[0]}, {"text": TEXTS[4]}]},
    {"instances": [{"text": TEXTS[4], "document": DOCUMENT}]},
    {"inputs": {"text": TEXTS[4]}},
]  # fmt: skip


@pytest.fixture(scope="module")
def mlflow_server(trained_project: Path) -> Any:
    import mlflow
    from mlflow.pyfunc import scoring_server

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        patch.chdir(trained_project)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.connect()
        yield TestClient(scoring_server.init(mlflow.pyfunc.load_model("models:/selon/1")))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_answers_are_mlflows(client: TestClient, mlflow_server: TestClient, payload: dict[str, Any]) -> None:
    theirs, ours = mlflow_server.post("/invocations", json=payload), client.post("/invocations", json=payload)
    assert (theirs.status_code, ours.status_code) == (200, 200), (theirs.text, ours.text)
    expected, given = theirs.json()["predictions"], ours.json()["predictions"]
    assert len(given) == len(expected) > 0
    for row, wanted in zip(given, expected, strict=True):
        assert list(row) == list(wanted)
        assert row["label"] == wanted["label"]
        assert [row[key] for key in list(row)[1:]] == pytest.approx([wanted[key] for key in list(row)[1:]], abs=1e-9)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "give exactly one of dataframe_split"),
        ({"inputs": {"text": ["a"]}, "dataframe_records": [{"text": "a"}]}, ""),
        ({"inputs": "a"}, ""),
        ({"inputs": {"text": ["a"], "document": []}}, "inputs: the columns are of one length"),
        ({"inputs": [{"texte": "a"}]}, "inputs.0.text: Field required"),
        ({"inputs": {"texte": ["a"]}}, "inputs.text: Field required"),
        ({"dataframe_split": {"columns": ["text"], "data": [["a", "b"]]}}, "one cell a column"),
        ({"dataframe_split": {"columns": 3, "data": []}}, "dataframe_split.columns: "),
        ({"dataframe_split": {"columns": ["titre"], "data": [["a"]]}}, "one column is text"),
        ({"dataframe_split": {"columns": ["text"], "data": [[3]]}}, "strings or null"),
        ({"dataframe_records": [{"document": "a"}]}, "text"),
        ({"dataframe_records": [{"text": "a"}], "params": {"temperature": 1}}, "params"),
    ],
)
def test_other_tables_are_refused(client: TestClient, payload: dict[str, Any], said: str) -> None:
    answer = client.post("/invocations", json=payload)
    assert answer.status_code == 422
    assert said in answer.json()["detail"] + str(answer.json()["faults"])


def test_sentences_are_counted_however_they_are_asked_for(client: TestClient) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("selon_sentences_total{"))

    before = counted()
    client.post("/invocations", json={"dataframe_records": [{"text": TEXTS[0]}, {"text": TEXTS[3]}]})
    client.post("/v1/label", json={"text": DOCUMENT})
    assert counted() == before + 5


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_limit_on_rows(serving: Callable[..., Any], payload: dict[str, Any]) -> None:
    with serving(max_sentences=1) as client:
        answer = client.post("/invocations", json=payload)
    (table,) = payload.values()
    column = table.get("data") or table.get("text") if isinstance(table, dict) else table
    rows = 1 if isinstance(column, str) else len(column)
    assert answer.status_code == (200 if rows == 1 else 422)
    if rows > 1:
        assert answer.headers["content-type"] == "application/problem+json"
        assert f"{rows} rows; the most is 1" in answer.json()["detail"]


@pytest.mark.parametrize(
    "table",
    [
        {"inputs": {"text": [1] * 9}},
        {"inputs": {"text": ["a"] * 9, "document": [1] * 9}},
        {"dataframe_records": [{}] * 9},
        {"dataframe_split": {"columns": [1] * 9, "data": []}},
        {"dataframe_split": {"columns": ["text"], "data": [1] * 9}},
    ],
)
def test_a_bad_table_is_refused_at_its_first_fault(client: TestClient, table: dict[str, Any]) -> None:
    answer = client.post("/invocations", json=table)
    assert answer.status_code == 422
    assert len(answer.json()["faults"]) <= 2  # one a column


def test_a_document_is_labelled_once_however_many_rows_it_has(serving: Callable[..., Any], gated: Any) -> None:
    sentences = [sentence.strip() + "." for sentence in DOCUMENT.split(".")[:-1]]
    rows = [{"text": text, "document": DOCUMENT} for text in sentences * 2]
    with serving(gated) as client, ThreadPoolExecutor(1) as pool:
        here = client.app.state.service
        asked = pool.submit(client.post, "/invocations", json={"dataframe_records": rows})
        assert gated.entered.wait(10)
        assert here.batcher.held == here.cost(here.keeper.current, DOCUMENT)
        gated.gate.set()
        predictions = asked.result(10).json()["predictions"]
    assert gated.batches == [1]
    (expected,) = gated.labeller.predict([scoring.place(sentences[0], DOCUMENT).article])
    assert [row["label"] for row in predictions] == [one.label for one in expected] * 2


def test_an_article_of_its_own_is_weighed_as_one(serving: Callable[..., Any], gated: Any) -> None:
    parts = [sentence.strip() for sentence in DOCUMENT.split(".")[:-1]]  # without its full stop, a part of a sentence
    rows = [{"text": text, "document": DOCUMENT} for text in parts]
    with serving(gated) as client, ThreadPoolExecutor(1) as pool:
        here = client.app.state.service
        asked = pool.submit(client.post, "/invocations", json={"dataframe_records": rows})
        assert gated.entered.wait(10)
        assert here.batcher.held == len(parts) * here.cost(here.keeper.current, DOCUMENT) > 0
        gated.gate.set()
        assert len(asked.result(10).json()["predictions"]) == len(parts)


def test_answers_are_built_where_nobody_waits(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def answer(probabilities: Any) -> Any:
        seen.append(asyncio._get_running_loop())
        return real(probabilities)

    real = scoring.answer
    monkeypatch.setattr(scoring, "answer", answer)
    assert client.post("/invocations", json=PAYLOADS[0]).status_code == 200
    assert seen == [None] * len(TEXTS)


def test_a_stuck_model_admits_nobody(serving: Callable[..., Any], gated: Any) -> None:
    """The deadline sends the client away, but not the work that has begun."""
    with serving(gated, deadline=1.5, queue_tokens=5) as client:
        assert client.post("/v1/label", json={"text": DOCUMENT}).status_code == 504
        assert client.post("/invocations", json=PAYLOADS[0]).status_code == 429
        assert client.get("/health/ready").status_code == 503
        gated.gate.set()
        deadline = time.monotonic() + 10
        while client.get("/health/ready").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.get("/health/ready").status_code == 200


def test_whether_it_is_there(client: TestClient, mlflow_server: TestClient) -> None:
    assert client.get("/ping").status_code == client.get("/health").status_code == 200
    assert client.get("/ping").text == mlflow_server.get("/ping").text
    assert client.get("/version").text == __version__


def test_empty_tables(client: TestClient) -> None:
    assert client.post("/invocations", json={"dataframe_records": []}).json() == {"predictions": []}
