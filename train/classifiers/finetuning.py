"""Fine-tuning a transformers encoder: data, Trainer, verified checkpoints, calibration."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_pt_utils import get_length_grouped_indices
from transformers.utils import is_torch_tf32_available

from train.atomic import whole_folder
from train.bundle import hashes
from train.classifiers.base import Fitting
from train.classifiers.exporting import has_types
from train.classifiers.layer_decay import parameter_groups
from train.classifiers.loading import load_encoder
from train.classifiers.trainer_data import tokenise
from train.config import CamembertConfig, InputConfig
from train.inputs import build_inputs, drop_context
from train.metrics import confusion, f1_scores, fit_temperature, macro_f1, probabilities_from
from train.schema import LABELS, Article, Probabilities, SelonError

_MANIFEST = "manifest.json"
#: Inputs that go through the network together on a CPU; a step gathers the gradients of several such groups. More
#: would leave its caches (32 at 3 x 256 are an eighth slower on one thread, though not on two).
_AT_ONCE = 16


@dataclass(frozen=True)
class Finetuned:
    """A network as the training left it."""

    trainer: Trainer
    inputs: InputConfig
    max_length: int
    temperature: float
    """What its logits are to be divided by, chosen on validation."""

    @property
    def model(self) -> PreTrainedModel:
        """The network, on the device where it was trained."""
        return self.trainer.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What cuts its inputs into pieces."""
        return self.trainer.processing_class

    def probabilities(self, articles: Sequence[Article]) -> Probabilities:
        """Return calibrated probabilities, shape (sentences, 4), computed where the network was trained."""
        read, types = partial(build_inputs, config=self.inputs), has_types(self.model)
        found = self.trainer.predict(tokenise(articles, read, self.tokenizer, self.max_length, types))
        return probabilities_from(found.predictions.astype(np.float64) / self.temperature)


def finetune(
    config: CamembertConfig,
    inputs: InputConfig,
    train: Sequence[Article],
    validation: Sequence[Article],
    fitting: Fitting,
    taught: Probabilities | None = None,
) -> Finetuned:
    """Fine-tune ``config.encoder`` on the labels of ``train``, and on what is ``taught`` of ``fitting.unlabelled``.

    Parameters
    ----------
    taught : float, shape (sentences of ``fitting.unlabelled``, 4), optional
        A teacher's probabilities; without them the unlabelled articles are not used.
    """
    set_seed(fitting.seed)
    model, tokenizer = load_encoder(config)
    known = _certain(train)
    articles = [*train, *(fitting.unlabelled if taught is not None else ())]
    targets = known if taught is None else np.vstack([known, taught])
    draw = np.random.default_rng(fitting.seed)
    seen = partial(drop_context, config=inputs, share=config.context_dropout, draw=draw)
    whole = partial(build_inputs, config=inputs)
    length, types = config.max_length, has_types(model)
    learned = tokenise(articles, seen, tokenizer, length, types, targets)
    expected = tokenise(validation, whole, tokenizer, length, types, _certain(validation))
    start = latest_checkpoint(fitting.checkpoints) if fitting.resume else None
    with _staging(fitting.checkpoints) as staging, _progress() as bar:
        trainer = _Trainer(
            model=model,
            args=_arguments(config, fitting.seed, staging),
            train_dataset=learned,
            eval_dataset=expected,
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_loss_func=_mean_loss,
            compute_metrics=_figures,
            callbacks=[_Reporter(fitting, bar), _VerifiedCheckpoints(fitting.checkpoints)],
        )
        trainer.layer_decay, trainer.labelled = config.layer_decay, len(known)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(start) if start else None)
        found = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
        trainer.log(found.metrics)
    if not np.isfinite(found.predictions).all():
        raise SelonError("model.learning_rate: the fine-tuning diverged; take a lower one")
    temperature = fit_temperature(found.predictions.astype(np.float64), np.concatenate([a.gold for a in validation]))
    fitting.log({"temperature": temperature}, trainer.state.global_step)
    return Finetuned(trainer, inputs, config.max_length, temperature)


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint whose files all are as its manifest says; None where there is none."""
    for checkpoint in sorted(folder.glob("step-*"), key=lambda p: -int(p.name.removeprefix("step-"))):
        try:
            if json.loads((checkpoint / _MANIFEST).read_text()) == hashes(checkpoint, _MANIFEST):
                return checkpoint
        except (OSError, ValueError):
            continue
    return None


class _VerifiedCheckpoints(TrainerCallback):
    """Move what Trainer saved to a folder that appears whole, with a manifest; keep the last two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        written = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        with whole_folder(self.folder / f"step-{state.global_step:08d}") as work:
            for path in written.iterdir():
                path.rename(work / path.name)
            (work / _MANIFEST).write_text(json.dumps(hashes(work, _MANIFEST)))
        written.rmdir()
        for old in sorted(self.folder.glob("step-*"))[:-2]:
            shutil.rmtree(old)


