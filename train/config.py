"""What an experiment's config may say: frozen, strict pydantic models; ``config_file`` reads them from YAML.

Relative paths inside a config are relative to the project root: the nearest folder, from the working
directory upwards, that holds ``mlruns/`` (or else the working directory itself).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)


class StrictModel(BaseModel):
    """Frozen; unknown keys, infinities and NaN refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


#: Accepts ``2e-5``, which YAML 1.1 takes for text; pydantic alone would also take ``yes`` for 1.
Float = Annotated[float, BeforeValidator(_no_boolean)]
PositiveInt = Annotated[StrictInt, Field(gt=0)]
NonNegativeInt = Annotated[StrictInt, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Paths = tuple[StrictStr, ...]


def project_root() -> Path:
    """Return the nearest folder upwards from the working directory that holds ``mlruns/``, else that directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "mlruns").is_dir()), here)


def project_path(path: str) -> Path:
    """Return ``path`` made absolute: relative ones start from the project root."""
    return project_root() / Path(path).expanduser()


class DataConfig(StrictModel):
    """Which labelled articles to use; each entry is a file of any format that ``corpus`` reads."""

    train: Annotated[Paths, Field(min_length=1)]
    validation: Annotated[Paths, Field(min_length=1)]
    test: Annotated[Paths, Field(min_length=1)]
    unlabelled: Paths = ()
    """Articles for ``model.teacher`` to label: JSONL (``.xz`` too), Parquet, a folder of them, or a ``.txt`` that lists
    ids of the press text."""
    press: StrictStr | None = None
    """The text that stand-off labels point into; the environment's ``SELON_PRESS`` goes first."""


class InputConfig(StrictModel):
    """What a classifier sees beside the sentence itself: of its document, and of the cues in it."""

    title: StrictBool = True
    before: Annotated[StrictInt, Field(ge=0, le=3)] = 1
    after: Annotated[StrictInt, Field(ge=0, le=3)] = 1
    position: StrictBool = True
    quotation: StrictBool = True
    cues: StrictBool = True


class TfidfConfig(StrictModel):
    """The scikit-learn baseline."""

    kind: Literal["tfidf"]
    word_ngrams: Annotated[StrictInt, Field(ge=1, le=5)] = 3
    char_ngrams: Annotated[StrictInt, Field(ge=2, le=7)] = 5
    min_df: PositiveInt = 2
    C: PositiveFloat = 1.0
    max_iter: PositiveInt = 300
    """Rounds of boosting."""


class CamembertConfig(StrictModel):
    """A transformers encoder with a classification head, fine-tuned."""

    kind: Literal["camembert"]
    encoder: StrictStr
    """A folder (relative to the project root) or a name on the Hugging Face Hub; a saved model is trained further."""
    revision: StrictStr | None = None
    max_length: Annotated[StrictInt, Field(ge=16, le=1024)] = 128
    epochs: PositiveInt = 4
    batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 3e-5
    layer_decay: Annotated[Float, Field(gt=0, le=1)] = 1.0
    """What the learning rate is multiplied with from the head to the last layer, and from a layer to the one below."""
    frozen_layers: NonNegativeInt = 0
    """How many of the lowest layers stay as pre-training left them, and the embeddings with them."""
    weight_decay: Annotated[Float, Field(ge=0)] = 0.01
    warmup: Fraction = 0.1
    teacher: Annotated[TfidfConfig | CamembertConfig, Field(discriminator="kind")] | None = None
    """A baseline or a bigger encoder that is fitted on the same articles; this one learns from what it says of
    ``data.unlabelled``."""
    context_dropout: Annotated[Float, Field(ge=0, le=0.5)] = 0.1
    """Share of the training sentences that are read alone, as many again without the headline: both come in use."""
    start_from_mask: StrictBool = False
    """Whether the first place, which the head reads, starts as the mask: an encoder that has learned from masked words
    alone knows how to gather at a mask what is around it, and nothing about its first place. A saved model does."""
    save_steps: PositiveInt = 200
    int8: StrictBool = False
    """Quantise the exported graph as well, and let it answer on a CPU if it is as good: for big encoders."""


_Member = Annotated[TfidfConfig | CamembertConfig, Field(discriminator="kind")]


class MeanConfig(StrictModel):
    """Several classifiers, fitted on the same articles; the mean of their probabilities answers."""

    kind: Literal["mean"]
    members: Annotated[tuple[_Member, ...], Field(min_length=2)]


#: Another classifier adds its config here.
ModelConfig = Annotated[TfidfConfig | CamembertConfig | MeanConfig, Field(discriminator="kind")]


class TrainConfig(StrictModel):
    """One experiment: data, input, model."""

    name: Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    seed: NonNegativeInt = 13
    data: DataConfig
    input: InputConfig = InputConfig()
    model: ModelConfig
    review_error: Annotated[Float, Field(gt=0, lt=1)] = 0.1
    """Sentences above the review threshold may be wrong this often, on validation."""

    @model_validator(mode="after")
    def _taught(self) -> Self:
        members = self.model.members if isinstance(self.model, MeanConfig) else (self.model,)
        teachers = [teacher for member in members if (teacher := getattr(member, "teacher", None))]
        if bool(self.data.unlabelled) != bool(teachers):
            raise ValueError("data.unlabelled and model.teacher (of an encoder) go together: set both or neither")
        if any(getattr(teacher, "teacher", None) or getattr(teacher, "int8", False) for teacher in teachers):
            raise ValueError("model.teacher: a teacher has no teacher of its own, and no int8 graph; leave that out")
        if isinstance(self.model, MeanConfig) and any(getattr(member, "int8", False) for member in members):
            raise ValueError("model.members: a member has no int8 graph; leave that out")
        return self
