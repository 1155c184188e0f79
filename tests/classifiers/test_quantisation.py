"""The int8 graph: kept where it answers like fp32, refused where it does not, and said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from train.bundle import Bundle, read_bundle, write_manifest
from train.classifiers import quantisation
from train.classifiers.base import Fitting
from train.classifiers.camembert import GRAPH, INT8_GRAPH, CamembertClassifier
from train.config import CamembertConfig, InputConfig
from train.corpus import read_articles
from train.evaluation import verify_golden
from train.labeller import Labeller
from train.schema import Article, Device, SelonError
from train.training import _precision


def _weights(graph: Path, itemsize: int | None = None) -> int:
    """Return the bytes of a graph's weights, as they are or at so many bytes each."""
    arrays = [numpy_helper.to_array(weight) for weight in onnx.load(graph).graph.initializer]
    return sum(array.size * (itemsize or array.itemsize) for array in arrays)


def test_what_is_kept() -> None:
    gold = np.array([0, 1, 2, 3] * 50)
    near = gold.copy()
    near[0] = 1
    assert quantisation.judge(gold, gold, gold).kept
    check = quantisation.judge(gold, near, gold)
    assert check.agreement == 0.995
    assert 0 < check.f1_loss < 0.01
    assert check.kept == (check.f1_loss <= 0.005)
    far = gold.copy()
    far[:12] = 0
    assert not quantisation.judge(gold, far, gold).kept
    assert not quantisation.judge(far, gold, gold).kept, "better is not alike"


@pytest.fixture
def parts(trained: Path, copied: dict[str, Path]) -> tuple[Path, Bundle, list[Article]]:
    bundle = read_bundle(copied["petit"])
    return copied["petit"], bundle, read_articles(trained / "data/corpus/validation.jsonl")


def test_a_graph_that_holds_answers_and_provenance_says_so(parts: tuple[Path, Bundle, list[Article]]) -> None:
    folder, bundle, validation = parts
    assert isinstance(bundle.model, CamembertConfig)
    fp32 = Labeller.open(folder)
    logged: dict[str, float] = {}
    check = quantisation.quantise_or_refuse(
        folder, bundle.model, bundle.input, validation, lambda figures, step: logged.update(figures)
    )
    assert check.kept, check
    assert logged == {"int8/agreement": check.agreement, "int8/f1_loss": check.f1_loss, "int8/kept": 1.0}
    write_manifest(folder, bundle.model_copy(update={"precision": "int8", "int8": check}))
    int8 = Labeller.open(folder)
    assert (fp32.provenance()["precision"], int8.provenance()["precision"]) == ("fp32", "int8")
    rows, exact = int8.predict_proba(validation)[0], fp32.predict_proba(validation)[0]
    assert not np.array_equal(rows, exact)
    np.testing.assert_allclose(rows, exact, atol=0.2)
    np.testing.assert_array_equal(int8.classifier.reference_proba(validation)[0], exact)
    verify_golden(int8)  # whose probabilities are those of fp32
    assert "int8 on a CPU: on validation 1" in _precision(int8.bundle)
    stored, exact_size = _weights(folder / INT8_GRAPH), _weights(folder / GRAPH, itemsize=4)
    assert stored < exact_size  # than the same graph in fp32; on disk that one is halved
    (folder / INT8_GRAPH).unlink()
    with pytest.raises(SelonError, match="missing from the saved model"):
        Labeller.open(folder)


def test_a_graph_that_does_not_hold_is_left_out(
    parts: tuple[Path, Bundle, list[Article]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bundle, validation = parts
    assert isinstance(bundle.model, CamembertConfig)
    monkeypatch.setattr(quantisation, "AGREEMENT", 1.1)
    check = quantisation.quantise_or_refuse(folder, bundle.model, bundle.input, validation, lambda *_: None)
    assert not check.kept
    assert not (folder / INT8_GRAPH).exists()
    assert "the int8 graph is left out" in " ".join(capsys.readouterr().err.split())
    assert "fp32; the int8 graph was refused" in _precision(bundle.model_copy(update={"int8": check}))
    assert Labeller.open(folder).provenance()["precision"] == "fp32"


def test_no_cuda_here(copied: dict[str, Path]) -> None:
    import onnxruntime as ort

    said = {"tfidf": "a tfidf model runs on the CPU"}
    said["petit"] = "no CUDA device" if "CUDAExecutionProvider" in ort.get_available_providers() else "onnxruntime-gpu"
    for name, folder in copied.items():
        with pytest.raises(SelonError, match=f"--device cuda: .*{said[name]}"):
            Labeller.open(folder, Device.cuda)


def test_untrained_models_are_whole(encoders: Path, tmp_path: Path) -> None:
    from train.classifiers.untrained import quantised_copy, save_untrained

    save_untrained(encoders / "camembert", tmp_path / "m", "m", InputConfig(), {"hidden_size": 48}, 48)
    assert Labeller.open(tmp_path / "m").provenance()["precision"] == "fp32"
    quantised_copy(tmp_path / "m", tmp_path / "q")
    opened = Labeller.open(tmp_path / "q", threads=1)
    assert opened.provenance()["precision"] == "int8"
    assert len(opened.label("Oui. Non.")[1]) == 2
    assert isinstance(opened.classifier, CamembertClassifier)
    with pytest.raises(SelonError, match="there is no such encoder"):
        save_untrained(tmp_path / "none", tmp_path / "n", "n", InputConfig())


def test_a_training_ends_with_both_graphs(
    parts: tuple[Path, Bundle, list[Article]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, bundle, validation = parts
    assert isinstance(bundle.model, CamembertConfig)
    monkeypatch.setattr(quantisation, "AGREEMENT", 0.0)
    monkeypatch.setattr(quantisation, "F1_LOSS", 1.0)
    model = bundle.model.model_copy(update={"int8": True, "epochs": 1})
    classifier = CamembertClassifier(model, bundle.input).fit(validation, validation, Fitting(13, tmp_path))
    assert classifier.int8 is not None
    assert classifier.precision == "int8"
