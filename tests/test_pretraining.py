"""Pre-training at toy scale: what is left out, what the tokenizer and the masks do, resuming, the exported folder."""

from __future__ import annotations

import json
import lzma
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.config_file import load_config
from train.pretraining import Log, PretrainConfig, checkpoints, export, learn, prepare
from train.pretraining.packing import PackedText, mask_words, word_starts
from train.pretraining.pieces import EOS, MASK, SPECIAL_TOKENS, load_tokenizer, read_shards
from train.pretraining.settings import SourceConfig
from train.pretraining.text import Document, HeldOut, read_documents, telling
from train.schema import SelonError

WORDS = (
    "le la un une maire ministre président ville pays affirme dément annonce selon hier aujourd'hui qui que dans "
    "avec sans pour contre grand petit rouge vert bleu marché train rue école loi vote grève prix eau feu route"
).split()
SECRET = "Le secret du maire ne doit jamais paraître dans un texte d'entraînement, ni sous ce nom ni sous un autre nom."


def _sentence(draw: random.Random) -> str:
    return (" ".join(draw.choices(WORDS, k=draw.randint(5, 14))) + " .").capitalize()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root with three sources; the held-out article stands in two of them, differently spaced."""
    root = tmp_path_factory.mktemp("project")
    (root / "mlruns").mkdir()
    draw = random.Random(3)
    articles = [
        {"article_id": f"a{i}", "title": f"Titre {i}", "text": "\n".join(_sentence(draw) for _ in range(6))}
        for i in range(120)
    ]
    articles[7]["text"] = f"Début.\n{SECRET}\nFin."
    with lzma.open(root / "articles.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(article, ensure_ascii=False) + "\n" for article in articles)
    blocks = ["\n".join(_sentence(draw) for _ in range(5)) for _ in range(80)]
    blocks[5] += "\n" + SECRET.replace("'", "’").replace(" ", "\u00a0 ")
    (root / "press.txt").write_text("\n\n".join(blocks), encoding="utf-8")
    (root / "dev.jsonl").write_text('{"article_id": "a7"}\n', encoding="utf-8")
    (root / "config.yaml").write_text(
        """
name: toy
sources:
  - {path: articles.jsonl.xz, description: toy articles}
  - {path: press.txt, description: toy press}
exclude: {articles: [dev.jsonl]}
held_out: 0.1
tokenizer: {pieces: 150, characters: 1000000}
vectors: {tokens: 20000, epochs: 1, workers: 1}
encoder: {layers: 1, hidden: 32, heads: 2, intermediate: 64, max_length: 32}
masked:
  max_tokens: 20480
  batch_tokens: 512
  stages: [{start: 0, length: 16}, {start: 0.8, length: 32}]
  validation_tokens: 500
