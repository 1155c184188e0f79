"""Layer-wise learning-rate decay: the further a layer is from the head, the less fine-tuning moves it, or not at all.

The lower layers know French from pre-training, which a few thousand sentences can only spoil (Howard and Ruder 2018;
Sun et al. 2019).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import torch
from transformers import PreTrainedModel

from train.schema import SelonError

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


def freeze(model: PreTrainedModel, layers: int) -> None:
    """Keep the embeddings and the lowest ``layers`` layers as they are, in place; nothing is dropped out in them.

    As nothing is carried back through them, two thirds of their work are spared. SelonError where no layer is left to
    learn: they are too few, or share their weights.
    """
    learning = model.config.num_hidden_layers - layers
    steps = {name: _below(model, name) for name, _ in model.named_parameters()}
    if not any(0 < below <= learning for below in steps.values()):
        raise SelonError(f"model.frozen_layers: {layers} would leave no layer of the encoder to learn; take fewer")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = steps[name] <= learning
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and _below(model, f"{name}.") > learning:
            module.p = 0.0


def parameter_groups(
    model: PreTrainedModel, learning_rate: float, layer_decay: float, weight_decay: float, decayed: Collection[str]
) -> list[dict[str, Any]]:
    """Return an optimizer's parameter groups, the head's first: its rate is the one that Trainer reports.

    Parameters
    ----------
    model : PreTrainedModel
        A sequence classifier.
    learning_rate : float
        Of the head.
    layer_decay : float
        What the rate is multiplied with from one layer to the one below it; the embeddings come last.
    weight_decay : float
        Of the parameters that ``decayed`` names.
    decayed : collection of str
    """
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[_below(model, name), name in decayed].append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * layer_decay**below,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (below, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _below(model: PreTrainedModel, name: str) -> int:
    """Return how many steps below the head a part is: 0 the head, 1 the last layer, most the embeddings."""
    # A pooler is part of the head: pre-training has not known it.
    if not name.startswith(model.base_model_prefix) or ".pooler." in name:
        return 0
    found, layers = _LAYER.search(name), int(model.config.num_hidden_layers)
    return layers - int(found[1]) if found else layers + 1
