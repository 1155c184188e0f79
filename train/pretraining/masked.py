"""Masked-language modelling within a budget of minutes or pieces, resumable at any checkpoint.

The learning rate depends only on the part of the budget that is used, so it is zero when the budget ends, however
fast the machine was. Data order and masks depend only on seed, position and step.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from train.pretraining import checkpoints
from train.pretraining.encoder import build_model
from train.pretraining.packing import PackedText, mask_words, word_starts
from train.pretraining.pieces import load_tokenizer, read_shards
from train.pretraining.settings import MaskedConfig, PretrainConfig, fingerprint
from train.pretraining.vectors import SPREAD, vectors_path
from train.schema import SelonError

_REPORT_STEPS = 20
_VALIDATION_LENGTH = 128


def learning_rate(done: float, settings: MaskedConfig) -> float:
    """Return the rate when the part ``done`` of the budget is used: up to the peak, then linear to zero."""
    if done < settings.warmup:
        return settings.learning_rate * done / settings.warmup
    return settings.learning_rate * max(0.0, 1 - done) / (1 - settings.warmup)


def train_masked(
    config: PretrainConfig,
    work: Path,
    *,
    resume: bool,
    log: Callable[[dict[str, float], int], None] | None = None,
) -> Path:
    """Train until the budget is used and return the last checkpoint.

    On a CPU with one thread, a budget in tokens and fp32, an interrupted and resumed run ends with the same
    bits as an uninterrupted one. Raises SelonError for checkpoints of another config.
    """
    folder = work / checkpoints.FOLDER
    run = _Run(config, work)
    checkpoint = checkpoints.last_verified(folder) if resume else None
    if checkpoint is not None:
        run.restore(checkpoint)
    with Progress(
        TextColumn("pre-training"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.3f} · {task.fields[speed]:,.0f} tokens/s ·"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("", total=1.0, loss=math.nan, speed=0.0)

        def report(metrics: dict[str, float], step: int) -> None:
            bar.update(task, completed=run.done())
            if "loss" in metrics:
                bar.update(task, loss=metrics["loss"], speed=metrics["tokens_per_second"])
            if log is not None:
                log(metrics, step)

        run.train(folder, report)
    return checkpoints.save(folder, run.state, run.model, run.optimizer)


class _Run:
    """A model under training and where it stands."""

    def __init__(self, config: PretrainConfig, work: Path) -> None:
        self.settings = config.masked
        self.seed = config.seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tokenizer = load_tokenizer(work, config.encoder.max_length)
        pieces = read_shards(work, "train")
        self.text = PackedText(pieces, config.seed)
        self.validation = PackedText(read_shards(work, "validation"), config.seed)
        self.starts = word_starts(tokenizer.get_vocab())
        torch.manual_seed(config.seed)
        self.model = build_model(config.encoder, len(tokenizer))
        # PyTorch's fused attention is the slower one on a CPU: its backward pass (measured: half the speed in all).
        self.model.set_attn_implementation("sdpa" if self.device.type == "cuda" else "eager")
        self._start_embeddings(config, work, pieces)
        self.model.to(self.device)
        if self.device.type == "cuda":
            # The layers alone: what surrounds them would, traced, hand them a mask that hides nothing, and with a mask
            # there is no flash attention.
            self.model.roberta.encoder.compile()
        self.optimizer = _optimizer(self.model, self.settings)
        self.state = checkpoints.State(
            plan=fingerprint(config.training_plan()),
            settings=config.model_dump(mode="json"),
            machine=torch.cuda.get_device_name()
            if self.device.type == "cuda"
            else f"{platform.machine()}, {torch.get_num_threads()} CPU threads",
        )
        self._since = time.monotonic()

    def _start_embeddings(self, config: PretrainConfig, work: Path, pieces: NDArray[np.uint16]) -> None:
        with torch.no_grad():
            if config.vectors is not None:
                vectors = np.load(vectors_path(config, work), allow_pickle=False)
                self.model.roberta.embeddings.word_embeddings.weight.copy_(torch.from_numpy(vectors))
            # Sinusoids as tall as the vectors: heads find « the piece before » at once, where random positions keep
            # the loss on a plateau for thousands of steps. Learned on from there, as CamemBERT's are.
            positions = self.model.roberta.embeddings.position_embeddings.weight
            offset = self.model.config.pad_token_id + 1
            positions[offset:] = sinusoids(len(positions) - offset, positions.shape[1]) * SPREAD
            # With the pieces' frequencies as bias, nothing is spent on learning that « de » is frequent.
            counts = np.bincount(pieces, minlength=len(self.starts)) + 1.0
            self.model.lm_head.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))

    def restore(self, checkpoint: Path) -> None:
        """Continue from a checkpoint of the same training plan; the budget may be another."""
        here = self.state
        there = checkpoints.read_state(checkpoint)
        if there.plan != here.plan:
            raise SelonError(
                f"{checkpoint}: it was trained with other settings; set another work_dir or remove checkpoints/"
            )
        self.state = checkpoints.restore(checkpoint, self.model, self.optimizer)
        self.state.settings, self.state.machine = here.settings, here.machine

    def seconds(self) -> float:
        """Return the time spent in the loop up to now, over all sittings."""
        return self.state.seconds + time.monotonic() - self._since

    def done(self) -> float:
        """Return the used part of the budget."""
        if self.settings.max_tokens is not None:
            return self.state.tokens / self.settings.max_tokens
        return self.seconds() / 60 / (self.settings.max_minutes or math.inf)

    def train(self, folder: Path, report: Callable[[dict[str, float], int], None]) -> None:
        """Run the loop to the end of the budget; checkpoints go to ``folder``."""
        settings, state = self.settings, self.state
        if self.device.type == "cuda" and self.done() < 1:
            self._compile()
        self._since = saved = evaluated = reported = time.monotonic()
        losses, steps = torch.zeros((), device=self.device), 0
        while (done := self.done()) < 1:
            rate = learning_rate(done, settings)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            losses += self._step(settings.length_at(done))
            steps += 1
            now = time.monotonic()
            if state.step % _REPORT_STEPS == 0:
                loss = self._finite(float(losses) / steps)
                speed = steps * settings.batch_tokens / (now - reported)
                report(
                    {"loss": loss, "learning_rate": rate, "tokens": state.tokens, "tokens_per_second": speed},
                    state.step,
                )
                losses.zero_()
                steps, reported = 0, now
            if now - evaluated > settings.evaluation_minutes * 60:
                self._evaluate(report)
                evaluated = time.monotonic()
            if now - saved > settings.checkpoint_minutes * 60:
                self._finite(float(losses))
                self._settle_clock()
                checkpoints.save(folder, state, self.model, self.optimizer)
                saved = time.monotonic()
            reported += time.monotonic() - now  # the pace is that of training alone
        self._evaluate(report)
        self._settle_clock()

    def _compile(self) -> None:
        """Compile for each length before the clock starts: it would eat the warm-up of a budget in minutes."""
        for stage in self.settings.stages:
            rows, _ = self.text.rows(0, self.settings.batch_tokens // stage.length, stage.length)
            self._loss(rows, np.random.default_rng(self.seed)).backward()
            self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()

    def _settle_clock(self) -> None:
        self.state.seconds, self._since = self.seconds(), time.monotonic()

    def _step(self, length: int) -> torch.Tensor:
        """Take one step on rows of ``length`` pieces; return its loss, a scalar on the device."""
        state, settings = self.state, self.settings
        rows, state.position = self.text.rows(state.position, settings.batch_tokens // length, length)
        loss = self._loss(rows, np.random.default_rng([self.seed, 1, state.step]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.tokens += rows.size
        return loss.detach()

    def _loss(self, rows: NDArray[np.int64], generator: np.random.Generator) -> torch.Tensor:
        """Return the mean cross-entropy, in nats, over the hidden pieces of ``rows``."""
        inputs, chosen = mask_words(rows, self.starts, self.settings.masked, generator)
        # Only a quarter of the places has something to predict: the 12,000 logits of the others are never made.
        places, targets = self._given(np.flatnonzero(chosen)), self._given(rows[chosen])
        with self._precision():
            hidden = self.model.roberta(input_ids=self._given(inputs)).last_hidden_state
            logits = self.model.lm_head(hidden.flatten(0, 1)[places])
        return F.cross_entropy(logits.float(), targets)

    def _given(self, array: NDArray[np.int64]) -> torch.Tensor:
        """Return an array on the device; from pinned memory a GPU takes it while it works on the step before."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _precision(self) -> Any:
        precision = self.settings.precision or ("bf16" if self.device.type == "cuda" else "fp32")
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _evaluate(self, report: Callable[[dict[str, float], int], None]) -> None:
        """Measure the loss on the held-out documents: always the same rows under the same masks."""
        wanted = min(self.settings.validation_tokens, len(self.validation))
        length = min(_VALIDATION_LENGTH, self.model.config.max_position_embeddings - 2)
        count = max(1, min(32, wanted // length))
        position, losses = 0, []
        self.model.eval()
        # Compiled, the layers would be compiled again for these shapes.
        with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
            while position < wanted:
                rows, position = self.validation.rows(position, count, length)
                losses.append(float(self._loss(rows, np.random.default_rng([self.seed, 2, position]))))
        self.model.train()
        state = self.state
        state.validation_loss = loss = self._finite(float(np.mean(losses)))
        figures = {"validation_loss": loss, "validation_perplexity": math.exp(min(loss, 50))}
        state.history.append({"step": state.step, "tokens": state.tokens, "validation_loss": loss})
        report(figures, state.step)

    def _finite(self, loss: float) -> float:
        """Return a loss; SelonError where it is none, before weights are kept that are none either."""
        if not math.isfinite(loss):
            raise SelonError(f"masked.learning_rate: the loss is {loss} at step {self.state.step}; take a lower one")
        return loss


def sinusoids(length: int, size: int) -> torch.Tensor:
    """Return the position vectors of Vaswani et al. (2017), shape (length, size), values from -1 to 1."""
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, size, 2) / size)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def _optimizer(model: Any, settings: MaskedConfig) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only, never embeddings, biases or layer norms."""
    decayed: list[torch.nn.Parameter] = []
    spared: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim > 1 and "embeddings" not in name
        (decayed if matrix else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
