"""What is written is there whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from train.atomic import sync, whole_file, whole_folder
from train.schema import SelonError


@pytest.fixture
def saved(tmp_path: Path, fill_folder: Callable[[Path], None]) -> Path:
    folder = tmp_path / "model"
    with whole_folder(folder) as work:
        fill_folder(work)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_crash_leaves_nothing_and_keeps_the_old(saved: Path, error: type[BaseException]) -> None:
    def crash(target: Path) -> None:
        with whole_folder(target) as work:
            (work / "half.bin").write_bytes(b"x")
            raise error

    before = contents(saved)
    for target in (saved, saved.parent / "other/new"):
        with pytest.raises(error):
            crash(target)
    assert contents(saved) == before
    assert names(saved.parent) == ["model", "other"]
    assert names(saved.parent / "other") == []


def test_a_folder_is_replaced_whole(saved: Path) -> None:
    with whole_folder(saved) as work:
        (work / "new.txt").write_text("x", encoding="utf-8")
    assert names(saved) == ["new.txt"]
    assert names(saved.parent) == ["model"]


@pytest.mark.parametrize("failing", [1, 2])
def test_the_old_folder_comes_back_when_the_swap_fails(
    saved: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Either rename may fail: of the old folder out of the way, or of the new one into its place."""
    before, calls, rename = contents(saved), [], Path.rename

    def unwilling(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise OSError("disk gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", unwilling)
    with pytest.raises(SelonError, match="model: cannot be written: disk gone"), whole_folder(saved) as work:
        (work / "new.txt").write_text("x", encoding="utf-8")
    assert contents(saved) == before
    assert names(saved.parent) == ["model"]


def test_everything_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(
        os, "fsync", lambda handle: (events.append(Path(f"/proc/self/fd/{handle}").readlink().name), fsync(handle))[1]
    )
    monkeypatch.setattr(Path, "rename", lambda self, target: (events.append("rename"), rename(self, target))[1])
    with whole_folder(tmp_path / "model") as work:
        (work / "deep").mkdir()
        (work / "deep/a.bin").write_bytes(b"x")
    assert sorted(events[:3]) == ["a.bin", "deep", work.name]
    assert events[3:] == ["rename", tmp_path.name]


def test_places_that_cannot_be_written_are_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(SelonError, match="cannot be written"), whole_folder(tmp_path / "file/model"):
        pass
    with pytest.raises(SelonError, match="cannot be written: No such file"), whole_file(tmp_path / "absent/a.txt"):
        pass
    with pytest.raises(SelonError, match="this is a folder; name a file"), whole_file(tmp_path):
        pass


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_disk_that_is_full_meanwhile_is_the_users_error(whole: Callable[[Path], Any], tmp_path: Path) -> None:
    target = tmp_path / "new"
    for number, error in ((errno.ENOSPC, SelonError), (errno.ENOENT, FileNotFoundError)):  # what is read, for instance
        with pytest.raises(error, match=os.strerror(number)), whole(target):
            raise OSError(number, os.strerror(number))
        assert names(tmp_path) == []


def test_a_disk_that_is_full_at_the_end_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    for whole in (whole_file, whole_folder):
        with pytest.raises(SelonError, match="new: cannot be written: Input/output error"), whole(tmp_path / "new"):
            pass
        assert names(tmp_path) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with whole_file(target) as file:
        file.write("été\r\n\n")
        assert not target.exists()
    assert target.read_bytes() == "été\r\n\n".encode()

    def crash() -> None:
        with whole_file(target) as file:
            file.write("half")
            file.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    assert target.read_bytes() == "été\r\n\n".encode()
    assert names(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize(("umask", "old", "new"), [(0o022, None, 0o644), (0o027, None, 0o640), (0o022, 0o600, 0o600)])
def test_a_file_is_seen_by_those_who_might_see_the_old_one(
    umask: int, old: int | None, new: int, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    if old:
        target.touch()
        target.chmod(old)
    before = os.umask(umask)
    try:
        with whole_file(target) as file:
            file.write("x")
    finally:
        assert os.umask(before) == umask
    assert target.stat().st_mode & 0o777 == new


def test_windows_syncs_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", lambda *arguments: pytest.fail("opened"))
    sync(tmp_path)
