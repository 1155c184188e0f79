"""The mean of classifiers: each with a seed of its own, kept when it is done, saved and opened together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from train.bundle import MANIFEST
from train.classifiers.base import Fitting, Runtime
from train.classifiers.camembert import CamembertClassifier
from train.classifiers.mean import MeanClassifier
from train.classifiers.tfidf import TfidfClassifier
from train.config import CamembertConfig, InputConfig, MeanConfig, TfidfConfig, TrainConfig
from train.schema import Article, SelonError

Splits = dict[str, list[Article]]
INPUTS = InputConfig(before=0, after=0)
BASELINE = TfidfConfig(kind="tfidf", max_iter=5)


def _encoder(encoders: Path, **changes: Any) -> CamembertConfig:
    settings = {"max_length": 48, "epochs": 1, "batch_size": 8, "learning_rate": 4e-3, **changes}
    return CamembertConfig(kind="camembert", encoder=str(encoders / "camembert"), **settings)


@pytest.fixture(scope="module")
def fitted(encoders: Path, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[MeanClassifier, Path]:
    """A baseline and an encoder, fitted together, and the folder of what a fit leaves behind."""
    model = MeanConfig(kind="mean", members=(BASELINE, _encoder(encoders)))
    folder, logged = tmp_path_factory.mktemp("checkpoints"), []
    classifier = MeanClassifier(model, INPUTS)
    classifier.check()
    fitting = Fitting(3, folder, log=lambda figures, step: logged.extend(figures))
    classifier.fit(splits["train"], splits["validation"], fitting)
    assert {"member-0/temperature", "member-1/loss", "member-1/temperature", "temperature"} <= set(logged)
    return classifier, folder


def test_the_members_count_the_same(fitted: tuple[MeanClassifier, Path], splits: Splits) -> None:
    classifier, _ = fitted
    rows = np.concatenate(classifier.predict_proba(splits["test"]))
    mean = np.mean([np.concatenate(member.predict_proba(splits["test"])) for member in classifier.members], axis=0)
    assert rows.argmax(1).tolist() == mean.argmax(1).tolist()
    sharpened = mean ** (1 / classifier.temperature)
    assert np.allclose(rows, sharpened / sharpened.sum(axis=1, keepdims=True))
    assert classifier.predict_proba([]) == []
    assert [len(one) for one in classifier.predict_proba([splits["test"][0], Article("", "", ())])] == [
        len(splits["test"][0]),
        0,
    ]


def test_a_member_that_cannot_read_a_sentence_to_its_end_tells(fitted: tuple[MeanClassifier, Path]) -> None:
    ((_, cuts),) = fitted[0].predict_with_cuts([Article.alone("Le maire dément " + "usine " * 200)])
    assert cuts == [True]
    assert fitted[0].show_inputs(Article.alone("Le maire dément."))[0].startswith("Le maire dément.")


def test_what_is_saved_opens_again(fitted: tuple[MeanClassifier, Path], splits: Splits, tmp_path: Path) -> None:
    fitted[0].save(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} > {
        "mean.json",
        "member-0/model.skops",
        "member-1/model.onnx",
    }
    again = MeanClassifier.load(tmp_path, fitted[0].model, INPUTS, Runtime(threads=1))
    for one, other in zip(again.predict_proba(splits["test"]), fitted[0].predict_proba(splits["test"]), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_a_resumed_fit_goes_on_with_the_next_member(
    fitted: tuple[MeanClassifier, Path], splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: Any, *given: Any) -> None:
        raise AssertionError("a member that was done is fitted again")

    classifier, folder = fitted
    monkeypatch.setattr(TfidfClassifier, "fit", fit)
    monkeypatch.setattr(CamembertClassifier, "fit", fit)
    again = MeanClassifier(classifier.model, INPUTS).fit(
        splits["train"], splits["validation"], Fitting(3, folder, True)
    )
    assert again.temperature == pytest.approx(classifier.temperature)


def test_members_of_one_kind_differ_in_their_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = []

    def fit(self: Any, train: Any, validation: Any, fitting: Fitting) -> None:
        seeds.append((fitting.seed, fitting.checkpoints.name))
        raise KeyboardInterrupt

    monkeypatch.setattr(TfidfClassifier, "fit", fit)
    classifier = MeanClassifier(MeanConfig(kind="mean", members=(BASELINE, BASELINE)), INPUTS)
    for done in range(2):
        with pytest.raises(KeyboardInterrupt):
            classifier.fit([], [], Fitting(3, tmp_path, resume=True))
        (tmp_path / f"member-{done}" / "saved").mkdir()
        monkeypatch.setattr(TfidfClassifier, "load", lambda *given: classifier.members[0])
    assert seeds == [(3, "member-0"), (4, "member-1")]


def test_members_are_checked_and_what_they_start_from_is_known(copied: dict[str, Path], encoders: Path) -> None:
    further = CamembertConfig(kind="camembert", encoder=str(copied["petit"]), max_length=48)
    classifier = MeanClassifier(MeanConfig(kind="mean", members=(BASELINE, further)), INPUTS)
    assert classifier.known
    assert f"{copied['petit']}/{MANIFEST}" not in classifier.start()
    assert any(name.endswith("model.safetensors") for name in classifier.start())
    broken = MeanClassifier(MeanConfig(kind="mean", members=(BASELINE, _encoder(encoders, max_length=65))), INPUTS)
    with pytest.raises(SelonError, match=r"model\.members, number 2: model\.max_length: 65 is more than"):
        broken.check()


def test_what_a_config_may_not_say(encoders: Path) -> None:
    def config(*members: Any, **data: Any) -> TrainConfig:
        splits = dict.fromkeys(("train", "validation", "test"), ("data/x.jsonl",))
        return TrainConfig.model_validate(
            {"name": "x", "data": {**splits, **data}, "model": {"kind": "mean", "members": members}}
        )

    taught = _encoder(encoders, teacher=BASELINE)
    assert config(BASELINE, taught, unlabelled=("data/u.jsonl",))
    for members, data, said in (
        ([BASELINE], {}, "at least 2 items"),
        ([BASELINE, taught], {}, "go together"),
        ([BASELINE, BASELINE], {"unlabelled": ("data/u.jsonl",)}, "go together"),
        ([BASELINE, _encoder(encoders, int8=True)], {}, "a member has no int8 graph"),
    ):
        with pytest.raises(ValidationError, match=said):
            config(*members, **data)
