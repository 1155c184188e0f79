"""What a pre-training config may say, and which work folder belongs to it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, StrictStr, model_validator

from train.atomic import whole_file
from train.bundle import hashes, sha256
from train.config import (
    Float,
    Fraction,
    NonNegativeInt,
    Paths,
    PositiveFloat,
    PositiveInt,
    StrictModel,
    project_path,
)
from train.schema import SelonError

#: What an encoder's folder holds; a folder with more is not replaced.
ENCODER_FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)

Share = Annotated[Float, Field(gt=0, le=1)]


class SourceConfig(StrictModel):
    """One source of text: a file (``path``) or a data set of the ``datasets`` library (``dataset``)."""

    path: StrictStr | None = None
    """``.txt``, ``.txt.xz`` (a blank line between articles), ``.jsonl`` or ``.jsonl.xz`` (``text``, ``title``)."""
    dataset: StrictStr | None = None
    """A folder or a name on the Hugging Face Hub, streamed; the column ``text`` is read, and ``title`` if any."""
    subset: StrictStr | None = None
    split: StrictStr = "train"
    revision: StrictStr | None = None
    description: StrictStr
    """What it is, for the model card."""
    share: Share = 1.0
    """The part of its documents to take, drawn at random."""
    max_characters: PositiveInt | None = None
    """Stop reading after so many characters; the way to bound a streamed data set."""

    @model_validator(mode="after")
    def _one_place(self) -> SourceConfig:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("a source needs either path or dataset")
        if self.path is not None and (self.subset or self.revision or self.split != "train"):
            raise ValueError("subset, split and revision belong to dataset, not to path")
        return self

    @property
    def name(self) -> str:
        """The place, for messages and the card."""
        return self.path or self.dataset or ""


class ExcludeConfig(StrictModel):
    """Articles that must not be in the text, under their own id or inside any other document."""

    articles: Paths = ()
    """Stand-off files: JSON lines that carry an ``article_id`` of one of the sources."""
    texts: Paths = ()
    """Text files."""


class TokenizerConfig(StrictModel):
    """The Unigram tokenizer."""

    pieces: Annotated[StrictInt, Field(ge=64, le=65_535)] = 12_000
    characters: PositiveInt = 20_000_000
    """How much text it is trained on."""


class VectorsConfig(StrictModel):
    """The skip-gram vectors that the embeddings start from."""

    tokens: PositiveInt = 20_000_000
    epochs: PositiveInt = 2
    window: PositiveInt = 5
    workers: PositiveInt = 2


class EncoderConfig(StrictModel):
    """The shape of the transformer."""

    layers: PositiveInt = 4
    hidden: PositiveInt = 256
    heads: PositiveInt = 4
    intermediate: PositiveInt = 1024
    max_length: Annotated[StrictInt, Field(ge=16)] = 256
    """The longest input in pieces, ``<s>`` and ``</s>`` counted."""
    dropout: Fraction = 0.0
    """During pre-training; fine-tuning has its own. At zero, petit's validation loss fell for nineteen passes."""

    @model_validator(mode="after")
    def _heads_divide(self) -> EncoderConfig:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class Stage(StrictModel):
    """From a part of the budget on, train on rows of ``length`` pieces."""

    start: Fraction = 0.0
    length: Annotated[StrictInt, Field(ge=8)]


class MaskedConfig(StrictModel):
    """Masked-language modelling; exactly one budget, at whose end the learning rate is zero."""

    max_minutes: PositiveFloat | None = None
    max_tokens: PositiveInt | None = None
    batch_tokens: PositiveInt = 4096
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(length=128),)
    masked: Annotated[Float, Field(gt=0, lt=1)] = 0.25
    """The part of the words to predict."""
    learning_rate: PositiveFloat = 2e-3
    warmup: Fraction = 0.02
    weight_decay: Annotated[Float, Field(ge=0)] = 0.01
    clip: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] | None = None
    """Left out: bf16 on CUDA, fp32 on a CPU. bf16 pays on CPUs with AMX alone and is ruinous on others."""
    evaluation_minutes: PositiveFloat = 5.0
    checkpoint_minutes: PositiveFloat = 5.0
    validation_tokens: PositiveInt = 50_000
    """How much of the held-out documents an evaluation reads."""

    @model_validator(mode="after")
    def _sound(self) -> MaskedConfig:
        if (self.max_minutes is None) == (self.max_tokens is None):
            raise ValueError("give exactly one of max_minutes and max_tokens")
        starts = [stage.start for stage in self.stages]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("stages must begin at start 0 and ascend")
        if self.batch_tokens < max(stage.length for stage in self.stages):
            raise ValueError("batch_tokens must hold at least one row of the longest stage")
        return self

    def length_at(self, done: float) -> int:
        """Return the row length, in pieces, when the part ``done`` of the budget is used."""
        return next(stage.length for stage in reversed(self.stages) if stage.start <= done)


