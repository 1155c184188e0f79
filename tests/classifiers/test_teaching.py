"""A baseline teaches an encoder: what it says is kept, shared out over the epochs, and learnt from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.classifiers import teaching
from train.classifiers.base import Fitting
from train.classifiers.camembert import CamembertClassifier
from train.classifiers.finetuning import _Sampler
from train.config import CamembertConfig, InputConfig, TfidfConfig
from train.schema import Article, Probabilities, SelonError

TEACHER = TfidfConfig(kind="tfidf", max_iter=5)
Splits = dict[str, list[Article]]


def fitting(splits: Splits, folder: Path, resume: bool = False) -> Fitting:
    return Fitting(3, folder, resume, unlabelled=splits["test"])


def toy_config(encoders: Path, **changes: object) -> CamembertConfig:
    """Return a toy encoder's config."""
    settings = {"encoder": str(encoders / "camembert"), "max_length": 48, "epochs": 4, "batch_size": 8}
    return CamembertConfig(kind="camembert", **{**settings, "learning_rate": 4e-3, **changes})


def test_the_teacher_knows_the_rule_and_is_fitted_once(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = teaching.teach(TEACHER, InputConfig(), splits["train"], splits["validation"], fitting(splits, tmp_path))
    gold = np.concatenate([article.gold for article in splits["test"]])
    assert taught.shape == (len(gold), 4)
    np.testing.assert_allclose(taught.sum(1), 1)
    assert (taught.argmax(1) == gold).mean() > 0.7
    monkeypatch.setattr(teaching, "TfidfClassifier", None)  # fitting another one would fail
    again = teaching.teach(TEACHER, InputConfig(), [], [], fitting(splits, tmp_path, resume=True))
    np.testing.assert_array_equal(again, taught)


def test_a_bigger_encoder_can_teach(splits: Splits, encoders: Path, tmp_path: Path) -> None:
    teacher = toy_config(encoders)
    said: set[str] = set()
    given = replace(fitting(splits, tmp_path), log=lambda figures, step: said.update(figures))
    taught = teaching.teach(teacher, InputConfig(before=0, after=0), splits["train"], splits["validation"], given)
    gold = np.concatenate([article.gold for article in splits["test"]])
    np.testing.assert_allclose(taught.sum(1), 1)
    assert (taught.argmax(1) == gold).mean() > 0.7
    assert "teacher/validation/macro_f1" in said
    assert all(name.startswith("teacher/") for name in said)


class KilledError(Exception):
    """Stands for the end of a process."""


def test_a_teacher_that_was_interrupted_goes_on_and_says_the_same(
    splits: Splits, encoders: Path, tmp_path: Path
) -> None:
    teacher = toy_config(encoders, epochs=1, save_steps=10)
    steps: list[int] = []

    def teach(folder: Path, resume: bool, kill_at: int | None = None) -> Probabilities:
        def log(figures: dict[str, float], step: int) -> None:
            if "teacher/loss" in figures:
                steps.append(step)
                if step == kill_at:
                    raise KilledError

        given = replace(fitting(splits, folder, resume), log=log)
        inputs = InputConfig(before=0, after=0)
        return teaching.teach(teacher, inputs, splits["train"][:20], splits["validation"], given)

    undisturbed = teach(tmp_path / "undisturbed", resume=False)
    with pytest.raises(KilledError):
        teach(tmp_path / "killed", resume=False, kill_at=15)
    steps.clear()
    np.testing.assert_array_equal(teach(tmp_path / "killed", resume=True), undisturbed)
    assert min(steps) == 15  # after the checkpoint at 10, not from the beginning


def test_a_teacher_that_is_not_there_is_told_of_before_anything_else(encoders: Path) -> None:
    teacher = CamembertConfig(kind="camembert", encoder="mlruns/absent")
    config = CamembertConfig(kind="camembert", encoder=str(encoders / "camembert"), max_length=48, teacher=teacher)
    with pytest.raises(SelonError, match=r"model\.teacher: .*absent: there is no such encoder"):
        CamembertClassifier(config, InputConfig()).check()


def test_another_teacher_is_another_training(encoders: Path, tmp_path: Path) -> None:
    """Nothing is resumed that began with other files."""
    folder = tmp_path / "teacher"
    shutil.copytree(encoders / "camembert", folder)
    teacher = CamembertConfig(kind="camembert", encoder=str(folder))
    config = CamembertConfig(kind="camembert", encoder=str(encoders / "camembert"), teacher=teacher)
    before = CamembertClassifier(config, InputConfig()).start()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    after = CamembertClassifier(config, InputConfig()).start()
    assert [name for name in before if before[name] != after[name]] == [f"{folder}/config.json"]


def test_an_encoder_learns_from_what_it_is_taught_alone(splits: Splits, encoders: Path, tmp_path: Path) -> None:
    """With four labelled articles the toy learns little, with the teacher's word on the others it learns the rule."""
    few = {**splits, "train": splits["train"][:4], "test": splits["train"][4:]}
    right = []
    for teacher in (None, TEACHER):
        config = toy_config(encoders, teacher=teacher)
        work = tmp_path / str(teacher is None)
        work.mkdir()
        given = fitting(few, work) if teacher else Fitting(3, work)
        fitted = CamembertClassifier(config, InputConfig(before=0, after=0)).fit(
            few["train"], splits["validation"], given
        )
        said = np.concatenate(fitted.predict_proba(splits["test"])).argmax(1)
        right.append(float((said == np.concatenate([article.gold for article in splits["test"]])).mean()))
    assert right[1] > right[0]


@given(
    labelled=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    taught=st.lists(st.integers(1, 50), max_size=60),
    epochs=st.integers(1, 4),
)
def test_an_epoch_holds_all_labels_and_its_share_of_the_rest(
    labelled: list[int], taught: list[int], epochs: int
) -> None:
    given = SimpleNamespace(num_train_epochs=float(epochs), seed=1, train_batch_size=4)
    sampler = _Sampler(labelled + taught, len(labelled), given)  # type: ignore[arg-type]
    seen: list[int] = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(set(order)) == len(sampler)
        assert set(range(len(labelled))) <= set(order)
        sampler.set_epoch(epoch)
        assert list(sampler) == order
        seen += [place for place in order if place >= len(labelled)]
    assert len(seen) == len(set(seen)) == len(taught) // epochs * epochs
