"""From a config to a tracked, registered model; what an interrupted training leaves, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from train import registry, tracking, training
from train.bundle import read_bundle
from train.classifiers.base import Fitting, family
from train.classifiers.camembert import CamembertClassifier
from train.classifiers.tfidf import TfidfClassifier
from train.comparison import compare, from_predictions
from train.config import TrainConfig
from train.config_file import load_config
from train.corpus import content_key, read_articles
from train.schema import LABELS, Article, SelonError


def _config(*overrides: str) -> TrainConfig:
    return load_config("configs/tfidf.yaml", TrainConfig, overrides)


def _run(address: str) -> Any:
    return tracking.connect().get_run(registry.run_of(address))


def _places(root: Path) -> list[Path]:
    return sorted((root / "mlruns/checkpoints").glob("*/*/"))


def test_what_a_saved_model_has_learned_is_not_held_out_when_it_is_trained_further(copied: dict[str, Path]) -> None:
    further = load_config("configs/petit.yaml", TrainConfig, [f"model.encoder={copied['petit']}"])
    files = {"train": ("data/corpus/test.jsonl",), "test": ("data/corpus/train.jsonl",)}
    turned = further.model_copy(update={"data": further.data.model_copy(update=files)})
    with pytest.raises(SelonError, match=r"data\.test: model\.encoder is a saved model .* from 30 of these articles"):
        training.train(turned)
    with pytest.raises(SelonError, match=r"--cross-validate: model\.encoder is a saved model"):
        training.cross_validate(further, 2)
    seen = family("camembert")(further.model, further.input).known
    assert len(seen) == 42  # train and validation; they are known to what comes of it, too


# --- what a training leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "name"), [("1", "tfidf"), ("2", "petit")])
def test_the_run_carries_what_was_promised(version: str, name: str, trained: Path) -> None:
    run = _run(f"models:/selon/{version}")
    assert (run.info.run_name, run.info.status) == (name, "FINISHED")
    assert {"git_commit", "family", "corpus", "version.scikit-learn"} <= set(run.data.tags)
    assert run.data.params["model.kind"] == {"tfidf": "tfidf", "petit": "camembert"}[name]
    assert run.data.params["input.title"] == "True"
    assert {one.dataset.name for one in run.inputs.dataset_inputs} == {"train", "validation", "test"}
    figures = {f"{part}/f1_{label}" for part in ("validation", "test") for label in ("macro", *LABELS)}
    assert figures | {"training_seconds", "temperature", "test/f1_macro_end_to_end"} <= set(run.data.metrics)
    kept = {one.path for one in tracking.connect().list_artifacts(run.info.run_id)}
    pictures = {f"{part}.{what}.png" for part in ("validation", "test") for what in ("confusion", "reliability")}
    assert {"config.json", "validation.json", "test.json"} | pictures <= kept
    assert "worst" not in json.loads(tracking.read_artifact(run.info.run_id, "test.json").read_text())  # no text


def test_loss_and_learning_rate_are_logged_along_the_way(trained: Path) -> None:
    client, run = tracking.connect(), _run("models:/selon/2")
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert len({one.step for one in losses}) == len(losses) > 20
    assert len(client.get_metric_history(run.info.run_id, "learning_rate")) == len(losses)
    assert len(client.get_metric_history(run.info.run_id, "validation/macro_f1")) >= 6  # one an epoch


def test_the_first_is_champion_and_checkpoints_are_gone(trained: Path) -> None:
    assert registry.champion() == "1"
    assert _places(trained) == []


def test_the_bundle_says_how_it_was_made(trained: Path) -> None:
    tree = json.loads((registry.resolve("models:/selon/2") / "bundle.json").read_text())
    assert tree["config"]["model"]["encoder"] == "encoders/camembert"
    assert len(tree["trained_on"]) == 42
    assert len(tree["golden"][0]["probabilities"]) == 4
    card = (registry.resolve("models:/selon/2") / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: fr\n")
    assert "12 articles of `data/corpus/test.jsonl`: macro-F1" in card
    assert all(f"| {label} | 24 |" in card for label in LABELS)


def test_the_bundle_carries_its_held_out_figures(trained: Path) -> None:
    for version in ("1", "2"):
        bundle = read_bundle(registry.resolve(f"models:/selon/{version}"))
        run_id = registry.run_of(f"models:/selon/{version}")
        assert run_id is not None
        logged = json.loads(tracking.read_artifact(run_id, "test.json").read_text())
        assert bundle.held_out is not None
        assert bundle.held_out.sources == ("data/corpus/test.jsonl",)
        assert bundle.held_out.articles == logged["articles"] == 12
        assert bundle.held_out.precision == pytest.approx(logged["precision"], abs=1e-4)
        for label, found in logged["natural_precision"].items():
            assert bundle.held_out.natural_precision[label] == pytest.approx(found["value"], abs=1e-4)
            assert bundle.held_out.natural_interval[label] == pytest.approx((found["low"], found["high"]), abs=1e-4)


def test_cross_validation_pools_every_article(project: Path) -> None:
    (report,), run_id = training.cross_validate(_config(), 3)
    (other,), other_id = training.cross_validate(_config("input.cues=false"), 3)
    assert report.articles == other.articles == 30
    assert report.f1["macro"].value > 0.9
    files = [
        (tracking.run_name(one), f"runs:/{one}", tracking.read_artifact(one, "cross-validation.predictions.json"))
        for one in (run_id, other_id)
    ]
    result = compare(*from_predictions(files), "cross-validation")
    assert result.columns == [f"tfidf-cv3 (runs:/{run_id})", f"tfidf-cv3 (runs:/{other_id})", "difference"]
    with pytest.raises(SelonError, match="41 folds want as many different articles; there are 30"):
        training.cross_validate(_config(), 41)


def test_a_cross_validation_that_stops_keeps_the_folds_it_finished_and_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, begun = TfidfClassifier.fit, []

    def stops(self: TfidfClassifier, *given: Any) -> TfidfClassifier:
        begun.append(given)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return fit(self, *given)

    monkeypatch.setattr(TfidfClassifier, "fit", stops)
    with pytest.raises(KeyboardInterrupt):
        training.cross_validate(_config(), 2)
    client = tracking.connect()
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    kept = json.loads(tracking.read_artifact(run.info.run_id, "cross-validation.predictions.json").read_text())
    assert 0 < len(kept) == 30 - len(begun[0][0])
    with pytest.raises(SelonError, match="tfidf-cv3: no interrupted training"):
        training.cross_validate(_config(), 3, resume=True)
    (report,), run_id = training.cross_validate(_config(), 2, resume=True)
    assert run_id == run.info.run_id
    assert len(begun) == 3  # the first fold was not fitted again
    assert report.articles == 30
    whole = json.loads(tracking.read_artifact(run_id, "cross-validation.predictions.json").read_text())
    (_, other_id) = training.cross_validate(_config(), 2)
    other = json.loads(tracking.read_artifact(other_id, "cross-validation.predictions.json").read_text())
    assert whole == other
    assert _places(project) == []


def test_cross_validation_also_reports_each_file(project: Path) -> None:
    files = "data.train=[data/corpus/train.jsonl,data/corpus/test.jsonl]"
    (pooled, first, second), _ = training.cross_validate(_config(files, "data.test=[seeds]", "input.cues=false"), 2)
    assert [report.articles for report in (pooled, first, second)] == [42, 30, 12]
    assert (first.name, second.name) == ("cross-validation-corpus-train", "cross-validation-corpus-test")
    assert np.array_equal(np.add(first.confusion, second.confusion), pooled.confusion)


# --- data that does not hold -----------------------------------------------------------------------------


def test_splits_that_leak_or_lack_a_label(project: Path) -> None:
    shutil.copy(project / "data/corpus/train.jsonl", project / "data/copy.jsonl")
    with pytest.raises(SelonError, match="keep it in one split only"):
        training.read_data(_config("data.test=[data/copy.jsonl]"))
    path = project / "data/corpus/validation.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("denial", "claim"), encoding="utf-8")
    with pytest.raises(SelonError, match=r"data\.validation: no sentence is labelled denial"):
        training.train(_config())
    assert list((project / "mlruns").iterdir()) == []  # refused before anything was written


def test_unlabelled_articles_teach_unless_they_are_held_out(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"article_id": f"u{n}", "text": f"Le maire du village numéro {n} dément. Il pleut."} for n in range(9)]
    path = project / "other.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    teacher = ["model.teacher={kind: tfidf, max_iter: 5}", "data.unlabelled=[other.jsonl]", "model.epochs=1"]
    config = load_config(project / "configs/petit.yaml", TrainConfig, teacher)
    data = training.read_data(config)
    assert [(one.id, len(one), one.labels) for one in data.unlabelled] == [(f"u{n}", 2, None) for n in range(9)]
    assert training._checkpoints(config, "x", data, {}) != training._checkpoints(
        config, "x", replace(data, unlabelled=[]), {}
    )
    run = tracking.connect().get_run(training.train(config).run_id)
    assert {one.dataset.name for one in run.inputs.dataset_inputs} == {"train", "validation", "test", "unlabelled"}

    model = read_bundle(registry.resolve(f"runs:/{run.info.run_id}"))
    assert {content_key(one) for one in data.unlabelled} <= set(model.trained_on)
    assert "**Taught** by a baseline: its probabilities for 18 other sentences" in (
        registry.resolve(f"runs:/{run.info.run_id}") / "README.md"
    ).read_text(encoding="utf-8")

    with path.open("a", encoding="utf-8") as file:
        for known in (data.test[0], data.train[0]):
            file.write(json.dumps({"article_id": "u9", "text": known.text, "title": known.title}) + "\n")
    assert training.read_data(config).unlabelled == data.unlabelled
    assert "data.unlabelled: 2 articles are left out" in capsys.readouterr().err
    path.write_text(json.dumps({"text": data.test[0].text}), encoding="utf-8")
    with pytest.raises(SelonError, match=r"data\.unlabelled: no article is left of 1: .*; name others"):
        training.read_data(config)


def test_in_cross_validation_each_fold_has_a_teacher_that_has_not_seen_the_rest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(project / "configs/petit.yaml", TrainConfig, ["model.epochs=1"])
    data = training.read_data(config)
    unlabelled = [*data.train[:3], Article.alone("Le maire dément.")]
    monkeypatch.setattr(training, "_checked", lambda config, files: replace(data, unlabelled=unlabelled))
    given: list[Fitting] = []

    def fit(self: CamembertClassifier, train: Any, validation: Any, fitting: Fitting) -> None:
        assert not {one.id for one in fitting.unlabelled} - {one.id for one in train} - {""}
        assert fitting.checkpoints.is_dir()
        given.append(fitting)

    monkeypatch.setattr(CamembertClassifier, "fit", fit)
    monkeypatch.setattr(
        CamembertClassifier, "predict_proba", lambda self, some: [np.full((len(a), 4), 0.25) for a in some]
    )
    training.cross_validate(config, 2)
    assert sum(len(one.unlabelled) for one in given) == 3 + 2


# --- interrupted -----------------------------------------------------------------------------------------


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | None], list[Any]]:
    """Return a function that makes tfidf's next fits raise (or not); the list it returns fills with their Fittings."""
    fit = TfidfClassifier.fit
    seen: list[Any] = []

    def set_error(error: BaseException | None) -> list[Any]:
        def dies(self: Any, train: Any, validation: Any, fitting: Any) -> Any:
            seen.append(fitting)
            if error is not None:
                raise error
            return fit(self, train, validation, fitting)

        monkeypatch.setattr(TfidfClassifier, "fit", dies)
        return seen

    return set_error


