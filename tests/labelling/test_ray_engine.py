"""The same shards on two workers of Ray give the same files."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


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
