"""Fine-tuning: three architectures on one path, checkpoints that hold, calibration that travels."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from train.classifiers import finetuning
from train.classifiers.base import Fitting
from train.classifiers.camembert import CamembertClassifier, encode
from train.config import CamembertConfig, InputConfig, TfidfConfig
from train.inputs import build_inputs
from train.metrics import confusion, macro_f1
from train.schema import LABELS, Article, SelonError

ARCHITECTURES = ("camembert", "roberta", "deberta-v2")
INPUTS = InputConfig(before=0, after=0)
Splits = dict[str, list[Article]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _config(encoders: Path, kind: str, **changes: object) -> CamembertConfig:
    settings = {"max_length": 48, "epochs": 6, "batch_size": 8, "learning_rate": 4e-3, "save_steps": 1000}
    return CamembertConfig(kind="camembert", encoder=str(encoders / kind), **{**settings, **changes})


@dataclass(frozen=True)
class Fitted:
    classifier: CamembertClassifier
    folder: Path
    losses: list[float]
    figures: set[str]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def fitted(
    request: pytest.FixtureRequest, encoders: Path, splits: Splits, tmp_path_factory: pytest.TempPathFactory
) -> Fitted:
    """Each architecture, fine-tuned once and saved."""
    losses: list[float] = []
    figures: set[str] = set()

    def log(values: dict[str, float], step: int) -> None:
        figures.update(values)
        losses.extend([values["loss"]] if "loss" in values else [])

    folder = tmp_path_factory.mktemp("saved")
    classifier = CamembertClassifier(_config(encoders, request.param), INPUTS)
    classifier.check()
    classifier.fit(splits["train"], splits["validation"], Fitting(3, tmp_path_factory.mktemp("work"), log=log))
    classifier.save(folder)
    return Fitted(classifier, folder, losses, figures)


def test_groups_of_inputs_make_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    config = CamembertConfig(kind="camembert", encoder="", batch_size=32)
    for size, groups in ((32, (16, 2)), (8, (8, 1)), (20, (20, 1))):
        found = finetuning._arguments(config.model_copy(update={"batch_size": size}), 0, tmp_path)
        if not torch.accelerator.is_available():
            assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == groups
    logits, labels = torch.randn(20, 4), torch.rand(20, 4).softmax(1)
    shares = [
        finetuning._mean_loss(SimpleNamespace(logits=logits[part]), labels[part], torch.tensor(4 * 20))
        for part in (slice(16), slice(16, 20))
    ]
    torch.testing.assert_close(sum(shares), torch.nn.functional.cross_entropy(logits, labels))


def test_the_loss_falls_and_the_rule_is_learnt(fitted: Fitted, splits: Splits) -> None:
    assert np.mean(fitted.losses[-5:]) < 0.3 * np.mean(fitted.losses[:5])
    gold = np.concatenate([article.gold for article in splits["test"]])
    predicted = np.concatenate(fitted.classifier.predict_proba(splits["test"])).argmax(1)
    assert macro_f1(confusion(gold, predicted)) > 0.9


def test_the_tracker_hears_of_steps_epochs_and_temperature(fitted: Fitted) -> None:
    named = {"loss", "learning_rate", "temperature", "validation/loss", "validation/macro_f1"}
    assert named | {f"validation/f1_{label}" for label in LABELS} <= fitted.figures


def test_the_graph_equals_pytorch(fitted: Fitted, splits: Splits) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(fitted.folder).eval()
    pairs = [pair for article in splits["test"][:3] for pair in build_inputs(article, INPUTS)]
    encodings = [one.encoding for one in encode(fitted.classifier._ready().tokenizer, pairs, 48)]
    with torch.no_grad():
        expected = [model(input_ids=torch.tensor([encoding.ids])).logits[0].numpy() for encoding in encodings]
    np.testing.assert_allclose(fitted.classifier.logits(encodings), expected, atol=1e-4)


def test_a_pipeline_on_the_saved_folder_is_calibrated_too(fitted: Fitted, splits: Splits) -> None:
    """The temperature is in the weights: others get our probabilities from (text, pair) without our code."""
    article = splits["test"][0]
    tokenizer = AutoTokenizer.from_pretrained(fitted.folder)
    labelled = pipeline("text-classification", model=str(fitted.folder), tokenizer=tokenizer, device="cpu", top_k=None)
    ours = fitted.classifier.predict_proba([article])[0]
    for (text, pair), row in zip(build_inputs(article, INPUTS), ours, strict=True):
        given = {one["label"]: one["score"] for one in labelled({"text": text, "text_pair": pair})}
        assert set(given) == set(LABELS)
        np.testing.assert_allclose([given[label] for label in LABELS], row, atol=1e-4)


def test_the_saved_folder_stands_alone(fitted: Fitted) -> None:
    names = {path.name for path in fitted.folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "model.onnx"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".data")) for name in names)
    config = json.loads((fitted.folder / "config.json").read_text())
    assert list(config["id2label"].values()) == list(LABELS)


# --- checkpoints -----------------------------------------------------------------------------------------


class KilledError(Exception):
    """Stands for the end of a process."""


def _fit(
    encoders: Path, splits: Splits, checkpoints: Path, resume: bool = False, kill_at: int | None = None
) -> dict[str, torch.Tensor]:
    """Fine-tune 30 steps (three epochs of ten), a checkpoint each five; return the weights.

    Steps are of two groups, and a third of what a teacher labels comes in each epoch.
    """
    checkpoints.mkdir(exist_ok=True)
    teacher = TfidfConfig(kind="tfidf", max_iter=5)
    config = _config(encoders, "camembert", epochs=3, save_steps=5, teacher=teacher)

    def log(values: dict[str, float], step: int) -> None:
        if kill_at is not None and "loss" in values and step >= kill_at:
            raise KilledError

    classifier = CamembertClassifier(config, INPUTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "_AT_ONCE", 4)
        fitting = Fitting(3, checkpoints, resume, log, splits["train"][8:14])
        classifier.fit(splits["train"][:8], splits["validation"][:4], fitting)
    model = AutoModelForSequenceClassification.from_pretrained(classifier._ready().folder)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted(encoders: Path, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return _fit(encoders, splits, tmp_path_factory.mktemp("work") / "checkpoints")


@pytest.fixture(scope="module")
def interrupted(encoders: Path, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints at 15 and 20 of a training that died at 25, before it saved."""
    checkpoints = tmp_path_factory.mktemp("work") / "checkpoints"
    with pytest.raises(KilledError):
        _fit(encoders, splits, checkpoints, kill_at=25)
    return checkpoints


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_two_whole_checkpoints_are_kept_and_nothing_half_written(interrupted: Path) -> None:
    assert sorted(path.name for path in interrupted.iterdir()) == ["step-00000015", "step-00000020", "taught.npy"]
    latest = finetuning.latest_checkpoint(interrupted)
    assert latest is not None
    assert latest.name == "step-00000020"


