"""Text → compact CamemBERT: ``prepare`` what it reads, then ``learn``; ``selon pretrain`` does both.

One idea per file, in the order in which a run goes through them:

    settings.py     what a config may say
    text.py         sources → clean documents, without the held-out articles
    pieces.py       documents → Unigram tokenizer → uint16 shards
    packing.py      shards → shuffled, padding-free rows, and the masks over them
    vectors.py      skip-gram vectors of the pieces, the start of the embeddings
    masked.py       the masked-language-model loop
    checkpoints.py  its state on disk, verified
    encoder.py      a checkpoint → a Hugging Face folder with a model card

Importing this package imports neither torch, transformers nor gensim.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from train.atomic import refuse_others
from train.config import project_path
from train.pretraining.settings import ENCODER_FILES, PretrainConfig, claim_work_folder
from train.schema import SelonError

__all__ = ["PretrainConfig", "export", "learn", "prepare"]

#: Receives the metrics of a moment and the optimizer step they belong to.
Log = Callable[[dict[str, float], int], None]


def prepare(config: PretrainConfig, *, fresh: bool = False) -> Path:
    """Write text, tokenizer, shards and static vectors, as far as they are missing; return the work folder.

    ``plan.json``, ``summary.json``, ``tokenizer.json``, ``shards/`` and ``vectors-….npy`` are all that another
    machine needs to train: each step is skipped where its result lies there already, and no source has changed since.

    Raises
    ------
    SelonError
        For a missing source, an output folder that holds other things, a work folder of another config,
        checkpoints that are in the way of one that begins (``fresh``), or a source that has changed since the text
        of one that goes on was prepared.
    """
    from rich.console import Console

    from train.pretraining import checkpoints
    from train.pretraining.pieces import write_shards, write_tokenizer
    from train.pretraining.text import write_text
    from train.pretraining.vectors import write_vectors

    refuse_others(project_path(config.output), ENCODER_FILES)
    folder = project_path(config.work_dir) / checkpoints.FOLDER
    trained = checkpoints.any_in(folder)
    work = claim_work_folder(config, fresh and not trained)
    if fresh and trained:
        raise SelonError(f"{folder}: checkpoints of an earlier run lie there; resume it or remove that folder")
    console = Console(stderr=True)
    if not (work / "shards").is_dir():
        console.print("text: reading the sources")
        write_text(config, work)
        console.print(f"tokenizer: {config.tokenizer.pieces:,} pieces")
        write_tokenizer(config, work)
        console.print("shards: text into pieces")
        write_shards(config, work)
    if config.vectors is not None:
        console.print("vectors: skip-gram over the pieces")
        write_vectors(config, work)
    return work


def learn(config: PretrainConfig, work: Path, *, resume: bool = False, log: Log | None = None) -> Path:
    """Train the encoder on what lies in ``work`` and return its folder.

    Parameters
    ----------
    resume : bool
        Continue from the last checkpoint that verifies; without one, start.
    log : callable, optional
        Called with metrics (loss in nats, tokens per second) and the step, for example MLflow's.

    Raises
    ------
    SelonError
        For checkpoints of another config, or all altered, and for a training that diverges.
    """
    from train.pretraining.masked import train_masked

    checkpoint = train_masked(config, work, resume=resume, log=log)
    return export(checkpoint, project_path(config.output))


def export(checkpoint: Path, output: Path) -> Path:
    """Write the weights of ``checkpoint`` as a Hugging Face folder (fp16, tokenizer, model card).

    The checkpoint must lie in its work folder (``<work_dir>/checkpoints/step-…``), where the tokenizer is.
    Works while the training that wrote it goes on. Raises SelonError where the checkpoint is altered.
    """
    from train.pretraining.encoder import write_encoder

    return write_encoder(checkpoint, output)
