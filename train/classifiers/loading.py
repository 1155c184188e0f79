"""An encoder made ready to be fine-tuned: from a folder or the Hub, with a new head, and checked."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from train.bundle import saved_model
from train.classifiers.dropout import draw_bytes
from train.classifiers.exporting import has_types
from train.classifiers.first_place import read_first_place
from train.classifiers.layer_decay import freeze
from train.config import CamembertConfig, project_path
from train.schema import LABELS, SelonError


def load_encoder(config: CamembertConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load encoder and tokenizer from a folder or the Hub; what is no saved model gets a new classification head.

    Raises
    ------
    SelonError
        When the folder is missing, the Hub cannot be reached and has left nothing in the cache, or the encoder
        cannot read ``max_length`` tokens, has no layer left to learn or no fast tokenizer.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    local = project_path(config.encoder)
    name = str(local) if local.is_dir() else config.encoder
    if not local.is_dir() and (config.encoder.count("/") != 1 or config.encoder.startswith(("data/", "mlruns/", "."))):
        raise SelonError(
            f"{local}: there is no such encoder; `selon pretrain` makes one, and one on the Hub is OWNER/NAME"
        )
    if config.revision and local.is_dir():
        raise SelonError(f"model.revision: {local} is a folder, which has none; leave it out")
    # Left open, transformers would ask at the terminal, and run the code of whoever made the model.
    options: dict[str, Any] = {"trust_remote_code": False, "revision": config.revision or "main"}
    # On a CPU plain attention trains faster than scaled_dot_product_attention (measured at 4 x 256).
    attention = {} if torch.accelerator.is_available() else {"attn_implementation": "eager"}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model = AutoModelForSequenceClassification.from_pretrained(
            name,
            num_labels=len(LABELS),
            id2label=dict(enumerate(LABELS)),
            label2id={label: i for i, label in enumerate(LABELS)},
            dtype=torch.float32,
            **attention,
            **options,
        )
    except Exception as error:  # transformers, safetensors and the Hub raise types of their own
        if local.is_dir():
            raise SelonError(f"{local}: no encoder that transformers can load: {_first_line(error)}") from None
        raise SelonError(
            f"{config.encoder}: cannot be had from the Hugging Face Hub ({_first_line(error)}); connect once "
            "to fill the cache, or download the model elsewhere and set model.encoder to its folder"
        ) from None
    if not tokenizer.is_fast:
        raise SelonError(f"{config.encoder}: its tokenizer has no tokenizer.json; choose an encoder with a fast one")
    if config.max_length > _usable_length(model):
        raise SelonError(
            f"model.max_length: {config.max_length} is more than the {_usable_length(model)} tokens that "
            f"{config.encoder} reads"
        )
    if not has_types(model):
        # Some WordPiece tokenizers number the two texts all the same; such a model would fail on it elsewhere.
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    # A saved model that is trained further has a first place of its own, and a head.
    if config.start_from_mask and not saved_model(local):
        pieces = model.get_input_embeddings().weight
        with torch.no_grad():
            pieces[tokenizer.cls_token_id] = pieces[tokenizer.mask_token_id]
    read_first_place(model)
    if not torch.accelerator.is_available():
        draw_bytes(model)
    if config.frozen_layers:
        freeze(model, config.frozen_layers)
    return model, tokenizer


def _usable_length(model: PreTrainedModel) -> int:
    """Return how many tokens the model has positions for: RoBERTa's kin count on from the padding id."""
    taken = model.config.pad_token_id + 1 if hasattr(model.base_model.embeddings, "padding_idx") else 0
    return int(model.config.max_position_embeddings) - taken


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