work_dir: work
output: encoder
""",
        encoding="utf-8",
    )
    return root


@pytest.fixture
def root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it to what an earlier test used
    return folder


def _config(root: Path, *overrides: str) -> PretrainConfig:
    return load_config(root / "config.yaml", PretrainConfig, overrides)


def _pretrain(config: PretrainConfig, *, resume: bool = False, log: Log | None = None) -> Path:
    return learn(config, prepare(config, fresh=not resume), resume=resume, log=log)


@pytest.fixture
def work(root: Path) -> Path:
    return prepare(_config(root))


def test_import_is_light() -> None:
    heavy = "{'torch', 'transformers', 'gensim', 'datasets', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys, train.pretraining; assert not {heavy}"], check=True)


def test_shipped_config_is_valid() -> None:
    path = Path(__file__).parents[1] / "configs" / "pretrain-petit.yaml"
    assert load_config(path, PretrainConfig).encoder.max_length == 128


def test_held_out_articles_are_nowhere(work: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (work / "text").iterdir())
    assert "secret" not in text.lower()
    summary = json.loads((work / "summary.json").read_text(encoding="utf-8"))
    assert [source["left_out"] for source in summary["sources"]] == [1, 1]
    assert [source["documents"] for source in summary["sources"]] == [119, 79]
    assert "Titre 8" in text


def test_held_out_articles_that_no_source_names_are_refused(root: Path, tmp_path: Path) -> None:
    """Their paragraphs are not known then, and could stand in any document without an id."""
    (tmp_path / "more.jsonl").write_text('{"article_id": "nowhere"}\n', encoding="utf-8")
    config = _config(root, f"exclude.articles=[{tmp_path / 'more.jsonl'}]", "work_dir=other")
    with pytest.raises(SelonError, match=r"1 of 1 articles \(nowhere, …\) are in no source that carries ids"):
        prepare(config)


def test_a_mistake_in_the_sources_can_be_mended(root: Path) -> None:
    with pytest.raises(SelonError, match="there is no such source"):
        prepare(_config(root, "work_dir=mended", "sources=[{path: absent.jsonl, description: x}]"))
    work = prepare(_config(root, "work_dir=mended"))
    with pytest.raises(SelonError, match=r"prepared with other settings \(seed\)"):
        prepare(_config(root, "work_dir=mended", "seed=99"))
    assert (work / "shards").is_dir()


def test_text_that_has_grown_is_prepared_anew(root: Path) -> None:
    """Or refused, where a training that has read the old text would go on."""
    source = root / "grown.txt"
    only = ("sources=[{path: grown.txt, description: mine}]", "exclude.articles=[]", "vectors=", "work_dir=grown")
    config = _config(root, *only)

    def documents() -> int:
        prepare(config, fresh=True)
        return int(json.loads((root / "grown/summary.json").read_text())["sources"][0]["documents"])

    text = (root / "press.txt").read_text(encoding="utf-8")
    source.write_text("Trop peu.", encoding="utf-8")
    with pytest.raises(SelonError, match="give more text"):
        documents()
    source.write_text(text, encoding="utf-8")
    assert documents() == 80
    source.write_text(text + "\n\nEncore une phrase.", encoding="utf-8")
    with pytest.raises(SelonError, match=r"^grown\.txt: has changed since its text was prepared"):
        prepare(config)
    (root / "grown/checkpoints/step-00000001").mkdir(parents=True)
    with pytest.raises(SelonError, match=r"or remove .*checkpoints and start without --resume"):
        documents()
    shutil.rmtree(root / "grown/checkpoints")
    assert documents() == 81
    source.unlink()
    assert prepare(config).is_dir()  # another machine, to which the text has not travelled


def test_an_output_that_holds_other_things_is_refused_before_the_work(root: Path) -> None:
    (root / "models/mine").mkdir(parents=True)
    with pytest.raises(SelonError, match=r"models: holds other things \(mine …\); name a new folder"):
        _pretrain(_config(root, "output=models", "work_dir=unused"))
    assert not (root / "unused").exists()


def test_short_lines_are_no_sign_of_a_held_out_article() -> None:
    held_out = HeldOut(frozenset(), frozenset(telling(("Crédit photo : AFP",))))
    assert not held_out.holds(Document("", ("Crédit photo : AFP",)))


def test_tokenizer_reloads_identically(work: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = load_tokenizer(work, 32)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert len(tokenizer) == tokenizer.backend_tokenizer.get_vocab_size() <= 150
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Le maire dément : « non ».", "aujourd'hui  le\nprix", "", "中文", "le <mask> affirme"):
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again("le maire", "la loi")["input_ids"][0] == 0
    assert again.model_max_length == 32
    assert type(again).__name__ == "CamembertTokenizer"


def test_shards_hold_every_document(work: Path) -> None:
    train, validation = read_shards(work, "train"), read_shards(work, "validation")
    assert train.dtype == np.uint16
    assert (train == EOS).sum() + (validation == EOS).sum() == 119 + 79
    text = load_tokenizer(work, 32).decode(train[: int(np.flatnonzero(train == EOS)[0])].tolist())
    assert text.startswith("Titre 0 ")


def test_each_pass_reads_every_document_once_in_another_order() -> None:
    pieces = np.array([10, 11, EOS, 20, EOS, 30, 31, 32, EOS], dtype=np.uint16)
    text = PackedText(pieces, seed=1)
    rows, position = text.rows(0, 2, 10)
    assert position == 18
    first, second = rows[0, 1:], rows[1, 1:]
    assert rows[:, 0].tolist() == [0, 0]
    assert sorted(first) == sorted(second) == sorted(pieces)
    orders = {tuple(text.rows(9 * i, 1, 10)[0][0]) for i in range(12)}
    assert len(orders) > 2
    # The same place always gives the same rows, from a fresh object too.
    assert (PackedText(pieces, seed=1).rows(5, 1, 8)[0] == text.rows(5, 1, 8)[0]).all()


def test_words_are_masked_whole() -> None:
    starts = word_starts({**{t: i for i, t in enumerate(SPECIAL_TOKENS)}, "▁a": 5, "b": 6, "▁c": 7, "d": 8})
    rows = np.tile([0, 6, 5, 6, 8, 7, 5, 6, 2, 7], (4000, 1))
    inputs, chosen = mask_words(rows, starts, 0.25, np.random.default_rng(0))
    assert not chosen[:, [0, 8]].any()
    assert (chosen[:, 2:4] == chosen[:, 3:5]).all()
    assert not (chosen[:, 1] == chosen[:, 2]).all()
    assert chosen[:, 5].mean() == pytest.approx(0.25, abs=0.03)
    assert (inputs[~chosen] == rows[~chosen]).all()
    assert (inputs[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.03)
    # A tenth stays, and a random piece is now and then the same one.
    assert (inputs[chosen] == rows[chosen]).mean() == pytest.approx(0.1 + 0.1 / 4, abs=0.03)


class _InterruptError(Exception):
    pass


def test_resumed_run_ends_with_the_same_bits(root: Path, work: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steady = _pretrain(_config(root, "output=steady"))
        whole = (work / "checkpoints").rename(work / "checkpoints-steady")

        def interrupt(metrics: dict[str, float], step: int) -> None:
            if step == 20:
                raise _InterruptError

        eager = _config(root, "masked.checkpoint_minutes=1e-9")
        with pytest.raises(_InterruptError):
            _pretrain(eager, log=interrupt)
        assert len(list((work / "checkpoints").iterdir())) == 2
        with pytest.raises(SelonError, match="resume it or remove"):
            _pretrain(eager)
        # The last checkpoint is damaged: the one before it serves.
        last = max((work / "checkpoints").glob("step-*"))
        (last / "model.safetensors").write_bytes(b"no")
        seen: list[int] = []
        with pytest.warns(UserWarning, match="passed over"):
            resumed = _pretrain(_config(root), resume=True, log=lambda metrics, step: seen.append(step))
        assert seen[-1] == 40
        assert (resumed / "model.safetensors").read_bytes() == (steady / "model.safetensors").read_bytes()
        for path in whole.glob("*/optimizer.safetensors"):
            same = work / "checkpoints" / path.parent.name / path.name
            assert same.read_bytes() == path.read_bytes()
    finally:
        torch.set_num_threads(threads)

    _exported_folder_loads(root / "encoder")
    _state_of_checkpoints(root, work)


def _exported_folder_loads(output: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    weights = load_file(output / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    tokenizer = AutoTokenizer.from_pretrained(output)
    model, loading = AutoModel.from_pretrained(output, add_pooling_layer=False, output_loading_info=True)
    assert not loading["missing_keys"]
    # fp16 is for the disk: fp16 arithmetic on a CPU is slow.
    assert model.dtype == torch.float32
    full = tokenizer("le maire " * 40, truncation=True, return_tensors="pt")
    assert full["input_ids"].shape == (1, 32)
    assert model(**full).last_hidden_state.shape == (1, 32, 32)
    head = AutoModelForMaskedLM.from_pretrained(output)
    assert head.lm_head.decoder.weight is head.roberta.embeddings.word_embeddings.weight
    card = (output / "README.md").read_text(encoding="utf-8")
    assert all(part in card for part in ("license: apache-2.0", "toy press", "perplexity"))


def _state_of_checkpoints(root: Path, work: Path) -> None:
    checkpoint = checkpoints.last_verified(work / "checkpoints")
    assert checkpoint is not None
    assert export(checkpoint, root / "again").is_dir()
    with pytest.raises(SelonError, match="other settings"):
        _pretrain(_config(root, "masked.learning_rate=1e-3"), resume=True)
    for path in (work / "checkpoints").glob("*/state.json"):
        path.write_text("{}")
    with pytest.raises(SelonError, match="altered"):
        export(checkpoint, root / "never")
    assert not (root / "never").exists()
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(SelonError, match="none of its checkpoints is intact"),
    ):
        checkpoints.last_verified(work / "checkpoints")


def test_work_folder_of_other_text_is_refused(root: Path, work: Path) -> None:
    with pytest.raises(SelonError, match="other settings \\(seed\\)"):
        prepare(_config(root, "seed=14"))


def test_data_set_source(root: Path) -> None:
    pytest.importorskip("datasets")
    local = root / "dataset"
    local.mkdir(exist_ok=True)
    (local / "train.jsonl").write_text('{"title": "T", "text": "un\\ndeux"}\n', encoding="utf-8")
    documents = list(read_documents(SourceConfig(dataset="dataset", description="")))
    assert documents == [Document("", ("T", "un", "deux"))]
    with pytest.raises(SelonError, match="no-such-split"):
        list(read_documents(SourceConfig(dataset="dataset", split="no-such-split", description="")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "there is no such source"),
        ("text.pdf", b"", "a source is .txt"),
        ("broken.txt.xz", b"no xz", "damaged"),
        ("rows.jsonl", b'{"text": "a"}\n{"title": "b"}\n', "rows.jsonl:2"),
    ],
)
def test_bad_sources_name_the_place(root: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (root / name).write_bytes(content)
    with pytest.raises(SelonError, match=message):
        list(read_documents(SourceConfig(path=name, description="")))


@pytest.mark.parametrize(
    "override",
    [
        "masked.max_minutes=3",
        "encoder.heads=3",
        "masked.stages=[{start: 0.5, length: 16}]",
        "encoder.max_length=16",
        "sources.0.share=yes",
        "masked.weight_decay=yes",
    ],
)
def test_unsound_configs_are_refused(root: Path, override: str) -> None:
    with pytest.raises(SelonError):
        _config(root, override)


def test_an_interrupted_pretraining_goes_on_in_its_own_run(
    root: Path, work: Path, selon: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from train import tracking
    from train.pretraining import masked

    short = ["work_dir=short", "output=short-encoder", "masked.max_tokens=2048", "masked.checkpoint_minutes=1e-9"]
    refused = selon("pretrain", "config.yaml", "sources=[{path: none.txt, description: x}]", *short)
    assert refused.code == 2
    assert not (root / "mlruns/mlflow.db").exists()
    shutil.copytree(work, root / "short", ignore=shutil.ignore_patterns("checkpoints*"), dirs_exist_ok=True)
    step = masked._Run._step

    def die(run: Any, length: int) -> Any:
        if run.state.step == 2:
            raise KeyboardInterrupt
        return step(run, length)

    with monkeypatch.context() as patch:
        patch.setattr(masked._Run, "_step", die)
        assert selon("pretrain", "config.yaml", *short).code == 130
    done = selon("pretrain", "config.yaml", "--resume", *short)
    assert done.code == 0
    assert done.out.endswith(f"model.encoder={root / 'short-encoder'} model.frozen_layers=0\n")  # it has one layer
    assert (root / "short-encoder/model.safetensors").is_file()
    (run,) = tracking.connect().search_runs(
        [tracking.connect().get_experiment_by_name(tracking.EXPERIMENT).experiment_id]
    )
    assert run.info.status == "FINISHED"
