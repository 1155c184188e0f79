"""Encoders made ready: those that cannot be used are refused with the remedy, and the first place may start anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from train.classifiers.loading import load_encoder
from train.config import CamembertConfig
from train.schema import SelonError


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    with pytest.raises(SelonError, match=r"almanach/camembert-base: cannot be had .* model\.encoder to its folder"):
        load_encoder(CamembertConfig(kind="camembert", encoder="almanach/camembert-base"))


def test_a_folder_that_is_missing_or_holds_no_encoder(project: Path) -> None:
    for name in ("data/petit/encoder", "camembert-base"):
        said = rf"{name}: there is no such encoder; `selon pretrain` makes one, and one on the Hub is OWNER/NAME"
        with pytest.raises(SelonError, match=said):
            load_encoder(CamembertConfig(kind="camembert", encoder=name))
    with pytest.raises(SelonError, match="no encoder that transformers can load"):
        load_encoder(CamembertConfig(kind="camembert", encoder="configs"))


@pytest.mark.parametrize("kind", ["camembert", "roberta", "deberta-v2"])
def test_inputs_longer_than_the_encoder_reads(kind: str, encoders: Path) -> None:
    load_encoder(CamembertConfig(kind="camembert", encoder=str(encoders / kind), max_length=64))
    with pytest.raises(SelonError, match=r"model\.max_length: 65 is more than the 64 tokens"):
        load_encoder(CamembertConfig(kind="camembert", encoder=str(encoders / kind), max_length=65))


def test_some_layer_must_learn(encoders: Path) -> None:
    config = CamembertConfig(kind="camembert", encoder=str(encoders / "camembert"), max_length=48, frozen_layers=1)
    model, _ = load_encoder(config)
    assert not model.get_input_embeddings().weight.requires_grad
    layers = model.config.num_hidden_layers
    with pytest.raises(SelonError, match=rf"model\.frozen_layers: {layers} would leave no layer"):
        load_encoder(config.model_copy(update={"frozen_layers": layers}))


def test_a_saved_model_is_trained_further(copied: dict[str, Path]) -> None:
    saved = load_file(copied["petit"] / "model.safetensors")
    config = CamembertConfig(kind="camembert", encoder=str(copied["petit"]), max_length=48, start_from_mask=True)
    model, _ = load_encoder(config)
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, saved[name].float()), name


def test_an_encoder_that_is_damaged_or_has_other_labels(encoders: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoders / "camembert", tmp_path / "encoder"))
    other = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=7)
    other.save_pretrained(folder)
    config = CamembertConfig(kind="camembert", encoder=str(folder), max_length=48)
    with pytest.raises(SelonError, match="no encoder that transformers can load"):
        load_encoder(config)
    os.truncate(folder / "model.safetensors", 1000)
    with pytest.raises(SelonError, match="no encoder that transformers can load"):
        load_encoder(config)


def test_the_first_place_can_start_as_the_mask(encoders: Path) -> None:
    for starts in (True, False):
        folder = str(encoders / "camembert")
        config = CamembertConfig(kind="camembert", encoder=folder, max_length=48, start_from_mask=starts)
        model, tokenizer = load_encoder(config)
        pieces = model.get_input_embeddings().weight
        assert torch.equal(pieces[tokenizer.cls_token_id], pieces[tokenizer.mask_token_id]) == starts
