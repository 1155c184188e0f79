"""The saved model is there whole or not at all, and a damaged one is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from train.atomic import whole_folder
from train.bundle import (
    FORMAT,
    MANIFEST,
    Bundle,
    Golden,
    bundle_sha256,
    hashes,
    read_bundle,
    sha256,
    write_manifest,
)
from train.config import InputConfig, TfidfConfig
from train.schema import SelonError

BUNDLE = Bundle(
    selon="0.1.0",
    name="essai",
    model=TfidfConfig(kind="tfidf", C=2e-5),
    input=InputConfig(before=2),
    review_below=0.5,
    corpus="c0ffee",
    trained_on=("0123456789abcdef",),
    config={"name": "essai", "data": {"train": ["a"]}},
    training_seconds=1.5,
    created="2026-11-23T10:00:00+00:00",
    golden=(Golden(title="", text="Une. Deux.", probabilities=((0.7, 0.1, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25))),),
)


@pytest.fixture
def saved(tmp_path: Path, fill_folder: Callable[[Path], None]) -> Path:
    folder = tmp_path / "model"
    with whole_folder(folder) as work:
        fill_folder(work)
        (work / "deep" / MANIFEST).write_text("{}", encoding="utf-8")
        write_manifest(work, BUNDLE)
    return folder


def mend(folder: Path, **changes: Any) -> None:
    tree = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) | changes
    (folder / MANIFEST).write_text(json.dumps(tree), encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(folder: Path) -> str:
    with pytest.raises(SelonError) as caught:
        read_bundle(folder)
    return str(caught.value).removeprefix(str(folder) + os.sep)


def test_what_was_saved_is_read_back(saved: Path) -> None:
    bundle = read_bundle(saved)
    assert bundle == BUNDLE.model_copy(update={"files": hashes(saved)})
    assert set(bundle.files) == {"weights.bin", "deep/notes.txt", f"deep/{MANIFEST}"}
    assert bundle.files["weights.bin"] == sha256(saved / "weights.bin")
    assert bundle_sha256(saved) == sha256(saved / MANIFEST)


def test_a_manifest_from_before_the_held_out_figures_is_read(saved: Path) -> None:
    manifest = saved / MANIFEST
    tree = json.loads(manifest.read_text(encoding="utf-8"))
    del tree["held_out"]
    manifest.write_text(json.dumps(tree), encoding="utf-8")
    assert read_bundle(saved).held_out is None


def test_only_the_finished_folder_is_left(saved: Path) -> None:
    assert names(saved.parent) == ["model"]
    assert saved.stat().st_mode & 0o755 == 0o755


def test_a_graph_that_is_not_listed_is_refused(saved: Path) -> None:
    (saved / "model.int8.onnx").write_bytes(b"another")
    assert refusal(saved) == "model.int8.onnx: is no part of the saved model; take it out"
    (saved / "model.int8.onnx").rename(saved / "deep/model.int8.onnx")
    assert refusal(saved) == "deep/model.int8.onnx: is no part of the saved model; take it out"


@pytest.mark.parametrize("name", ["weights.bin", "deep/notes.txt", f"deep/{MANIFEST}"])
def test_an_altered_or_missing_file_is_refused(saved: Path, name: str) -> None:
    content = bytearray((saved / name).read_bytes())
    content[0] ^= 1
    (saved / name).write_bytes(bytes(content))
    assert refusal(saved) == f"{name}: altered since the model was saved; get the model again"
    (saved / name).unlink()
    assert refusal(saved) == f"{name}: missing from the saved model; get the model again"


def test_a_folder_without_a_manifest_is_refused(saved: Path) -> None:
    (saved / MANIFEST).unlink()
    assert refusal(saved) == f"{saved}: no {MANIFEST} there, so this is no saved model; name the folder of one"
    assert "no bundle.json there" in refusal(saved / "absent")
    assert refusal(saved / ("a" * 300)).endswith("cannot be read: File name too long")


def test_a_newer_format_is_refused_whatever_else_is_in_it(saved: Path) -> None:
    mend(saved, format=FORMAT + 1, something_new={})
    assert refusal(saved) == f"{MANIFEST}: format 2 is newer than this selon reads (1); update selon"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
        ({"name": None}, "name: Input should be a valid string"),
        ({"review_below": 2}, "review_below: Input should be less than or equal to 1"),
        ({"model": {"kind": "svm"}}, "model: Input tag 'svm'"),
        ({"model": {"kind": "tfidf", "C": 0}}, "model.tfidf.C: Input should be greater than 0"),
        ({"golden": [{"title": ""}]}, "golden.0.text: Field required"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    mend(saved, **changes)
    assert refusal(saved).startswith(f"{MANIFEST}: damaged ({message}")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"null"])
def test_a_manifest_that_is_no_object_is_refused(saved: Path, content: bytes) -> None:
    (saved / MANIFEST).write_bytes(content)
    assert refusal(saved).startswith(f"{MANIFEST}: damaged (")


def test_a_truncated_manifest_is_refused(saved: Path) -> None:
    whole = (saved / MANIFEST).read_bytes()
    (saved / MANIFEST).write_bytes(whole[: len(whole) // 2])
    assert refusal(saved).startswith(f"{MANIFEST}: damaged (")


def test_other_labels_are_refused(saved: Path) -> None:
    mend(saved, labels=["claim", "attribution", "denial", "background"])
    assert (
        refusal(saved) == f"{MANIFEST}: labels claim, attribution, denial, background are not selon's; train it again"
    )
