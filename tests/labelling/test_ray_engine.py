"""The same shards on two workers of Ray give the same files."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from train.labelling import ray_engine
from train.labelling.shards import Shard


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: `uv run --extra ray pytest`")
def test_two_workers_write_what_one_process_writes(model: Path, rows: Callable[..., Any], tmp_path: Path) -> None:
    texts: dict[str, list[str]] = {}
    for row in rows(12, 6, "r"):
        texts.setdefault(row["article_id"], []).append(row["text"])
    source = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": key, "text": " ".join(text)}) for key, text in texts.items()]
    source.write_text("\n".join([*lines, "{"]), encoding="utf-8")
    for engine in ("local", "ray"):
        command = [sys.executable, "-m", "train", "label", str(source), "--output", str(tmp_path / engine)]
        command += ["--model", str(model), "--shard", "3", "--engine", engine, "--workers", "2"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert "12 articles, 96 sentences, 1 skipped" in done.stderr.splitlines()[-1]
    for path in (tmp_path / "local").iterdir():
        assert path.read_bytes() == (tmp_path / "ray" / path.name).read_bytes()
    assert len(list((tmp_path / "ray").iterdir())) == 5 + 2  # parts, manifest, rejects


class _Ray:
    """As much of Ray as is called; its workers answer with their number."""

    def __init__(self) -> None:
        self.workers = 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Any:
        return lambda cls: SimpleNamespace(remote=self.worker)

    def worker(self, *arguments: Any) -> Any:
        self.workers += 1
        number = self.workers
        return SimpleNamespace(label=SimpleNamespace(remote=lambda shard: (shard.number, number)))

    def wait(self, busy: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return busy[:1], busy[1:]

    def get(self, done: tuple[int, int]) -> int:
        return done[1]

    def shutdown(self) -> None:
        pass


def test_every_worker_has_a_shard_before_one_has_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "_ray", _Ray)
    todo = [Shard(number, (), 0) for number in range(4)]
    found = ray_engine.label_shards(tmp_path, todo, cast(Any, None))
    assert [(shard.number, worker) for shard, worker in found] == [(0, 1), (1, 2), (2, 1), (3, 2)]
