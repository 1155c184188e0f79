"""Configs stay as they are, and know where their paths start."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from train.config import TrainConfig, project_path, project_root
from train.config_file import load_config
from train.schema import SelonError

ROOT = Path(__file__).parent.parent


def test_a_resolved_config_survives_a_round_trip() -> None:
    config = load_config(ROOT / "configs/petit.yaml", TrainConfig)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_configs_are_frozen() -> None:
    config = load_config(ROOT / "configs/tfidf.yaml", TrainConfig)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("config", "override"),
    [
        ("tfidf", "data.unlabelled=[a.jsonl]"),
        ("petit", "data.unlabelled=[a.jsonl]"),
        ("petit", "model.teacher.kind=tfidf"),
    ],
)
def test_a_teacher_needs_articles_and_they_need_a_teacher(config: str, override: str) -> None:
    with pytest.raises(SelonError, match=r"data\.unlabelled and model\.teacher \(of an encoder\) go together"):
        load_config(ROOT / f"configs/{config}.yaml", TrainConfig, [override])


@pytest.mark.parametrize("override", ["model.teacher.teacher={kind: tfidf}", "model.teacher.int8=true"])
def test_a_teacher_has_no_teacher_and_is_not_served(override: str) -> None:
    with pytest.raises(SelonError, match=r"model\.teacher: a teacher has no teacher of its own, and no int8 graph"):
        load_config(ROOT / "configs/petit-taught.yaml", TrainConfig, [override])


def test_paths_start_from_the_folder_that_holds_mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert project_root() == inner
    (tmp_path / "mlruns").mkdir()
    assert project_root() == tmp_path
    assert project_path("data/x") == tmp_path / "data/x"
    assert project_path("/data/x") == Path("/data/x")
