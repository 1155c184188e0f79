"""Where runs are kept, how they end, and what MLflow itself can do with them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from train import registry, tracking
from train.schema import LABELS, Article, SelonError

CHAMPION = "models:/selon@champion"


def _runs(root: Path) -> dict[str, str]:
    """Return the status of each run of a project by name."""
    client = tracking.connect()
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    return {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}


# --- runs ------------------------------------------------------------------------------------------------


def test_how_runs_end(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracking.run("good", {"family": "x"}) as run:
        run.figures({"contrast/aurait→a": 0.5, "ne…pas→denial": 1.0})
    with pytest.raises(ZeroDivisionError), tracking.run("crashed"):
        raise ZeroDivisionError
    with pytest.raises(SystemExit), tracking.run("stopped"):
        sys.exit(143)
    assert _runs(project) == {"good": "FINISHED", "crashed": "FAILED", "stopped": "FAILED"}
    kept = tracking.connect().get_run(run.id).data
    assert {"contrast/aurait-a", "ne-pas-denial"} <= set(kept.metrics)
    assert {"git_commit", "family", "version.mlflow", "version.numpy"} <= set(kept.tags)
    with pytest.raises(SelonError, match="the interrupted run is gone"), tracking.run("x", resume="0" * 32):
        pass
    with pytest.raises(ZeroDivisionError), tracking.reopen(run.id):
        raise ZeroDivisionError
    assert _runs(project)["good"] == "FINISHED"
    tracking.connect().delete_run(run.id)
    with pytest.raises(SelonError, match="was deleted; start without --resume"), tracking.run("x", resume=run.id):
        pass
    with pytest.raises(SelonError, match="MLflow did not take the figures"), tracking.reopen(run.id) as again:
        again.figures({"late": 2.0})
    assert capfd.readouterr().err == ""  # MLflow keeps quiet


def test_figures_of_a_training_wait_for_a_server_that_is_away(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.exceptions import MlflowException  # before selon has set it up, MLflow would speak

    refused = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        refused.append(args)
        raise MlflowException("away")

    with tracking.run("patient") as run:
        run.progress({"loss": 3.0}, 1)
        with monkeypatch.context() as away:
            away.setattr(run.client, "log_batch", refuse)
            run.progress({"loss": 2.0}, 2)
            run.progress({"loss": 1.5}, 3)  # a minute has not passed
            away.setattr(tracking, "_PATIENCE", 0)
            run._try_again = 1e-9
            run.progress({"loss": 1.0}, 4)
        run.progress({"loss": 0.5}, 5)
    assert len(refused) == 2
    assert capsys.readouterr().err.count("MLflow fails (away); the training goes on") == 1
    history = tracking.connect().get_metric_history(run.id, "loss")
    assert [(one.step, one.value) for one in history] == [(1, 3.0), (2, 2.0), (3, 1.5), (4, 1.0), (5, 0.5)]


def test_a_run_whose_end_fails_too_tells_of_the_cause(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    end = mlflow.ActiveRun.__exit__

    def fails(self: Any, *args: Any) -> bool:
        end(self, *args)
        raise MlflowException("away")

    monkeypatch.setattr(mlflow.ActiveRun, "__exit__", fails)
    with pytest.raises(ZeroDivisionError), tracking.run("crashed"):
        raise ZeroDivisionError
    with pytest.raises(SelonError, match=r"did not take all of the run \(away\)"), tracking.run("ended"):
        pass


def test_artifacts_that_are_not_there(trained: Path) -> None:
    run_id = registry.run_of("models:/selon/1")
    assert run_id is not None
    assert tracking.run_name(run_id) == "tfidf"
    with pytest.raises(SelonError, match="is it a cross-validated run"):
        tracking.read_artifact(run_id, "cross-validation.predictions.json")
    with pytest.raises(SelonError, match="no such run"):
        tracking.run_name("0" * 32)


def test_a_server_that_is_down_is_told_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SelonError, match=r"http://127\.0\.0\.1:9: MLflow cannot be used there"):
        registry.resolve(None)
    with pytest.raises(SelonError, match="is an MLflow server already"):
        tracking.serve_ui(5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://moi:secret@127.0.0.1:9")
    with pytest.raises(SelonError, match=r"^http://127\.0\.0\.1:9: MLflow cannot be used there") as told:
        registry.resolve(None)
    assert "secret" not in str(told.value)


MLFLOW = """\
#!/bin/sh
exec 3> alive
sleep 600 &
echo "$MLFLOW_BACKEND_STORE_URI $*" > seen
sleep 1  # until it has been told of this process
kill -USR1 $PPID
wait
"""


def test_all_that_the_pages_started_ends_with_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any) -> None:
        sys.exit(143)

    Path("mlflow").write_text(MLFLOW, encoding="utf-8")
    Path("mlflow").chmod(0o755)
    os.mkfifo("alive")
    alive = os.open("alive", os.O_RDONLY | os.O_NONBLOCK)
    before = signal.signal(signal.SIGUSR1, stop)
    monkeypatch.setattr(sys, "executable", str(project / "mlflow"))
    try:
        with pytest.raises(SystemExit):
            tracking.serve_ui(5000)
        assert select.select([alive], [], [], 30)[0]  # closed: nobody can write any more
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(alive)
    arguments = "-m mlflow server --host 127.0.0.1 --port 5000"
    assert Path("seen").read_text(encoding="utf-8") == f"{tracking.tracking_uri()} {arguments}\n"


# --- MLflow's own ways in --------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [CHAMPION, "models:/selon/2"])
def test_pyfunc_takes_what_comes(address: str, trained: Path) -> None:
    import mlflow
    import pandas as pd

    tracking.connect()
    face = mlflow.pyfunc.load_model(address)
    columns = ["label", *(f"p_{label}" for label in LABELS)]
    texts = ["Le maire dément la grève.", None, "", "   ", "le pont selon " * 500, "Le pont est vert."]
    answered = face.predict(pd.DataFrame({"text": texts}, index=list("abcdef")))
    assert list(answered.columns) == columns
    assert list(answered.index) == list("abcdef")
    assert answered["label"].tolist()[:4] == ["denial", *["background"] * 3]
    assert answered.loc["b", "p_background"] == 1.0
    np.testing.assert_allclose(answered[columns[1:]].sum(axis=1), 1, atol=1e-6)
    assert len(face.predict(pd.DataFrame({"text": [None]}))) == 1

    document = "Le pont est vert. Le maire dément la grève. La rue est rouge."
    frame = pd.DataFrame({"text": ["Le maire dément la grève."] * 3, "document": [document, None, "Autre chose."]})
    with_document = face.predict(frame)
    assert with_document["label"].tolist() == ["denial"] * 3
    np.testing.assert_allclose(with_document.iloc[1, 1:].astype(float), with_document.iloc[2, 1:].astype(float))


def test_pyfunc_labels_many_articles_some_at_a_time() -> None:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        from train.pyfunc_face import SelonModel

    runs: list[int] = []

    def predict_proba(articles: Sequence[Article]) -> list[Any]:
        runs.append(sum(map(len, articles)))
        return [np.full((len(article), 4), float(article.text.split()[0])) for article in articles]

    face = SelonModel()
    face.labeller = SimpleNamespace(predict_proba=predict_proba)
    documents = [f"{number} ponts. " + "Il est vert. " * 99 for number in range(20)]
    answered = face.predict(None, pd.DataFrame({"text": "Il est vert.", "document": documents}))
    assert answered["p_claim"].tolist() == list(range(20))
    assert sum(runs) == 2000
    assert max(runs) <= 600


def test_the_logged_model_holds_no_pickle(trained: Path) -> None:
    folder = registry.resolve("models:/selon/2").parents[1]
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc_face.py", "input_example.json", "bundle.json"} <= names
    assert not any(name.endswith((".pkl", ".pickle", ".pt", ".bin")) for name in names)
    assert "signature" in (folder / "MLmodel").read_text()


@pytest.mark.slow
def test_models_serve_answers_on_loopback(trained: Path) -> None:
    port = _free_port()
    command = ["models", "serve", "-m", CHAMPION, "--env-manager", "local", "--host", "127.0.0.1", "-p", str(port)]
    uri = {"MLFLOW_TRACKING_URI": tracking.tracking_uri()}
    with _mlflow(command, f"http://127.0.0.1:{port}/ping", uri):
        body = {"dataframe_split": {"columns": ["text"], "data": [["Le maire dément la grève."], [None]]}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            rows = json.load(response)["predictions"]
    assert [row["label"] for row in rows] == ["denial", "background"]
    assert sum(rows[0][f"p_{label}"] for label in LABELS) == pytest.approx(1)


@pytest.mark.slow
def test_a_tracking_server_is_honoured_end_to_end(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selon: Callable[..., object]
) -> None:
    port = _free_port()
    uri = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    artifacts = ["--serve-artifacts", "--artifacts-destination", str(tmp_path / "store")]
    command = ["server", *store, *artifacts, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with _mlflow(command, f"{uri}/health", {}, tmp_path):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        trained = selon("train", "configs/tfidf.yaml")
        assert trained.code == 0, trained.err
        assert "models:/selon/1, the champion" in " ".join(trained.out.split())
        labelled = selon("label", "seeds/000_67de78d66b7b359b.txt", "--format", "csv")
        assert labelled.code == 0, labelled.err
        assert len(labelled.out.splitlines()) > 20
        evaluated = selon("evaluate", "models:/selon/1", "--on", "data/corpus/test.jsonl")
        assert evaluated.code == 0, evaluated.err
        folder = registry.resolve("models:/selon/1")
        assert folder.is_relative_to(project / "mlruns/downloads")
        assert not (project / "mlruns/mlflow.db").exists()
        assert any((tmp_path / "store").rglob("bundle.json"))
    assert registry.resolve("models:/selon/1") == folder  # what the server last gave, now that it is away


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    # `mlflow models serve` looks for uvicorn on the PATH, as in an environment that is active.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path, **more}


@contextmanager
def _mlflow(command: list[str], ready: str, environment: dict[str, str], cwd: Path | None = None) -> Iterator[None]:
    """Run an MLflow server until the end of the block; it and its workers are killed."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command],
        env=_environment(**environment),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(ready, timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.3)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
