"""The state of a training on disk: whole, checked by SHA-256, the last two kept.

``checkpoints/step-00001234/`` holds ``model.safetensors`` (fp32), ``optimizer.safetensors``, ``state.json`` and
``manifest.json``. No pickle.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from train.atomic import whole_folder
from train.bundle import sha256
from train.schema import SelonError

#: In the work folder.
FOLDER = "checkpoints"
_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
_KEEP = 2


@dataclass(slots=True)
class State:
    """Where a training stands; the schedule and the data order follow from it alone."""

    plan: str
    """Fingerprint of the config's training plan."""
    settings: dict[str, Any]
    """The resolved config, for the model card."""
    step: int = 0
    tokens: int = 0
    position: int = 0
    """In pieces of the packed stream."""
    seconds: float = 0.0
    """Spent in the loop, over all its sittings."""
    validation_loss: float | None = None
    machine: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry an evaluation."""


def save(folder: Path, state: State, model: Any, optimizer: Any) -> Path:
    """Write a checkpoint of ``model`` (uncompiled) and ``optimizer`` and drop all but the last two."""
    import torch
    from safetensors.torch import save_file

    target = folder / f"step-{state.step:08}"
    with whole_folder(target) as draft:
        weights = {name: value.detach().cpu().contiguous() for name, value in model.named_parameters()}
        save_file(weights, draft / "model.safetensors")
        inner = optimizer.state_dict()["state"]
        tensors = {
            f"{index}.{key}": value.detach().cpu().contiguous()
            for index, values in inner.items()
            for key, value in values.items()
        }
        tensors["rng"] = torch.get_rng_state()
        save_file(tensors, draft / "optimizer.safetensors")
        text = json.dumps(asdict(state), indent=1, ensure_ascii=False)
        (draft / "state.json").write_text(text, encoding="utf-8")
        manifest = {name: sha256(draft / name) for name in _FILES}
        (draft / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for old in _all(folder)[:-_KEEP]:
        shutil.rmtree(old)
    return target


def verify(checkpoint: Path) -> None:
    """Raise SelonError unless every file of the checkpoint is there and unaltered."""
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        wrong = [name for name in _FILES if sha256(checkpoint / name) != manifest.get(name)]
    except (OSError, ValueError) as error:
        raise SelonError(f"{checkpoint}: the checkpoint is incomplete ({error}); remove that folder") from None
    if wrong:
        raise SelonError(f"{checkpoint}: altered since it was written ({', '.join(wrong)}); remove that folder")


def last_verified(folder: Path) -> Path | None:
    """Return the last intact checkpoint, None where there is none at all.

    A broken one is passed over with a warning; SelonError if all are broken.
    """
    found = _all(folder)
    for checkpoint in reversed(found):
        try:
            verify(checkpoint)
        except SelonError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
        else:
            return checkpoint
    if found:
        raise SelonError(f"{folder}: none of its checkpoints is intact; remove that folder and start afresh")
    return None


def read_state(checkpoint: Path) -> State:
    """Return the state of a checkpoint."""
    return State(**json.loads((checkpoint / "state.json").read_text(encoding="utf-8")))


def restore(checkpoint: Path, model: Any, optimizer: Any) -> State:
    """Load weights, optimizer and random state of a verified checkpoint in place and return its state."""
    import torch
    from safetensors.torch import load_file

    load_weights(checkpoint, model)
    tensors = load_file(checkpoint / "optimizer.safetensors")
    torch.set_rng_state(tensors.pop("rng"))
    inner: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        inner.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": inner, "param_groups": optimizer.state_dict()["param_groups"]})
    return read_state(checkpoint)


def load_weights(checkpoint: Path, model: Any) -> None:
    """Load the weights of a checkpoint into ``model`` in place; every parameter must be there."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(checkpoint / "model.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def any_in(folder: Path) -> bool:
    """Whether there is a checkpoint, intact or not."""
    return bool(_all(folder))


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