def test_an_interrupted_training_goes_on_in_its_run(
    project: Path, dying: Callable[[BaseException | None], list[Any]]
) -> None:
    with pytest.raises(SelonError, match="no interrupted training of this config and data"):
        training.train(_config(), resume=True)
    for error in (RuntimeError("crash"), SystemExit(143)):
        fittings = dying(error)
        with pytest.raises(type(error)):
            training.train(_config())
    older, newer = (one.checkpoints.name for one in fittings)
    assert older != newer  # a fresh start has a folder of its own
    assert [tracking.connect().get_run(one).info.status for one in (older, newer)] == ["FAILED", "FAILED"]
    with pytest.raises(SelonError, match="no interrupted training"):
        training.train(_config("seed=4"), resume=True)  # another config, another key

    parameters = tracking.connect().get_run(newer).data.params
    dying(None)
    done = training.train(_config(), resume=True)
    assert done.run_id == newer
    assert (fittings[-1].resume, fittings[-1].checkpoints.name) == (True, newer)
    run = tracking.connect().get_run(newer)
    assert run.info.status == "FINISHED"
    assert run.data.params == parameters
    assert len(run.inputs.dataset_inputs) == 3
    assert done.champion
    assert json.loads((registry.resolve(done.address) / "bundle.json").read_text())["training_seconds"] is None
    assert _places(project) == []  # the older leftover went too
    with pytest.raises(SelonError, match="no interrupted training"):
        training.train(_config(), resume=True)


