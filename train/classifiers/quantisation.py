"""An int8 graph beside the fp32 one: made, compared on validation, and refused where it is not as good.

Dynamic quantisation: weights of the matrix products are stored in 8 bits, activations are quantised as they come. A
big encoder answers 1.6 times as fast; a small one gains little, so its config does not ask for it. An input's answer
then depends a little on the others in its batch.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from train.bundle import Int8Check
from train.classifiers.base import Log
from train.classifiers.camembert import GRAPH, INT8_GRAPH, CamembertClassifier
from train.config import CamembertConfig, InputConfig
from train.metrics import confusion, macro_f1
from train.schema import Article

#: What an int8 graph must keep of the fp32 one's labels, and may lose of its macro-F1.
AGREEMENT, F1_LOSS = 0.99, 0.005


def quantise(graph: Path, target: Path) -> None:
    """Write the int8 graph of an fp32 one."""
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="selon-") as work, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = Path(work) / "prepared.onnx"
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        # Seven bits and a scale a column: with eight, CPUs without VNNI would saturate and answer otherwise.
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )


def quantise_or_refuse(
    folder: Path, config: CamembertConfig, inputs: InputConfig, validation: Sequence[Article], log: Log
) -> Int8Check:
    """Put an int8 graph into a saved model's folder if it answers like the fp32 one; say so either way."""
    reference = np.concatenate(CamembertClassifier.load(folder, config, inputs).predict_proba(validation))
    quantise(folder / GRAPH, folder / INT8_GRAPH)
    quantised = np.concatenate(CamembertClassifier.load(folder, config, inputs).predict_proba(validation))
    gold = np.concatenate([article.gold for article in validation])
    check = judge(reference.argmax(1), quantised.argmax(1), gold)
    log({"int8/agreement": check.agreement, "int8/f1_loss": check.f1_loss, "int8/kept": float(check.kept)}, 0)
    if not check.kept:
        (folder / INT8_GRAPH).unlink()
        Console(stderr=True).print(
            f"the int8 graph is left out: {check.agreement:.2%} of its validation labels are those of fp32 (at least "
            f"{AGREEMENT:.0%} must be), and it costs {100 * check.f1_loss:.1f} points of macro-F1 (at most "
            f"{100 * F1_LOSS:.1f})"
        )
    return check


def judge(reference: np.ndarray, quantised: np.ndarray, gold: np.ndarray) -> Int8Check:
    """Compare labels, each shape (sentences,), and decide."""
    agreement = float((reference == quantised).mean())
    loss = float(macro_f1(confusion(gold, reference)) - macro_f1(confusion(gold, quantised)))
    return Int8Check(kept=agreement >= AGREEMENT and loss <= F1_LOSS, agreement=agreement, f1_loss=loss)
