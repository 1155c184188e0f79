"""Every parameter learns, at the rate of its distance from the head; or not at all, from some distance on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AlbertConfig, AlbertForSequenceClassification, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from train.classifiers.layer_decay import freeze, parameter_groups
from train.schema import SelonError


@pytest.mark.parametrize("kind", ["camembert", "roberta", "deberta-v2"])
def test_rates_fall_from_the_head_to_the_embeddings(encoders: Path, kind: str) -> None:
    transformers_logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(encoders / kind, num_labels=4)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {name for name in names.values() if name.endswith("weight")}
    groups = parameter_groups(model, 1.0, 0.5, 0.01, decayed)
    assert groups[0]["lr"] == 1.0
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    assert {name for name, decay in decays.items() if decay == 0.01} == decayed
    layers = model.config.num_hidden_layers
    assert len(set(rates.values())) == layers + 2
    for name, rate in rates.items():
        if name.startswith(("classifier", "pooler")):
            assert rate == 1.0
        elif ".layer." in name:
            assert rate == 0.5 ** (layers - int(name.split(".layer.")[1].split(".")[0]))
        else:
            assert rate == 0.5 ** (layers + 1)


@pytest.mark.parametrize("kind", ["camembert", "roberta", "deberta-v2"])
def test_the_lowest_layers_can_stay_as_they_are(encoders: Path, kind: str) -> None:
    transformers_logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(encoders / kind, num_labels=4).train()
    freeze(model, 1)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {
        name for name, _ in model.named_parameters() if ".embeddings." not in name and ".layer.0." not in name
    } - {name for name, _ in model.named_parameters() if "rel_embeddings" in name or ".encoder.LayerNorm" in name}
    groups = parameter_groups(model, 1.0, 0.5, 0.01, set())
    assert sum(len(group["params"]) for group in groups) == len(learning)
    dropped = {name for name, part in model.named_modules() if isinstance(part, torch.nn.Dropout) and part.p}
    assert dropped
    assert not any(".embeddings." in name or ".layer.0." in name for name in dropped)
    words = torch.arange(5, 15).reshape(2, 5)
    model(input_ids=words, labels=torch.tensor([0, 1])).loss.backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learning


def test_layers_that_share_their_weights_cannot_be_frozen_apart() -> None:
    config = AlbertConfig(vocab_size=20, embedding_size=8, hidden_size=8, num_attention_heads=2, intermediate_size=8)
    model = AlbertForSequenceClassification(config)
    with pytest.raises(SelonError, match=r"model\.frozen_layers: 1 would leave no layer"):
        freeze(model, 1)
    assert all(parameter.requires_grad for parameter in model.parameters())
