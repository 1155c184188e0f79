"""Archives: whatever interrupts them, no sentence is lost, doubled or torn; strangers are refused."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from train.labelling import archive as module
from train.labelling import writers
from train.labelling.archive import Archive
from train.labelling.choices import Form
from train.labelling.shards import Part
from train.labelling.sources import Reject
from train.labelling.writers import Output
from train.schema import SelonError

IDENTITY = {
    "selon": "1",
    "model_sha256": "a",
    "precision": "fp32",
    "inputs": [{"name": "x", "sha256": "b"}],
    "options": {},
}
JSONL = Output(Form.jsonl)


def _part(number: int, *rejects: str) -> Part:
    content = json.dumps({"sentence": number}).encode() + b"\n"
    return Part(number, content, 1, 1, 0, tuple(Reject(f"x:{number}", reason) for reason in rejects))


def _listing(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the state on disk -----------------------------------------------------------------------------------


def test_parts_come_in_any_order_and_the_manifest_says_so(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "out", JSONL, IDENTITY, True) as archive:
        for number in (2, 0, 1):
            archive.commit(_part(number, *["bad"] * number))
        archive.finish()
    assert sorted(_listing(tmp_path / "out")) == [
        "manifest.json",
        "part-00000.jsonl",
        "part-00001.jsonl",
        "part-00002.jsonl",
        "rejects.jsonl",
    ]
    said = json.loads((tmp_path / "out/manifest.json").read_text())
    assert said["identity"] == IDENTITY
    assert said["totals"] == {"articles": 3, "sentences": 3, "review": 0, "rejected": 3}
    assert [part["name"] for part in said["parts"]] == [f"part-0000{n}.jsonl" for n in range(3)]
    rejects = [json.loads(line)["place"] for line in (tmp_path / "out/rejects.jsonl").read_text().splitlines()]
    assert rejects == ["x:1", "x:2", "x:2"]


def _interrupted(tmp_path: Path, parts: bool) -> Path:
    target = tmp_path / ("out" if parts else "out.jsonl")
    with suppress(KeyboardInterrupt), Archive.open(target, JSONL, IDENTITY, parts) as archive:
        archive.commit(_part(0, "bad"))
        archive.commit(_part(1))
        raise KeyboardInterrupt
    return target


@pytest.mark.parametrize("parts", [True, False], ids=["folder", "file"])
@pytest.mark.parametrize("damage", ["none", "torn line", "lost line", "lost part", "torn part", "drafts"])
def test_whatever_is_not_whole_is_made_again(damage: str, parts: bool, tmp_path: Path) -> None:
    target = _interrupted(tmp_path, parts)
    folder = target if parts else tmp_path / ".out.jsonl.parts"
    journal = folder / "journal.jsonl"
    if damage == "torn line":
        os.truncate(journal, journal.stat().st_size - 5)
    elif damage == "lost line":
        journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    elif damage == "lost part":
        (folder / "part-00001.jsonl").unlink()
    elif damage == "torn part":
        os.truncate(folder / "part-00001.jsonl", 3)
    elif damage == "drafts":
        (folder / ".part-00002.jsonl-abc").write_text("half")
    with Archive.open(target, JSONL, IDENTITY, parts) as archive:
        assert set(archive.done) == ({0, 1} if damage in ("none", "drafts") else {0})
        for number in {0, 1, 2} - set(archive.done):
            archive.commit(_part(number))
        archive.finish()
    written = sorted(target.glob("part-*")) if parts else [target]
    assert [json.loads(line)["sentence"] for path in written for line in path.read_text().splitlines()] == [0, 1, 2]
    assert len(archive.rejects.read_text().splitlines()) == 1
    names = {path.name for path in (target if parts else tmp_path).iterdir()}
    assert not any(name.startswith(".") or "journal" in name for name in names), names


def test_a_killed_clearing_up_is_gone_on_with(tmp_path: Path) -> None:
    target = _interrupted(tmp_path, False)
    with suppress(KeyboardInterrupt), Archive.open(target, JSONL, IDENTITY, False) as archive:
        archive.finish()
        before = target.read_bytes()
        raise KeyboardInterrupt
    (tmp_path / ".out.jsonl.parts/part-00000.jsonl").unlink()
    with Archive.open(target, JSONL, IDENTITY, False) as archive:
        assert archive.complete
        assert archive.totals().rejected == 1
    assert target.read_bytes() == before
    assert not archive.folder.exists()


def test_killed_in_joining_no_rows_stand_beside_another_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _interrupted(tmp_path, False)

    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.labelling.writers.join", kill)
    with suppress(KeyboardInterrupt), Archive.open(target, JSONL, IDENTITY, False) as archive:
        archive.finish()
    monkeypatch.undo()
    assert not target.exists()
    with Archive.open(target, JSONL, IDENTITY, False) as archive:
        assert set(archive.done) == {0, 1}
        archive.finish()
    assert target.read_bytes() == _part(0).content + _part(1).content


def test_a_finished_folder_is_left_alone(tmp_path: Path) -> None:
    for _ in range(2):
        with Archive.open(tmp_path / "out", JSONL, IDENTITY, True) as archive:
            if not archive.complete:
                archive.commit(_part(0))
                archive.finish()
                before = _listing(tmp_path / "out") | {}
                (tmp_path / "out/.my-notes").write_text("Cher ami")
                (tmp_path / "out/.Trash-1000").mkdir()
                (tmp_path / "out/.manifest.json-x7").write_text("{")  # of a process that was killed
    assert archive.totals().sentences == 1
    assert set(before) - {"journal.jsonl", ".lock"} | {".my-notes"} == set(_listing(tmp_path / "out"))


def test_a_finished_folder_that_lost_a_part_is_told(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with Archive.open(target, JSONL, IDENTITY, True) as archive:
        for number in range(2):
            archive.commit(_part(number))
        archive.finish()
    (target / "part-00001.jsonl").rename(tmp_path / "away")
    _refused(r"out: was finished, but part-00001\.jsonl is missing since; put it back, name another output", target)
    (tmp_path / "away").rename(target / "part-00001.jsonl")
    with Archive.open(target, JSONL, IDENTITY, True) as archive:
        assert archive.complete


def test_who_comes_second_leaves_the_first_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, first = module._held, []

    def overtaken(folder: Path, target: Path) -> Any:
        first.append(FileLock(folder / ".lock"))
        first[0].acquire()
        return held(folder, target)

    monkeypatch.setattr(module, "_held", overtaken)
    with pytest.raises(SelonError, match="another selon"), Archive.open(tmp_path / "out", JSONL, IDENTITY, True):
        pytest.fail("opened")
    assert (tmp_path / "out/.lock").exists()
    first[0].release()


def test_a_disk_that_keeps_what_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> None:
        raise OSError(39, "Directory not empty")

    monkeypatch.setattr(Path, "rmdir", refused)
    for _ in range(2):
        with Archive.open(tmp_path / "out.jsonl", JSONL, IDENTITY, False) as archive:
            if not archive.complete:
                archive.commit(_part(0))
                archive.finish()
    assert (tmp_path / "out.jsonl").read_bytes() == _part(0).content


def test_what_lies_in_the_place_of_provenance_or_rejects_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    for name, ours in (("meta.json", {"model_sha256": "b"}), ("rejects.jsonl", {"place": "x:1", "reason": "bad"})):
        path = tmp_path / f"out.jsonl.{name}"
        path.write_text("Cher ami")
        _refused(rf"{name}: is there already, and not selon's", target, parts=False)
        path.write_text(json.dumps(ours) + "\n")  # of an output that was taken away
    with Archive.open(target, JSONL, IDENTITY, False) as archive:
        archive.commit(_part(0))
        archive.finish()
    assert sorted(_listing(tmp_path)) == ["out.jsonl", "out.jsonl.meta.json"]


@pytest.mark.parametrize("form", [Form.jsonl, Form.parquet])
def test_a_finished_file_is_left_alone(form: Form, tmp_path: Path) -> None:
    target, output = tmp_path / "out", Output(form)
    with Archive.open(target, output, IDENTITY, False) as archive:
        content = writers.body([], output, IDENTITY) if form is Form.parquet else _part(0).content
        archive.commit(replace(_part(0, "bad", "bad"), content=content))
        archive.finish()
    before = _listing(tmp_path)
    with Archive.open(target, output, IDENTITY, False) as archive:
        assert archive.complete
        assert archive.totals().rejected == 2
    assert _listing(tmp_path) == before
    _refused("was begun from another input; name another output, or remove", target, False, output, inputs=[])


@pytest.mark.parametrize("form", [Form.csv, Form.parquet])
def test_a_file_of_somebody_elses_is_refused(form: Form, tmp_path: Path) -> None:
    target, meta = tmp_path / "out", tmp_path / "out.meta.json"
    said = re.escape(f"{target}: is there already, and not selon's; name another output, or remove this one")
    target.write_text("Cher ami")
    _refused(said, target, False, Output(form))
    for content in ("{", "[]", '{"title": "Lettres"}'):
        meta.write_text(content)
        _refused(said, target, False, Output(form))
    pq.write_table(pa.table({"text": ["Cher ami"]}), target)
    _refused(said, target, False, Output(form))


def _refused(said: str, target: Path, parts: bool = True, output: Output = JSONL, **changes: Any) -> None:
    before = _listing(target.parent)
    with pytest.raises(SelonError, match=said), Archive.open(target, output, IDENTITY | changes, parts):
        pytest.fail("opened")
    assert _listing(target.parent) == before


@pytest.mark.parametrize("parts", [True, False], ids=["folder", "file"])
def test_strangers_are_refused(parts: bool, tmp_path: Path) -> None:
    target = _interrupted(tmp_path, parts)
    _refused("was begun from another input", target, parts, inputs=[{"name": "x", "sha256": "c"}])
    _refused("was begun with another model", target, parts, model_sha256="c")
    old = "this one" if parts else r"\S+\.parts"
    _refused(f"was begun with other options; .* remove {old} to", target, parts, options={"title": "x"})
    folder = target if parts else tmp_path / ".out.jsonl.parts"
    with FileLock(folder / ".lock"):
        _refused("another selon is writing there", target, parts)
    (folder / "manifest.json").write_text("{")
    _refused("damaged or not selon's", target, parts)


def test_places_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("Cher ami")
    _refused("holds other things; name a new or an empty folder", tmp_path / "mine")
    _refused("is a folder; name a file", tmp_path / "mine", parts=False)
    _refused("is a file; name a folder", tmp_path / "mine/letter.txt")
    _refused("cannot be written", tmp_path / "none/x.csv", parts=False)
    (tmp_path / "empty/.lock").mkdir(parents=True)  # cannot be opened, not even by root
    _refused("empty: cannot be written: Is a directory; name another place", tmp_path / "empty")


def test_a_full_disk_is_told_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with Archive.open(target, JSONL, IDENTITY, True) as archive:
        archive.commit(_part(0))
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(SelonError, match=r"No space left.*the same command goes on"):
            archive.commit(_part(1))
        monkeypatch.undo()
    with Archive.open(target, JSONL, IDENTITY, True) as archive:
        assert set(archive.done) == {0}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_where_the_journal_is_full(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def fill() -> None:
        with Archive.open(target, JSONL, IDENTITY, True) as archive:
            (target / "journal.jsonl").symlink_to("/dev/full")
            archive.commit(_part(0))

    with pytest.raises(SelonError, match=r"No space left.*the same command goes on"):
        fill()
    assert not target.exists()


# --- the command, killed at any moment -------------------------------------------------------------------


def _archive(path: Path, rows: Callable[..., Any], articles: int = 40) -> Path:
    texts: dict[str, list[str]] = {}
    for row in rows(articles, 5, "k"):
        texts.setdefault(row["article_id"], []).append(row["text"])
    lines = [json.dumps({"id": key, "text": " ".join(text)}) for key, text in texts.items()]
    lines.insert(7, "{")  # a bad row that must stop nothing
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _command(source: Path, output: Path, model: Path, *more: str) -> list[str]:
    options = ["--output", str(output), "--model", str(model), "--shard", "1", *more]
    return [sys.executable, "-m", "train", "label", str(source), *options]


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_killed_at_random_moments_it_finishes_as_if_nothing_had_been(
    name: str, model: Path, rows: Callable[..., Any], tmp_path: Path
) -> None:
    source = _archive(tmp_path / "in.jsonl", rows)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    undisturbed = subprocess.run(_command(source, tmp_path / "whole" / name, model), capture_output=True, text=True)
    assert undisturbed.returncode == 1, undisturbed.stderr  # one row was skipped
    assert "40 articles, 320 sentences, 1 skipped" in undisturbed.stderr.splitlines()[-1]

    draw = random.Random(name)
    command = _command(source, tmp_path / "killed" / name, model)
    folder = tmp_path / "killed" / (name if name == "out" else f".{name}.parts")
    kills = 0
    for target in (1, 12, 25):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(folder.glob("part-*"))) < target:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
    assert kills >= 2
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 1, finished.stderr
    assert _listing(tmp_path / "killed") == _listing(tmp_path / "whole")
