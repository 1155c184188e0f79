"""/invocations answers as MLflow's own scoring server does for the same model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from train import __version__, tracking

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
]  # fmt: skip


@pytest.fixture(scope="module")
def mlflow_server(trained_project: Path) -> Any:
    import mlflow
    from mlflow.pyfunc import scoring_server

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        patch.chdir(trained_project)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking._client()
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
        ({"inputs": {"text": ["a"], "document": []}}, "one length"),
        ({"dataframe_split": {"columns": ["text"], "data": [["a", "b"]]}}, "one cell a column"),
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


def test_whether_it_is_there(client: TestClient, mlflow_server: TestClient) -> None:
    assert client.get("/ping").status_code == client.get("/health").status_code == 200
    assert client.get("/ping").text == mlflow_server.get("/ping").text
    assert client.get("/version").text == __version__


def test_empty_tables(client: TestClient) -> None:
    assert client.post("/invocations", json={"dataframe_records": []}).json() == {"predictions": []}
