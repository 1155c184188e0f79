"""A saved model that was never trained: for measuring, since speed and memory do not depend on the weights.

Its answers mean nothing. `selon bench` makes such models on the fly; they go with its temporary folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from train import __version__
from train.atomic import whole_folder
from train.bundle import Bundle, read_bundle, write_manifest
from train.classifiers.camembert import GRAPH, INT8_GRAPH
from train.classifiers.exporting import export
from train.classifiers.first_place import read_first_place
from train.classifiers.quantisation import quantise
from train.config import CamembertConfig, InputConfig
from train.schema import LABELS, SelonError


def save_untrained(
    encoder: Path,
    folder: Path,
    name: str,
    inputs: InputConfig,
    shape: Mapping[str, int] | None = None,
    max_length: int = 128,
) -> None:
    """Write a saved model with random weights.

    Parameters
    ----------
    encoder : Path
        A folder with the tokenizer and the architecture.
    folder : Path
        Where the model comes to lie.
    name : str
        What it is called.
    inputs : InputConfig
        What of the document it reads.
    shape : mapping, optional
        Other sizes than the encoder's, as transformers' configs name them.
    max_length : int
        Tokens of an input at most.

    Raises
    ------
    SelonError
        Where there is no such encoder.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if not (encoder / "config.json").is_file():
        raise SelonError(f"{encoder}: there is no such encoder; `selon pretrain` makes one")
    named: dict[str, Any] = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    config = AutoConfig.from_pretrained(encoder, **named, **(shape or {}))
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    read_first_place(model)
    bundle = Bundle(
        selon=__version__,
        name=name,
        model=CamembertConfig(kind="camembert", encoder=name, max_length=max_length),
        input=inputs,
        review_below=0,
        corpus="",
        trained_on=(),
        config={},
        training_seconds=0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with whole_folder(folder) as work:
        AutoTokenizer.from_pretrained(encoder).save_pretrained(work)
        model.save_pretrained(work)
        export(model, work / GRAPH)
        write_manifest(work, bundle)


def quantised_copy(folder: Path, target: Path) -> None:
    """Write a copy of a saved model whose int8 graph answers, unverified."""
    bundle = read_bundle(folder)
    with whole_folder(target) as work:
        shutil.copytree(folder, work, dirs_exist_ok=True)
        quantise(work / GRAPH, work / INT8_GRAPH)
        write_manifest(work, bundle.model_copy(update={"precision": "int8"}))
