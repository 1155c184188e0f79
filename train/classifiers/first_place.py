"""A last layer that computes what the head reads, and no more: its output at the first place.

The classification heads of BERT's family look at the first place alone, so in the last layer the others need no
queries, no output and no feed-forward part. They need no keys and values either: a query times all keys is the query
times the key matrix, times what the layer was given, and the values can be mixed before their matrix instead of after.
The result is the same, and hardly any of a layer's work is left: a third of all is saved in an encoder of three layers,
in training as in the exported graph. (Where attention weights are dropped in training, the values' bias is not.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel


def read_first_place(model: PreTrainedModel) -> None:
    """Let the last layer of a sequence classifier answer for the first place only, in place.

    Architectures whose attention is built otherwise (DeBERTa's) stay as they are.
    """
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if layers is None or not hasattr(getattr(layers[-1].attention, "self", None), "query"):
        return
    # Another class, not another method: a copy of the layer (one a GPU) must read its own weights.
    layers[-1].__class__ = type("FirstPlaceLayer", (_FirstPlace, type(layers[-1])), {})


class _FirstPlace(torch.nn.Module):
    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        own, first = self.attention.self, hidden_states[:, :1]
        size = own.attention_head_size
        query = own.query(first).unflatten(-1, (-1, size)).squeeze(1)
        # The key's bias adds the same to the score of every place, which softmax takes away again.
        asked = torch.einsum("bnd,ndh->bnh", query, own.key.weight.unflatten(0, (-1, size)))
        # All heads ask the same hidden states: for the library, several queries of one head.
        mixed = scaled_dot_product_attention(
            asked.unsqueeze(1),
            hidden_states.unsqueeze(1),
            hidden_states.unsqueeze(1),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            dropout_p=own.dropout.p if own.training else 0.0,
            scale=size**-0.5,
        ).squeeze(1)
        values = torch.einsum("bnh,ndh->bnd", mixed, own.value.weight.unflatten(0, (-1, size))).flatten(1)
        attended: torch.Tensor = self.attention.output((values + own.value.bias).unsqueeze(1), first)
        return self.feed_forward_chunk(attended)
