"""The saved model: a folder that stands alone.

``bundle.json`` says what the folder holds and carries the SHA-256 of every other file; a folder with a
missing, altered or unknown-format file is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from train.config import InputConfig, ModelConfig, StrictModel
from train.schema import LABELS, SelonError

MANIFEST = "bundle.json"
FORMAT = 1


class Golden(StrictModel):
    """An article and what the model said of it when it was saved."""

    title: str
    text: str
    probabilities: tuple[tuple[float, ...], ...]


class HeldOut(StrictModel):
    """How often each label was right, from 0 to 1, on articles that the model had not seen.

    ``natural_precision`` is reweighted to the labels' shares in ordinary press articles, where denials are rare;
    ``natural_interval`` is its 95 % interval. Both lack a label that was never given.
    """

    sources: tuple[str, ...]
    fingerprint: str
    articles: int
    counts: dict[str, int]
    precision: dict[str, float]
    natural_precision: dict[str, float]
    natural_interval: dict[str, tuple[float, float]] = Field(default_factory=dict)


class Int8Check(StrictModel):
    """How a quantised graph compared with the fp32 one on validation, and whether it was therefore kept.

    ``agreement`` is the share of equal labels, ``f1_loss`` what it costs in macro-F1, 0 to 1.
    """

    kept: bool
    agreement: float
    f1_loss: float


class Bundle(StrictModel):
    """What ``bundle.json`` says. ``files`` maps each other file of the folder to its SHA-256.

    ``precision`` names the graph that answers on a CPU, int8 only where ``int8`` says that it was kept. Golden
    probabilities are always those of the fp32 graph.
    """

    format: int = FORMAT
    selon: str
    name: str
    labels: tuple[str, ...] = LABELS
    model: ModelConfig
    input: InputConfig
    review_below: float = Field(ge=0, le=1)
    corpus: str
    trained_on: tuple[str, ...]
    config: dict[str, Any]
    training_seconds: float | None
    """None where it was interrupted and resumed."""
    created: str
    golden: tuple[Golden, ...] = ()
    held_out: HeldOut | None = None
    precision: Literal["fp32", "int8"] = "fp32"
    int8: Int8Check | None = None
    files: dict[str, str] = Field(default_factory=dict)


def hashes(folder: Path, manifest: str = MANIFEST) -> dict[str, str]:
    """Return the SHA-256 of every file below ``folder`` but the manifest, by relative path."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / manifest
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, bundle: Bundle) -> Bundle:
    """Write ``bundle.json`` over the files that lie in ``folder``; return it with their hashes."""
    complete = bundle.model_copy(update={"files": hashes(folder)})
    (folder / MANIFEST).write_text(complete.model_dump_json(indent=1), encoding="utf-8")
    return complete


def read_bundle(folder: Path) -> Bundle:
    """Read and check a saved model.

    Raises
    ------
    SelonError
        When the folder is no bundle, cannot be read, is from a newer format, or a file is missing or altered.
    """
    try:
        bundle = _read_manifest(folder)
        # A graph that is not listed would answer all the same.
        graphs = {path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx")}
        for stray in sorted(graphs - set(bundle.files)):
            raise SelonError(f"{folder / stray}: is no part of the saved model; take it out")
        for name, digest in bundle.files.items():
            path = folder / name
            if not path.is_file():
                raise SelonError(f"{path}: missing from the saved model; get the model again")
            if sha256(path) != digest:
                raise SelonError(f"{path}: altered since the model was saved; get the model again")
    except OSError as error:
        raise SelonError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    return bundle


def _read_manifest(folder: Path) -> Bundle:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise SelonError(f"{folder}: no {MANIFEST} there, so this is no saved model; name the folder of one")
    try:
        tree = json.loads(manifest.read_text(encoding="utf-8"))
        if isinstance(tree, dict) and isinstance(tree.get("format"), int) and tree["format"] > FORMAT:
            raise SelonError(
                f"{manifest}: format {tree['format']} is newer than this selon reads ({FORMAT}); update selon"
            )
        bundle = Bundle.model_validate(tree)
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise SelonError(f"{manifest}: damaged ({reason}); get the model again") from None
    if bundle.labels != LABELS:
        raise SelonError(f"{manifest}: labels {', '.join(bundle.labels)} are not selon's; train it again")
    return bundle


def saved_model(folder: Path) -> Path | None:
    """Return the saved model that lies in ``folder``, or that ``folder`` is a member of; None where it is neither."""
    return next((place for place in (folder, folder.parent) if (place / MANIFEST).is_file()), None)


def bundle_sha256(folder: Path) -> str:
    """Return the SHA-256 of ``bundle.json``: it covers every file, so it names the model."""
    return sha256(folder / MANIFEST)