class PretrainConfig(StrictModel):
    """One encoder: text, tokenizer, static vectors, masked-language modelling."""

    name: Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    seed: NonNegativeInt = 13
    sources: Annotated[tuple[SourceConfig, ...], Field(min_length=1)]
    exclude: ExcludeConfig = ExcludeConfig()
    held_out: Annotated[Float, Field(gt=0, lt=0.5)] = 0.005
    """The part of the documents that only validation reads."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    vectors: VectorsConfig | None = VectorsConfig()
    encoder: EncoderConfig = EncoderConfig()
    masked: MaskedConfig
    work_dir: StrictStr
    output: StrictStr

    @model_validator(mode="after")
    def _rows_fit(self) -> PretrainConfig:
        if max(stage.length for stage in self.masked.stages) > self.encoder.max_length:
            raise ValueError("a stage is longer than encoder.max_length")
        return self

    def text_plan(self) -> dict[str, Any]:
        """Return what the shards depend on."""
        return self.model_dump(mode="json", include={"seed", "sources", "exclude", "held_out", "tokenizer"})

    def training_plan(self) -> dict[str, Any]:
        """Return what a checkpoint depends on: no places, no cadences, and no budget, which may grow or shrink."""
        free = {"max_minutes", "max_tokens", "evaluation_minutes", "checkpoint_minutes", "validation_tokens"}
        masked = self.masked.model_dump(mode="json", exclude=free)
        return {
            **self.text_plan(),
            "vectors": self.vectors and self.vectors.model_dump(mode="json"),
            "encoder": self.encoder.model_dump(mode="json"),
            "masked": masked,
        }


def fingerprint(plan: dict[str, Any]) -> str:
    """Return the SHA-256 of a plan."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def claim_work_folder(config: PretrainConfig, fresh: bool) -> Path:
    """Return the work folder, marked as this config's; raise SelonError if it is another's.

    Where a source has changed, its text goes, to be prepared anew; SelonError where that would take it from a training
    that goes on (not ``fresh``).
    """
    work = project_path(config.work_dir)
    plan = work / "plan.json"
    mine, files = config.text_plan(), _hashes(config)
    if plan.exists():
        theirs = json.loads(plan.read_text(encoding="utf-8"))
        read = theirs.pop("files", {})
        changed = [name for name, sha in files.items() if read.get(name, sha) != sha]
        if theirs == mine and not changed:
            return work
        if theirs != mine and (work / "shards").is_dir():
            keys = ", ".join(key for key in mine if theirs.get(key) != mine[key])
            raise SelonError(
                f"{work}: its text was prepared with other settings ({keys}); "
                "set another work_dir or remove that folder"
            )
        if (work / "shards").is_dir() and not fresh:
            raise SelonError(
                f"{changed[0]}: has changed since its text was prepared in {work}; set another work_dir, or remove "
                f"{work / 'checkpoints'} and start without --resume"
            )
        # A mistake in the config, mended before anything came of it, or text that has grown.
        for folder in ("shards", "text"):
            shutil.rmtree(work / folder, ignore_errors=True)
        for path in (work / "tokenizer.json", *work.glob("vectors-*.npy")):
            path.unlink(missing_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    with whole_file(plan) as file:
        file.write(json.dumps({**mine, "files": files}, indent=1, ensure_ascii=False) + "\n")
    return work


def _hashes(config: PretrainConfig) -> dict[str, str]:
    """Return the SHA-256 of what the text is read from and what it leaves out, as far as that lies on this machine."""
    found = {}
    for name in (*(source.name for source in config.sources), *config.exclude.articles, *config.exclude.texts):
        path = project_path(name)
        if path.is_file():
            found[name] = sha256(path)
        elif path.is_dir():
            found[name] = fingerprint(hashes(path))
    return found
