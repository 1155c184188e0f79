"""Another model takes over while requests go on; what cannot take over does not."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from train import registry
from train.bundle import read_bundle, write_manifest
from train.schema import SelonError
from train.service import champion
from train.service.app import create_app
from train.service.served import Keeper, Served, open_model
from train.service.settings import ServiceSettings


@pytest.fixture
def renamed(folder: Path, tmp_path: Path) -> Path:
    """Another model: the same, under the name « autre »."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    write_manifest(other, read_bundle(other).model_copy(update={"name": "autre"}))
    return other


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_request_fails_while_models_change(folder: Path, renamed: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "served"))
    keeper = Keeper(str(place))
    with TestClient(create_app(keeper, ServiceSettings()), base_url="http://127.0.0.1") as client:
        answers: list[Any] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                texts = [{"text": "Le maire dément."}, {"text": "Le pont."}]
                answers.append(client.post("/v1/label", json={"articles": texts}))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            _wait(lambda: len(answers) > 5)
            place.rename(tmp_path / "old")
            shutil.copytree(renamed, place)
            keeper.ask()  # what SIGHUP does
            _wait(lambda: keeper.current.name == "autre")
            seen = len(answers)
            _wait(lambda: len(answers) > seen + 6)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        metrics = client.get("/metrics").text
    assert {answer.status_code for answer in answers} == {200}
    names = [answer.json()["model"]["name"] for answer in answers]
    assert (names[0], names[-1]) == ("tfidf", "autre")
    assert {answer.json()["articles"][0]["sentences"][0]["label"] for answer in answers} == {"denial"}
    assert 'selon_model_swaps_total{outcome="done"} 1.0' in metrics
    assert 'name="autre"' in metrics
    assert 'name="tfidf"' not in metrics