@pytest.mark.parametrize("from_step", [20, 15], ids=["at an epoch's end", "amid an epoch"])
def test_resuming_gives_the_same_weights(
    from_step: int,
    encoders: Path,
    splits: Splits,
    interrupted: Path,
    tmp_path: Path,
    uninterrupted: dict[str, torch.Tensor],
) -> None:
    checkpoints = Path(shutil.copytree(interrupted, tmp_path / "checkpoints"))
    if from_step == 15:
        weights = checkpoints / "step-00000020/model.safetensors"
        os.truncate(weights, weights.stat().st_size // 2)
    assert _same(_fit(encoders, splits, checkpoints, resume=True), uninterrupted)


@pytest.mark.parametrize("spoil", ["truncated", "altered", "missing", "no manifest", "broken manifest"])
def test_a_damaged_checkpoint_is_passed_over(spoil: str, interrupted: Path, tmp_path: Path) -> None:
    checkpoints = Path(shutil.copytree(interrupted, tmp_path / "checkpoints"))
    newest = checkpoints / "step-00000020"
    optimizer, manifest = newest / "optimizer.pt", newest / "manifest.json"
    if spoil == "truncated":
        os.truncate(optimizer, 100)
    elif spoil == "altered":
        content = bytearray(optimizer.read_bytes())
        content[len(content) // 2] ^= 1
        optimizer.write_bytes(content)
    elif spoil == "broken manifest":
        manifest.write_text("{")
    else:
        (optimizer if spoil == "missing" else manifest).unlink()
    found = finetuning.latest_checkpoint(checkpoints)
    assert found is not None
    assert found.name == "step-00000015"
    shutil.rmtree(found)
    assert finetuning.latest_checkpoint(checkpoints) is None


def test_a_fine_tuning_that_diverged_is_refused(
    encoders: Path, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(*given: Any, **named: Any) -> Any:
        return SimpleNamespace(predictions=np.full((4, 4), np.nan, np.float32), metrics={})

    monkeypatch.setattr(finetuning._Trainer, "predict", diverged)
    classifier = CamembertClassifier(_config(encoders, "camembert", epochs=1), INPUTS)
    with pytest.raises(SelonError, match=r"model\.learning_rate: the fine-tuning diverged; take a lower one"):
        classifier.fit(splits["train"][:4], splits["validation"][:4], Fitting(3, tmp_path))
