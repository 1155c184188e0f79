"""Documents → a Unigram tokenizer → uint16 shards, documents separated by ``</s>``.

The ids are CamemBERT's: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3; ``<mask>`` follows at 4.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.atomic import whole_file, whole_folder
from train.pretraining.settings import PretrainConfig
from train.schema import SelonError

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BOS, PAD, EOS, UNK, MASK = range(5)

#: 8 MB a shard: small enough for any carrier.
SHARD_PIECES = 4_000_000
_BATCH = 512


def write_tokenizer(config: PretrainConfig, work: Path) -> None:
    """Train the Unigram model on a random sample of the text and write ``tokenizer.json``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    path = work / "tokenizer.json"
    if path.exists():
        return
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=config.tokenizer.pieces,
        special_tokens=list(SPECIAL_TOKENS),
        unk_token="<unk>",  # noqa: S106 - no password
        show_progress=False,
    )
    text = work / "text" / "train.txt"
    share = config.tokenizer.characters / max(text.stat().st_size, 1)
    draw = random.Random(config.seed)  # noqa: S311 - a sample, no secret
    sample = (document for document in _documents(text) if draw.random() < share)
    try:
        tokenizer.train_from_iterator(sample, trainer)
    except (KeyboardInterrupt, SystemExit):
        raise
    # The Rust trainer panics on too little text, and a panic is no Exception.
    except BaseException:
        raise SelonError(
            f"{text}: too little text for a tokenizer of {config.tokenizer.pieces:,} pieces; "
            "give more text or lower tokenizer.pieces"
        ) from None
    # Save CamembertTokenizer's own form, so that what tokenises here is what users load.
    with whole_file(path) as file:
        file.write(_camembert(tokenizer).backend_tokenizer.to_str(pretty=True))


def load_tokenizer(work: Path, max_length: int) -> Any:
    """Return the ``CamembertTokenizer`` of ``tokenizer.json``."""
    from tokenizers import Tokenizer

    return _camembert(Tokenizer.from_file(str(work / "tokenizer.json")), model_max_length=max_length)


def _camembert(tokenizer: Any, **settings: Any) -> Any:
    import json

    from transformers import CamembertTokenizer

    vocabulary = [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    # Without the empty list the class appends <s>NOTUSED and two more beyond the embeddings' last row.
    return CamembertTokenizer(vocab=vocabulary, additional_special_tokens=[], **settings)


def write_shards(config: PretrainConfig, work: Path) -> None:
    """Write ``shards/{train,validation}-NNN.npy``: flat uint16 arrays of piece ids, each document closed by EOS."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    with whole_folder(work / "shards") as draft:
        for part in ("train", "validation"):
            number, waiting, size = 0, [], 0
            for ids in _encoded(tokenizer, work / "text" / f"{part}.txt"):
                waiting.append(ids)
                size += len(ids)
                if size >= SHARD_PIECES:
                    np.save(draft / f"{part}-{number:03}.npy", np.concatenate(waiting))
                    number, waiting, size = number + 1, [], 0
            if waiting:
                np.save(draft / f"{part}-{number:03}.npy", np.concatenate(waiting))
            elif number == 0:
                raise SelonError(f"{work / 'text'}: no document fell to {part}; give more text or raise held_out")


def read_shards(work: Path, part: str) -> NDArray[np.uint16]:
    """Return all pieces of ``part`` ("train" or "validation"), shape (pieces,), 2 bytes each."""
    paths = sorted((work / "shards").glob(f"{part}-*.npy"))
    if not paths:
        raise SelonError(f"{work / 'shards'}: no {part} shards; remove that folder and run again")
    return np.concatenate([np.load(path, allow_pickle=False) for path in paths])


def _encoded(tokenizer: Any, path: Path) -> Iterator[NDArray[np.uint16]]:
    documents = _documents(path)
    while batch := list(islice(documents, _BATCH)):
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield np.array([*encoding.ids, EOS], dtype=np.uint16)


def _documents(path: Path) -> Iterator[str]:
    lines: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line != "\n":
                lines.append(line)
            elif lines:
                yield "".join(lines)
                lines = []
