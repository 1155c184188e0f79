"""A toy world, made here: articles whose labels follow a rule, three tiny encoders, a project with trained models.

The rule: a sentence with « dément » is a denial, with « selon » a claim, with « c'est une honte » an attribution,
and background otherwise. Whatever is dear (training, MLflow) is made once a session.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Libraries read these when they are first imported: one thread, which is enough for toys, and no Hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

REPOSITORY = Path(__file__).parents[1]
WORDS = (
    "le la un une maire ministre président ville pays hier matin usine village avec sans pour contre "
    "grand petit rouge vert marché train rue école loi vote grève prix eau feu route pont jardin soir "
    "musée forêt"
).split()
MARKS = {"denial": "dément", "claim": "selon", "attribution": "« c'est une honte »", "background": ""}

Rows = list[dict[str, Any]]


def toy_rows(articles: int, seed: int, prefix: str) -> Rows:
    """Return rows of articles of eight sentences, two of each label in any order."""
    draw = random.Random(seed)
    rows = []
    for number in range(articles):
        labels = [*MARKS, *MARKS]
        draw.shuffle(labels)
        title = f"Le {draw.choice(WORDS)} du {draw.choice(WORDS)}"
        for place, label in enumerate(labels):
            words = draw.choices(WORDS, k=draw.randint(5, 9))
            words.insert(draw.randint(1, len(words)), MARKS[label])
            text = " ".join(word for word in words if word)
            rows.append(
                {
                    "article_id": f"{prefix}{number:02d}",
                    "sentence": place,
                    "paragraph": place // 3,
                    "text": text[0].upper() + text[1:] + ".",
                    "label": label,
                    "title": title,
                }
            )
    return rows


def write_rows(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


TFIDF = """\
name: tfidf
seed: 3
data: {train: [data/corpus/train.jsonl], validation: [data/corpus/validation.jsonl], test: [data/corpus/test.jsonl]}
model: {kind: tfidf, C: 3.0, char_ngrams: 3, word_ngrams: 1, max_iter: 40}
"""
CAMEMBERT = """\
extends: tfidf.yaml
name: petit
input: {before: 0, after: 0}
model:
  {kind: camembert, encoder: encoders/camembert, max_length: 48, epochs: 6, batch_size: 8, learning_rate: 4e-3}
"""


@pytest.fixture
def rows() -> Callable[[int, int, str], Rows]:
    return toy_rows


@pytest.fixture
def fill_folder() -> Callable[[Path], None]:
    """Put two files into a folder, one of them deeper."""

    def fill(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"\x00\x01" * 500)
        (folder / "deep").mkdir()
        (folder / "deep/notes.txt").write_text("été", encoding="utf-8")

    return fill


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders camembert, roberta and deberta-v2: tiny random encoders, each with its kind of tokenizer."""
    return make_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="session")
def make_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that makes a project root: toy corpus, seed article, configs, empty mlruns/, no encoders."""

    def make() -> Path:
        root = tmp_path_factory.mktemp("project")
        (root / "mlruns").mkdir()
        # Fewer sentences than the 255 bins of scikit-learn's trees: beyond, they search each threshold, for seconds.
        write_rows(root / "data/corpus/train.jsonl", toy_rows(30, 1, "a"))
        write_rows(root / "data/corpus/validation.jsonl", toy_rows(12, 2, "b"))
        write_rows(root / "data/corpus/test.jsonl", toy_rows(12, 3, "c"))
        shutil.copytree(REPOSITORY / "seeds", root / "seeds")
        (root / "configs").mkdir()
        (root / "configs/tfidf.yaml").write_text(TFIDF, encoding="utf-8")
        (root / "configs/petit.yaml").write_text(CAMEMBERT, encoding="utf-8")
        return root

    return make


@pytest.fixture(scope="session")
def make_project(make_root: Callable[[], Path], encoders: Path) -> Callable[[], Path]:
    """Return a function that makes a project root with encoders to fine-tune."""

    def make() -> Path:
        root = make_root()
        (root / "encoders").symlink_to(encoders)
        return root

    return make


@pytest.fixture
def project(make_project: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project root, and the working directory."""
    root = make_project()
    _enter(root, monkeypatch)
    return root


@pytest.fixture(scope="session")
def trained_project(make_project: Callable[[], Path]) -> Path:
    """A project whose registry holds tfidf (version 1, the champion) and petit (version 2); leave it as it is."""
    from train.config import TrainConfig
    from train.config_file import load_config
    from train.training import train

    root = make_project()
    with pytest.MonkeyPatch.context() as patch:
        _enter(root, patch)
        for name in ("tfidf", "petit"):
            train(load_config(root / f"configs/{name}.yaml", TrainConfig))
    return root


@pytest.fixture
def trained(trained_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``trained_project`` as the working directory."""
    _enter(trained_project, monkeypatch)
    return trained_project


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> dict[str, Path]:
    """Copies of the two saved models, free to be spoilt."""
    from train import registry

    return {
        name: Path(shutil.copytree(registry.resolve(f"models:/selon/{version}"), tmp_path / "models" / name))
        for version, name in (("1", "tfidf"), ("2", "petit"))
    }


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def selon(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Return a function that runs the command in this process."""
    from train.cli import main

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["selon", *map(str, arguments)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        code = ended.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), *capsys.readouterr())

    return run


def _enter(root: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(root)
    patch.setattr("train.registry._BESIDE", root)  # not the clone that these tests lie in
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "SELON_PRESS"):
        patch.delenv(name, raising=False)


def make_encoders(folder: Path) -> Path:
    """Write the three encoders: hidden 32, two layers, vocabularies learnt from toy articles."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import (
        CamembertConfig,
        CamembertForMaskedLM,
        CamembertTokenizer,
        DebertaV2Config,
        DebertaV2ForMaskedLM,
        PreTrainedTokenizerFast,
        RobertaConfig,
        RobertaForMaskedLM,
    )

    texts = [row["text"].replace("« ", '"').replace(" »", '"') for row in toy_rows(60, 9, "t")]
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "initializer_range": 0.1,
    }
    torch.manual_seed(0)

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    unigram.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    vocabulary = [(piece, score) for piece, score in json.loads(unigram.to_str())["model"]["vocab"]]
    CamembertTokenizer(vocab=vocabulary, additional_special_tokens=[]).save_pretrained(folder / "camembert")
    config = CamembertConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **shape,
    )
    CamembertForMaskedLM(config).save_pretrained(folder / "camembert")

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    # The second text is numbered 1, as BERT's is, though neither model has token types.
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad": "[PAD]", "cls": "[CLS]", "bos": "[CLS]", "sep": "[SEP]", "eos": "[SEP]", "unk": "[UNK]"}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=pieces, mask_token="[MASK]", **{f"{name}_token": token for name, token in names.items()}
    )
    ids = {"vocab_size": pieces.get_vocab_size(), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    for name, model in (
        ("roberta", RobertaForMaskedLM(RobertaConfig(max_position_embeddings=65, type_vocab_size=1, **ids, **shape))),
        (
            "deberta-v2",
            DebertaV2ForMaskedLM(
                DebertaV2Config(
                    max_position_embeddings=64,
                    type_vocab_size=0,
                    relative_attention=True,
                    position_buckets=16,
                    norm_rel_ebd="layer_norm",
                    share_att_key=True,
                    pos_att_type=["p2c", "c2p"],
                    position_biased_input=False,
                    pooler_hidden_size=32,
                    **ids,
                    **shape,
                )
            ),
        ),
    ):
        model.save_pretrained(folder / name)
        fast.save_pretrained(folder / name)
    return folder