def test_a_spoilt_model_does_not_take_over(renamed: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper(str(renamed))
    before = keeper.current
    outcomes: list[tuple[str, bool]] = []
    keeper.swapped = lambda served, new: outcomes.append((served.name, new))
    tree = json.loads((renamed / "bundle.json").read_text())
    tree["golden"][0]["probabilities"] = [[0.25] * 4] * len(tree["golden"][0]["probabilities"])
    (renamed / "bundle.json").write_text(json.dumps(tree))
    with caplog.at_level(logging.ERROR):
        assert not keeper.reload()
    assert "answers differently here" in caplog.text
    shutil.rmtree(renamed)
    assert not keeper.reload()
    assert keeper.current is before
    assert outcomes == [("autre", False)] * 2
    with pytest.raises(SelonError, match=r"no bundle\.json"):
        open_model(str(renamed))


def test_the_alias_is_followed(folder: Path, renamed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {"1": folder, "2": renamed, "3": renamed / "missing"}
    now = "1"

    def version(alias: str) -> str:
        assert alias == "champion"
        if now == "unknown":
            raise champion.RegistryError
        return now

    monkeypatch.setattr(champion, "alias_version", version)
    monkeypatch.setattr(champion, "find", lambda address: champion.Found(folders[now], now))
    keeper = Keeper(None, watch=0.02)
    tried: list[bool] = []
    keeper.swapped = lambda served, new: tried.append(new)
    keeper.start()
    try:
        now = "unknown"
        time.sleep(0.1)
        now = "2"
        _wait(lambda: keeper.current.version == "2")
        now = "3"
        _wait(lambda: tried[-1:] == [False])
        time.sleep(0.2)
        assert (keeper.current.version, tried) == ("2", [True, False])  # not tried again at once
        now = "1"
        _wait(lambda: keeper.current.version == "1")
    finally:
        keeper.close()


@pytest.mark.parametrize("error", [champion.RegistryError("HTTP 500"), RuntimeError("http://moi:secret@registre")])
def test_a_registry_that_cannot_be_asked_is_said_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    well = False
    looks: list[bool] = []

    def version(alias: str) -> str:
        looks.append(well)
        if well:
            return "1"
        raise error

    def look() -> list[str]:
        """Wait for some looks; return what was said by then."""
        looks.clear()
        _wait(lambda: len(looks) > 3)
        return [record.getMessage() for record in caplog.records if "registry" in record.getMessage()]

    monkeypatch.setattr(champion, "alias_version", version)
    monkeypatch.setattr(champion, "find", lambda address: champion.Found(folder, "1"))
    keeper = Keeper(None, watch=0.01)
    keeper.start()
    try:
        assert len(look()) == 1
        well = True
        assert len(look()) == 1
        well = False
        said = look()
    finally:
        keeper.close()
    assert len(said) == 2  # once for each time that it fell silent
    assert "HTTP 500" in said[0] or "RuntimeError" in said[0]
    assert "secret" not in caplog.text


# --- which model ---------------------------------------------------------------------------------------------


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert champion.alias_of(None) == champion.alias_of("models:/selon@champion") == "champion"
    assert champion.alias_of("models:/selon@essai") == "essai"
    assert (
        champion.alias_of("models:/selon/3") is champion.alias_of("some/folder") is champion.alias_of("runs:/a") is None
    )
    assert champion.find("some/folder") == (Path("some/folder"), None)
    (tmp_path / "mlruns").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "_BESIDE", tmp_path / "package")
    with pytest.raises(SelonError, match="no model yet"):
        champion.find(None)
    beside = tmp_path / "package" / registry.SHIPPED
    beside.mkdir(parents=True)
    assert champion.find(None) == (beside, None)
    (tmp_path / registry.SHIPPED).mkdir(parents=True)
    assert champion.find(None) == (tmp_path / registry.SHIPPED, None)
    assert list((tmp_path / "mlruns").iterdir()) == []


def test_a_numbered_model_needs_no_registry_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `registry.resolve` remembers of it answers, as for `selon label`."""
    monkeypatch.setattr(registry, "registered_version", lambda address: pytest.fail("asked"))
    monkeypatch.setattr(registry, "resolve", lambda address: tmp_path / address.rpartition("/")[2])
    champion._main("models:/selon/3")
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "3"), "version": "3"}


def test_only_our_own_versions_are_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """`models:/autre/3` and `runs:/abc/7` are not models:/selon/3 and /7."""
    monkeypatch.setattr(registry, "recall", lambda address: Path(address))
    assert champion.find("models:/selon/3") == (Path("models:/selon/3"), "3")
    for address in ("models:/autre/3", "runs:/abc/7"):
        assert champion.find(address) == (Path(address), None)


def test_the_alias_is_read_from_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a base #1.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    assert champion.alias_version("champion") is None
    path.write_bytes(b"")
    with pytest.raises(champion.RegistryError):
        champion.alias_version("champion")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT)")
        database.execute("INSERT INTO registered_model_aliases VALUES ('champion', 7, 'selon'), ('champion', 1, 'x')")
    database.close()
    assert champion.alias_version("champion") == "7"
    assert champion.alias_version("essai") is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://nowhere/db")
    with pytest.raises(champion.RegistryError):
        champion.alias_version("champion")


def test_the_alias_is_asked_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    answers = [(200, b'{"model_version": {"version": "4"}}'), (404, b"{}"), (500, b""), (200, b"<html>")]
    answers += [(200, b"null"), (200, b"[]"), (200, b'{"model_version": null}'), (200, b'{"half')]
    answers += [(200, b'{"model_version": {"version": "5"}}')]

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            status, body = answers[len(asked) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + body.startswith(b'{"half')))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "jeton")
        assert champion.alias_version("champion") == "4"
        assert champion.alias_version("champion") is None
        for _ in answers[2:-1]:
            with pytest.raises(champion.RegistryError):
                champion.alias_version("champion")
        monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://moi:mot%40passe@127.0.0.1:{server.server_port}")
        assert champion.alias_version("champion") == "5"
        server.shutdown()
    assert asked[0] == ("/api/2.0/mlflow/registered-models/alias?name=selon&alias=champion", "Bearer jeton")
    assert asked[-1][1] == f"Basic {base64.b64encode(b'moi:mot@passe').decode()}"
    with pytest.raises(champion.RegistryError):  # nobody there any more
        champion.alias_version("champion")


def test_the_champion_of_a_project(trained: Path) -> None:
    """MLflow's own database, and what was never resolved is found by a process of its own."""
    assert champion.alias_version("champion") == "1"
    (trained / "mlruns/resolved.json").unlink(missing_ok=True)
    found = champion.find(None)
    assert found.version == "1"
    assert read_bundle(found.folder).name == "tfidf"
    assert isinstance(open_model("models:/selon/1"), Served)
    with pytest.raises(SelonError, match="models:/selon/99: not in the registry"):
        champion.find("models:/selon/99")
