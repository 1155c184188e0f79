"""A fine-tuned model as an ONNX graph: calibrated, exported, and compared with PyTorch's answers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedModel

from train.classifiers.camembert import CamembertClassifier, encode
from train.config import CamembertConfig, InputConfig
from train.inputs import build_inputs
from train.schema import LABELS, Article

#: Largest difference between PyTorch's and the graph's logits that counts as rounding.
_TOLERANCE = 1e-3


def has_types(model: PreTrainedModel) -> bool:
    """Whether the model tells the two texts of an input apart by token type."""
    return int(getattr(model.config, "type_vocab_size", 0)) > 1


def fold_temperature(model: PreTrainedModel, temperature: float) -> None:
    """Divide the last layer by the temperature: every runtime then returns calibrated probabilities."""
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == len(LABELS)][-1]
    with torch.no_grad():
        last.weight /= temperature
        last.bias /= temperature


class _Logits(torch.nn.Module):
    """The model with plain tensors in and out, as an export needs it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def export(model: PreTrainedModel, path: Path) -> None:
    """Write a sequence classifier as an ONNX graph; any number of inputs of any length."""
    ids = torch.full((2, 16), 5)
    feeds = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if has_types(model):
        feeds["token_type_ids"] = torch.zeros_like(ids)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    # They remark on torchvision, which nobody needs here, and on each layer that they leave as it is.
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(model),
            tuple(feeds.values()),
            path,
            input_names=list(feeds),
            output_names=["logits"],
            dynamic_shapes=(axes,) * len(feeds),
            external_data=False,
            verbose=False,
        )
    _strip(path)


def _strip(path: Path) -> None:
    """Drop the exporter's remarks: where in which file of this machine each node was made."""
    graph = onnx.load(path)
    for node in graph.graph.node:
        del node.metadata_props[:]
    for value in graph.graph.value_info:
        del value.metadata_props[:]
    onnx.save(graph, path)


def verify(
    model: PreTrainedModel, folder: Path, config: CamembertConfig, inputs: InputConfig, articles: Sequence[Article]
) -> None:
    """Refuse a graph whose logits are not PyTorch's."""
    classifier = CamembertClassifier.reference(folder, config, inputs)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pairs = [pair for article in articles for pair in build_inputs(article, inputs)]
    encodings = [one.encoding for one in encode(tokenizer, pairs, config.max_length)]
    for row, encoding in zip(classifier.logits(encodings), encodings, strict=True):
        _compare(model, encoding, row)


def _compare(model: PreTrainedModel, encoding: Encoding, exported: NDArray[np.float64]) -> None:
    feeds = {"input_ids": torch.tensor([encoding.ids]), "attention_mask": torch.ones(1, len(encoding.ids))}
    if has_types(model):
        feeds["token_type_ids"] = torch.tensor([encoding.type_ids])
    with torch.no_grad():
        expected = model(**feeds).logits[0].numpy()
    if not np.abs(expected - exported).max() <= _TOLERANCE:
        raise RuntimeError(f"the ONNX graph differs from the model: {exported} instead of {expected}")
