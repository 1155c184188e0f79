"""Layer-wise learning-rate decay: the further a layer is from the head, the less fine-tuning moves it.

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

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


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
    layers = model.config.num_hidden_layers
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        found = _LAYER.search(name)
        # A pooler is part of the head: pre-training has not known it.
        head = not name.startswith(model.base_model_prefix) or ".pooler." in name
        below = 0 if head else layers - int(found[1]) if found else layers + 1
        groups[below, name in decayed].append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * layer_decay**below,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (below, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
