"""Half precision on disk: half the size, the very same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from train.classifiers.exporting import export
from train.classifiers.halving import halve_graph, round_weights, save_half
from train.schema import LABELS

IDS = torch.tensor([[0, 9, 8, 7, 2], [0, 30, 20, 10, 2]])


@pytest.fixture
def model(encoders: Path) -> PreTrainedModel:
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_pretrained(encoders / "camembert", num_labels=len(LABELS)).eval()


def _answers(graph: Path) -> np.ndarray:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    feeds = {"input_ids": IDS.numpy(), "attention_mask": np.ones(IDS.shape, dtype=np.int64)}
    return np.asarray(session.run(None, feeds)[0])


def test_a_halved_graph_answers_as_before(model: PreTrainedModel, tmp_path: Path) -> None:
    round_weights(model)
    export(model, tmp_path / "model.onnx")
    size, before = (tmp_path / "model.onnx").stat().st_size, _answers(tmp_path / "model.onnx")
    halve_graph(tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx")
    weights = onnx.load(tmp_path / "model.onnx").graph.initializer
    large = [weight.data_type for weight in weights if np.prod(weight.dims) >= 1024]
    assert large == [onnx.TensorProto.FLOAT16] * len(large) != []
    assert (tmp_path / "model.onnx").stat().st_size < 0.8 * size
    np.testing.assert_allclose(_answers(tmp_path / "model.onnx"), before, atol=1e-5)


def test_a_graph_tells_nothing_of_the_machine_that_made_it(model: PreTrainedModel, tmp_path: Path) -> None:
    export(model, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in content
    assert b".py" not in content


def test_rounding_changes_a_weight_that_half_precision_cannot_hold(model: PreTrainedModel) -> None:
    weight = next(model.parameters())
    with torch.no_grad():
        weight[0, 0] = 1 / 3
    round_weights(model)
    assert weight.dtype == torch.float32
    assert weight[0, 0].item() == pytest.approx(1 / 3, abs=1e-3)
    assert weight[0, 0].item() != np.float32(1 / 3)


def test_what_is_saved_loads_in_full_precision(model: PreTrainedModel, tmp_path: Path) -> None:
    round_weights(model)
    save_half(model, tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert loaded.dtype == model.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=IDS).logits, model(input_ids=IDS).logits)