def test_what_a_training_has_saved_is_not_given_up_for_one_that_was_stopped_at_once(
    project: Path, dying: Callable[[BaseException | None], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    fittings = dying(KeyboardInterrupt())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            training.train(_config())
        (fittings[0].checkpoints / "step-1").mkdir(exist_ok=True)
        (fittings[0].checkpoints / "step-1/weights").touch()
    older, newer = (one.checkpoints for one in fittings)
    assert capsys.readouterr().err.count(f"{older}: an interrupted training of this config; --resume goes on") == 1
    os.utime(newer, (time.time() + 9,) * 2)
    dying(None)
    assert training.train(_config(), resume=True).run_id == older.name


def test_a_model_that_mlflow_did_not_take_is_logged_later_without_another_fit(
    project: Path, monkeypatch: pytest.MonkeyPatch, dying: Callable[[BaseException | None], list[Any]]
) -> None:
    from mlflow.exceptions import MlflowException  # before selon has set it up, MLflow would speak

    def refuse(*args: Any, **kwargs: Any) -> str:
        raise MlflowException("away")

    said = r"did not take all of the run \(.*away\).* with --resume goes on"
    with monkeypatch.context() as away:
        away.setattr(registry, "log_model", refuse)
        with pytest.raises(SelonError, match=said):
            training.train(_config())
    dying(RuntimeError("a fit, which is not wanted"))
    with monkeypatch.context() as away:
        away.setattr("mlflow.MlflowClient.search_registered_models", refuse)  # when it has been registered
        with pytest.raises(SelonError, match=said):
            training.train(_config(), resume=True)
    done = training.train(_config(), resume=True)
    assert (done.address, done.champion) == ("models:/selon/1", True)
    assert _places(project) == []
    folder = registry.resolve(done.address)
    assert json.loads((folder / "bundle.json").read_text())["training_seconds"] > 0
    assert (folder / "README.md").read_text(encoding="utf-8").count("## On articles it has never seen") == 1


def test_checkpoints_belong_to_everything_that_a_training_depends_on(project: Path) -> None:
    config = _config()
    data = training.read_data(config)
    places = [
        training._checkpoints(config, "x", data, {}),
        training._checkpoints(config, "x", data, {"model.safetensors": "another"}),
        training._checkpoints(config, "x", replace(data, train=data.train[::-1]), {}),
        training._checkpoints(config, "x", replace(data, validation=data.validation[1:]), {}),
    ]
    assert len(set(places)) == len(places)
    assert training._checkpoints(config, "x", training.read_data(config), {}) == places[0]


def test_a_training_at_work_is_neither_resumed_nor_tidied_away(
    project: Path, dying: Callable[[BaseException | None], list[Any]]
) -> None:
    fittings = dying(RuntimeError())
    with pytest.raises(RuntimeError):
        training.train(_config())
    folder = fittings[0].checkpoints
    with FileLock(folder / training._LOCK):
        with pytest.raises(SelonError, match="no interrupted training"):
            training.train(_config(), resume=True)
        dying(None)
        training.train(_config())
        assert folder.is_dir()
    assert training._interrupted(folder.parent) == folder.name


def test_an_encoder_out_of_reach_leaves_no_run(project: Path) -> None:
    config = load_config("configs/petit.yaml", TrainConfig, ["model.encoder=data/petit/encoder"])
    with pytest.raises(SelonError, match="there is no such encoder"):
        training.train(config)
    assert list((project / "mlruns").iterdir()) == []


SLEEPY = """
import sys, time
from train import cli
from train.classifiers.tfidf import TfidfClassifier
def fit(self, train, validation, fitting):
    (fitting.checkpoints / "begun").touch()
    time.sleep(120)
TfidfClassifier.fit = fit
sys.argv = ["selon", "train", "configs/tfidf.yaml"]
cli.main()
"""


def test_sigterm_ends_the_run_failed(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen([sys.executable, "-c", SLEEPY], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + 240
        while not list((project / "mlruns").glob("checkpoints/*/*/begun")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said.strip()) == (143, "selon: interrupted")
    run_id = _places(project)[0].name
    assert tracking.connect().get_run(run_id).info.status == "FAILED"


def test_two_trainings_at_once_on_a_fresh_root(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "train", "train", "configs/tfidf.yaml"]
    started = [
        subprocess.Popen(
            [*command, f"seed={seed}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for seed in (1, 2)
    ]
    said = [process.communicate(timeout=400) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert [error for _, error in said] == ["", ""]
    outputs = [" ".join(out.split()) for out, _ in said]
    assert sum("the champion: it answers from now on" in out for out in outputs) == 1
    assert {version.version for version in tracking.connect().search_model_versions("name='selon'")} == {1, 2}
    assert registry.champion() in {"1", "2"}
    assert _places(project) == []


def test_families_are_trained_by_one_path(project: Path) -> None:
    """The golden example of a saved model is what its classifier answers."""
    config = _config()
    data = training.read_data(config)
    classifier = family("tfidf")(config.model, config.input)
    from train.classifiers.base import Fitting

    classifier.fit(data.train, data.validation, Fitting(3, project))
    training.save(classifier, config, data, classifier.predict_proba(data.validation), 1.0, project / "bundle")
    golden = json.loads((project / "bundle/bundle.json").read_text())["golden"][0]
    again = family("tfidf").load(project / "bundle", config.model, config.input)
    from train.labeller import read_article

    article = read_article(golden["text"], golden["title"])
    assert again.predict_proba([article])[0].round(6).tolist() == golden["probabilities"]
    assert len(read_articles(project / "seeds")) == 1
