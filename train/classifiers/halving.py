"""Weights in half precision on disk, and in full precision in use: half the size, the same answers everywhere.

The weights are rounded before anything is exported or measured, so what is evaluated is what is stored.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import PreTrainedModel

#: Smaller tensors stay as they are: a cast for each would cost more than it saves.
_SMALL = 1024


def round_weights(model: PreTrainedModel) -> None:
    """Round every weight to what half precision can hold; the model goes on computing in fp32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())


def save_half(model: PreTrainedModel, folder: Path) -> None:
    """Write ``config.json`` and a ``model.safetensors`` in fp16, which loads as fp32."""
    model.half().save_pretrained(folder)
    model.float()
    # transformers 5 loads in the dtype that config.json names: fp16 is for the disk, slow on a CPU.
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"dtype": "float32"}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # safetensors lets the owner alone read its files.
    (folder / "model.safetensors").chmod(0o644)


def halve_graph(path: Path) -> None:
    """Store the large weights of an ONNX graph in fp16, each behind a cast that ONNX Runtime folds on loading."""
    model = onnx.load(path)
    graph = model.graph
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < _SMALL:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        graph.node.insert(0, helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    onnx.save(model, path)
