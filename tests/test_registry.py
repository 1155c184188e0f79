"""How registered models are found again, whatever else the registry holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from train import registry, tracking
from train.schema import SelonError

CHAMPION = "models:/selon@champion"


def test_addresses_of_one_model_lead_to_one_folder(trained: Path) -> None:
    folder = registry.resolve("models:/selon/1")
    run_id = registry.run_of("models:/selon/1")
    assert folder == registry.resolve(CHAMPION) == registry.resolve(None) == registry.resolve(f"runs:/{run_id}")
    assert json.loads((folder / "bundle.json").read_text())["name"] == "tfidf"
    assert folder.is_relative_to(trained / "mlruns/artifacts")  # in place, no copy
    assert registry.resolve("some/folder") == Path("some/folder")
    assert registry.run_of("some/folder") is None


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("models:/selon/99", "not in the registry"),
        ("models:/selon@nobody", "not in the registry"),
        ("models:/another/1", "a registered model is models:/selon/N"),
        ("models:/selon", "a registered model is models:/selon/N"),
        ("runs:/0123456789abcdef0123456789abcdef", "no such run, or it saved no model"),
    ],
)
def test_addresses_of_nothing(address: str, said: str, trained: Path) -> None:
    with pytest.raises(SelonError, match=said):
        registry.resolve(address)


@pytest.mark.parametrize(
    ("asked", "ask"),
    [
        ("set_registered_model_alias", lambda: registry.promote("1")),
        ("search_registered_models", registry.champion),
        ("get_model_version", lambda: registry.run_of("models:/selon/1")),
        ("get_model_version_by_alias", lambda: registry.registered_version(CHAMPION)),
        ("get_model_version_download_uri", lambda: registry._folder_of("1")),
        ("search_model_versions", lambda: registry._version_of("runs:/1")),
        ("get_run", lambda: tracking.run_name("1")),
    ],
)
def test_a_server_that_refuses_is_told_of(
    asked: str, ask: Callable[[], object], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may well have what it does not give."""
    import mlflow

    def refuse(*args: object, **kwargs: object) -> None:
        raise mlflow.exceptions.RestException({"error_code": "PERMISSION_DENIED", "message": "ask anna"})

    monkeypatch.setattr(mlflow.MlflowClient, asked, refuse)
    with pytest.raises(SelonError, match=r"MLflow cannot be used there \(PERMISSION_DENIED: ask anna\)"):
        ask()


def test_nothing_trained_and_nothing_shipped(project: Path) -> None:
    with pytest.raises(SelonError, match=r"no model yet: run `selon train configs/petit\.yaml`"):
        registry.resolve(None)
    shipped = project / registry.SHIPPED
    shipped.mkdir(parents=True)
    assert registry.resolve(None) == shipped
    assert list((project / "mlruns").iterdir()) == []  # looking leaves nothing behind


def test_a_champion_once_resolved_opens_without_mlflow(trained: Path) -> None:
    known = [registry.resolve(address) for address in (None, CHAMPION, "models:/selon/2")]
    code = (
        "import sys; from train.labeller import Labeller; from train.registry import resolve\n"
        f"found = [str(resolve(address)) for address in (None, {CHAMPION!r}, 'models:/selon/2')]\n"
        "Labeller.open(resolve('models:/selon/2')).label('Le pont.')\n"
        "print(found, {'mlflow', 'torch', 'transformers'} & set(sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == f"{[str(folder) for folder in known]} set()"


def test_what_is_remembered_ends_when_the_alias_moves(trained: Path) -> None:
    try:
        before = registry.resolve(None), registry.resolve(CHAMPION)
        registry.promote("2")
        assert registry.champion() == "2"
        after = registry.resolve(None), registry.resolve(CHAMPION)
        assert after == (registry.resolve("models:/selon/2"),) * 2
        assert after != before
    finally:
        registry.promote("1")
    assert (registry.resolve(None), registry.resolve(CHAMPION)) == before


def test_a_folder_that_is_gone_is_not_remembered(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_folder_of", lambda version: tmp_path)
    state = registry._registry_state() or ""
    registry._remember("models:/selon/1", state, tmp_path / "gone")
    assert registry.resolve("models:/selon/1") == tmp_path
    (trained / "mlruns/resolved.json").write_text("{", encoding="utf-8")  # nor is a broken memory fatal
    assert registry.resolve("models:/selon/1") == tmp_path
    (trained / "mlruns/resolved.json").unlink()


def test_files_that_cannot_be_had_are_told_of_without_a_password(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def refuse(uri: str) -> None:
        raise mlflow.exceptions.MlflowException("401 Unauthorized for http://anna:s@cr:et@host/api\n<html>")

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", refuse)
    with pytest.raises(SelonError, match=r"cannot be had from file:.* \(401 Unauthorized for http://host/api\)$"):
        registry._folder_of("1")


def test_a_model_of_two_names_is_the_same_model(trained: Path) -> None:
    import mlflow

    client = tracking.connect()
    run_id = registry.run_of("models:/selon/2")
    mlflow.register_model(client.get_model_version(registry.REGISTERED, "2").source, "team")
    try:
        assert registry.resolve(f"runs:/{run_id}") == registry.resolve("models:/selon/2")
    finally:
        client.delete_registered_model("team")


def test_another_registry_at_the_same_address_is_not_taken_for_the_first(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "own", lambda: False)
    monkeypatch.setattr(registry, "own", lambda: False)
    monkeypatch.setattr(registry, "_folder_of", lambda version: tmp_path / "one")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    assert registry.resolve("models:/selon/1") == tmp_path / "one"
    monkeypatch.setattr(registry, "_folder_of", lambda version: tmp_path / "other")
    assert registry.resolve("models:/selon/1") == tmp_path / "other"

    def away() -> None:
        raise tracking.AwayError("nobody answers")

    monkeypatch.setattr(registry, "connect", away)
    assert registry.resolve("models:/selon/1") == tmp_path / "other"  # what it last gave
    with pytest.raises(tracking.AwayError):
        registry.resolve("models:/selon/2")
    with pytest.raises(tracking.AwayError):
        registry.resolve(CHAMPION)
