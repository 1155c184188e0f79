"""The shortened last layer gives the logits and the gradients of the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from train.classifiers.first_place import read_first_place


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["camembert", "roberta"])
def test_logits_and_gradients_are_those_of_the_whole_layer(encoders: Path, kind: str, attention: str) -> None:
    torch.manual_seed(1)
    transformers_logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(
        encoders / kind, num_labels=4, attn_implementation=attention
    ).eval()
    ids = torch.randint(5, model.config.vocab_size, (3, 12))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0  # padding

    def answer() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        output = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([0, 1, 2]))
        output.loss.backward()
        return output.logits, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    whole, whole_gradients = answer()
    read_first_place(model)
    places: list[int] = []
    model.base_model.encoder.layer[-1].intermediate.register_forward_pre_hook(
        lambda module, given: places.append(given[0].shape[1])
    )
    short, gradients = answer()
    assert places == [1]
    (without,) = whole_gradients.keys() - gradients.keys()
    assert without.endswith("attention.self.key.bias")  # softmax takes it away: its gradient is rounding
    assert whole_gradients.pop(without).abs().max() < 1e-7
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients, whole_gradients, atol=1e-6, rtol=1e-3)


def test_another_kind_of_attention_stays_as_it_is(encoders: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(encoders / "deberta-v2", num_labels=4)
    read_first_place(model)
    assert "forward" not in vars(model.base_model.encoder.layer[-1])
