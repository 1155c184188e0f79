"""How a CamemBERT classifier comes about: its teacher, fine-tuning, calibration, the graph that is used then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from train.bundle import Int8Check
from train.classifiers.base import Fitting
from train.classifiers.camembert import GRAPH
from train.classifiers.exporting import export, fold_temperature, verify
from train.classifiers.finetuning import finetune
from train.classifiers.halving import halve_graph, round_weights, save_half
from train.classifiers.quantisation import quantise_or_refuse
from train.classifiers.teaching import teach
from train.config import CamembertConfig, InputConfig
from train.schema import Article


def fit(
    config: CamembertConfig,
    inputs: InputConfig,
    train: Sequence[Article],
    validation: Sequence[Article],
    fitting: Fitting,
    folder: Path,
) -> Int8Check | None:
    """Fine-tune, calibrate on ``validation`` and write Hugging Face's files and the graph into ``folder``.

    Returns how the int8 graph did, where the config asks for one; it is there only if it was kept.
    """
    taught = None
    if config.teacher and fitting.unlabelled:
        taught = teach(config.teacher, inputs, train, validation, fitting)
    found = finetune(config, inputs, train, validation, fitting, taught)
    found.tokenizer.save_pretrained(folder)
    model = found.model.to("cpu").eval()
    fold_temperature(model, found.temperature)
    round_weights(model)
    save_half(model, folder)
    export(model, folder / GRAPH)
    int8 = quantise_or_refuse(folder, config, inputs, validation, fitting.log) if config.int8 else None
    halve_graph(folder / GRAPH)
    verify(model, folder, config, inputs, validation[:5])
    return int8
