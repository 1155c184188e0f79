"""A last layer that computes what the head reads, and no more: its output at the first place.

The classification heads of BERT's family look at the first place alone, so in the last layer the others need keys and
values, but no queries, no output and no feed-forward part. The result is the same. Of a layer's work a sixth is left:
a quarter of all in an encoder of three layers, in training as in the exported graph.
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

        def heads(values: torch.Tensor) -> torch.Tensor:
            return values.unflatten(-1, (-1, own.attention_head_size)).transpose(1, 2)

        mixed = scaled_dot_product_attention(
            heads(own.query(first)),
            heads(own.key(hidden_states)),
            heads(own.value(hidden_states)),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            dropout_p=own.dropout.p if own.training else 0.0,
        )
        attended: torch.Tensor = self.attention.output(mixed.transpose(1, 2).flatten(2), first)
        return self.feed_forward_chunk(attended)