class _Sampler(Sampler[int]):
    """Batches of like lengths: in each epoch all labelled inputs, and its share of those that the teacher labelled.

    Each epoch starts from its own seed, wherever the training was interrupted. Without that, an epoch that is resumed
    would draw other batches: Trainer restores the random state only after it has skipped those that were trained on.
    """

    def __init__(self, lengths: Sequence[int], labelled: int, args: TrainingArguments) -> None:
        self.lengths, self.labelled, self.args, self.epoch = lengths, labelled, args, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        torch.manual_seed(self.args.seed + epoch)

    def __len__(self) -> int:
        return self.labelled + (len(self.lengths) - self.labelled) // int(self.args.num_train_epochs)

    def __iter__(self) -> Iterator[int]:
        share = range(self.labelled + self.epoch, len(self.lengths), int(self.args.num_train_epochs))
        chosen = [*range(self.labelled), *share][: len(self)]
        lengths = [self.lengths[place] for place in chosen]
        order = get_length_grouped_indices(lengths, self.args.train_batch_size)
        return iter([chosen[place] for place in order])


class _Trainer(Trainer):
    layer_decay, labelled = 1.0, 0

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        args, decayed = self.args, self.get_decay_parameter_names(self.model)
        groups = parameter_groups(self.model, args.learning_rate, self.layer_decay, args.weight_decay, decayed)
        kind, options = self.get_optimizer_cls_and_kwargs(args, self.model)
        self.optimizer: torch.optim.Optimizer = kind(groups, **options)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> _Sampler:
        return _Sampler(self.train_dataset["length"][:], self.labelled, self.args)


@contextmanager
def _staging(checkpoints: Path) -> Iterator[Path]:
    """Give the folder that Trainer writes to; it is empty at first and gone at the end, whatever happens."""
    staging = checkpoints / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _progress() -> Progress:
    """Return a bar with loss, speed and time left on stderr."""
    return Progress(
        TextColumn("fine-tuning"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


class _Reporter(TrainerCallback):
    """Steps, loss and speed to the bar; figures to the tracker."""

    def __init__(self, fitting: Fitting, bar: Progress) -> None:
        self.fitting, self.bar = fitting, bar
        self.task = bar.add_task("", loss="–", rate="")

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(self.task, total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        speed = self.bar.tasks[self.task].speed
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
        rate = f"{speed * batch:.0f} sentences/s" if speed else ""
        self.bar.update(self.task, completed=state.global_step, rate=rate)

    def on_epoch_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = False  # the predictions that calibrate bring the last figures

    def on_log(
        self, args: TrainingArguments, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        logs = logs or {}
        if "loss" in logs:
            self.bar.update(self.task, loss=f"{logs['loss']:.3f}")
            self.fitting.log({"loss": logs["loss"], "learning_rate": logs["learning_rate"]}, state.global_step)
        validation = {k.replace("eval_", "validation/"): v for k, v in logs.items() if k.startswith("eval_")}
        kept = {k: v for k, v in validation.items() if "runtime" not in k and "per_second" not in k}
        if kept:
            self.fitting.log(kept, state.global_step)


def _arguments(config: CamembertConfig, seed: int, staging: Path) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    at_once = config.batch_size if gpu or config.batch_size % _AT_ONCE else _AT_ONCE
    return TrainingArguments(
        output_dir=str(staging),
        seed=seed,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=config.batch_size // at_once,
        per_device_eval_batch_size=256 if gpu else 64,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup,
        lr_scheduler_type="linear",
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=config.save_steps,
        # A GPU does these small steps in milliseconds, and must not wait for what looks at them or prepares the next.
        logging_steps=50 if gpu else 5,
        logging_nan_inf_filter=not gpu,
        dataloader_num_workers=min(4, os.cpu_count() or 1) if gpu else 0,
        dataloader_pin_memory=gpu,
        tf32=is_torch_tf32_available() or None,
        report_to="none",
        disable_tqdm=True,
    )


def _certain(articles: Sequence[Article]) -> Probabilities:
    """Return the articles' own labels as probabilities, shape (sentences, 4)."""
    certain: Probabilities = np.eye(len(LABELS))[np.concatenate([article.gold for article in articles])]
    return certain


def _mean_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor) -> torch.Tensor:
    """Return a group's share of the mean over its step; models' own losses would be added up.

    ``labels`` are probabilities, shape (inputs, 4); Trainer counts all of them as items.
    """
    return cross_entropy(outputs.logits, labels, reduction="sum") * labels.shape[1] / num_items_in_batch.sum()


def _figures(prediction: Any) -> dict[str, float]:
    table = confusion(prediction.label_ids.argmax(1), prediction.predictions.argmax(1))
    return {"macro_f1": float(macro_f1(table))} | {
        f"f1_{label}": float(value) for label, value in zip(LABELS, f1_scores(table), strict=True)
    }
