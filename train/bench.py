"""`selon bench`: selon beside transformers' pipeline and Trainer, in one run, on the same texts and weights.

Each row is measured in a process of its own, so that start and peak memory are its own. Weights of models are random:
speed and memory do not depend on them.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from train.config import InputConfig, project_path
from train.corpus import read_articles
from train.labeller import read_article
from train.labelling.columns import check_columns
from train.labelling.inputs import items, open_inputs
from train.labelling.sources import Reading, Source, read_source, row_of
from train.labelling.tables import json_lines
from train.schema import Article, SelonError

ENCODER = "data/petit/encoder"
TEXTS = "data/corpus/test.jsonl"
#: CamemBERT-base, with the vocabulary of our own tokenizer.
BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
}
_ALONE = InputConfig(title=False, before=0, after=0, position=False, quotation=False, cues=False)
#: A small process between this one and the measured one: a process counts the memory of its parent's fork as its own.
_LAUNCHER = """
import os, sys
child = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(child, 0)
os.write(int(sys.argv[1]), f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}".encode())
"""
_SIDE = "train.bench_side"
_VERSIONS = ("onnxruntime", "torch", "transformers")


@dataclass(frozen=True)
class Row:
    """One measurement: seconds to the first label, or sentences a second; peak memory in MiB."""

    what: str
    model: str
    context: bool
    value: float
    unit: str
    memory: float


@dataclass(frozen=True)
class Bench:
    """All rows, how many times better selon is, and on what this was measured."""

    rows: list[Row]
    ratios: dict[str, float]
    setting: dict[str, Any]


def run(on: Path | None, sentences: int, repeats: int, say: Callable[[str], None] = lambda line: None) -> Bench:
    """Measure everything.

    Parameters
    ----------
    on : Path, optional
        Labelled articles, or anything that `selon label` reads; else the project's test split.
    sentences : int
        How many to time.
    repeats : int
        Of each start, of which the median counts.
    say : callable
        Told what is being done.

    Raises
    ------
    SelonError
        Where the texts or the encoder are missing.
    """
    path = on or project_path(TEXTS)
    articles = read_texts(path, sentences)
    count = sum(map(len, articles))
    with tempfile.TemporaryDirectory(prefix="selon-bench-") as work:
        folder = Path(work)
        say("making the models (random weights)")
        petit, petit_alone, base, int8 = _models(folder)
        whole, alone = folder / "articles.json", folder / "sentences.json"
        whole.write_text(json.dumps([_plain(one) for one in articles]), encoding="utf-8")
        alone.write_text(
            json.dumps([_plain(one) for article in articles for one in _singly(article)]), encoding="utf-8"
        )
        page, line = folder / "article.txt", folder / "sentence.txt"
        page.write_text(articles[0].text, encoding="utf-8")
        line.write_text(articles[0].sentence_texts[0], encoding="utf-8")
        rows = {}
        say("start to first label")
        for key, what, context, command in (
            ("start", "start to first label: selon label", False, ["train", "label", line, "--model", petit_alone]),
            ("slow start", "start to first label: pipeline", False, [_SIDE, "first", petit, whole]),
            (
                "page",
                f"start to {len(articles[0])} labels: selon label",
                True,
                ["train", "label", page, "--model", petit],
            ),
        ):
            starts = [_measured([sys.executable, "-m", *map(str, command)]) for _ in range(repeats)]
            memory = max(one[2] for one in starts)
            rows[key] = Row(what, "petit fp32", context, median(one[0] for one in starts), "s", memory)
        encoder = project_path(ENCODER)
        for key, what, name, side, model, texts, context in (
            ("int8", "labelling: selon", "base int8", "selon", int8, alone, False),
            ("fp32", "labelling: selon", "base fp32", "selon", base, alone, False),
            ("pipeline", "labelling: pipeline(batch_size=32)", "base fp32", "pipeline", base, alone, False),
            ("petit alone", "labelling: selon", "petit fp32", "selon", petit_alone, alone, False),
            ("petit", "labelling: selon", "petit fp32", "selon", petit, whole, True),
            ("frozen", "fine-tuning: selon, three layers frozen", "petit fp32", "frozen", encoder, whole, True),
            ("finetune", "fine-tuning: selon, all layers", "petit fp32", "finetune", encoder, whole, True),
            ("trainer", 'fine-tuning: Trainer, padding="max_length"', "petit fp32", "trainer", encoder, whole, True),
        ):
            say(f"sentences a second: {what}, {name}, {'with' if context else 'without'} context")
            _, printed, memory = _measured([sys.executable, "-m", _SIDE, side, str(model), str(texts)])
            took = json.loads(printed.splitlines()[-1])
            rows[key] = Row(what, name, context, took["sentences"] / took["seconds"], "sentences/s", memory)
    ratios = {
        name: rows[better].value / rows[worse].value
        for name, better, worse in (
            ("start: selon label sooner than the pipeline", "slow start", "start"),
            ("base: int8 faster than the pipeline", "int8", "pipeline"),
            ("petit without context faster than the pipeline on base", "petit alone", "pipeline"),
            ("petit with context faster than the pipeline on base without", "petit", "pipeline"),
            ("petit: fine-tuning, the three lowest layers frozen, faster than a plain Trainer", "frozen", "trainer"),
            ("petit: fine-tuning, all layers, faster than a plain Trainer", "finetune", "trainer"),
        )
    }
    setting = {
        "sentences": count,
        "articles": len(articles),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in _VERSIONS},
    }
    return Bench([*rows.values()], ratios, setting)


def read_texts(path: Path, sentences: int) -> list[Article]:
    """Return whole articles of together ``sentences`` sentences, or as many as there are; the last one may be cut."""
    taken: list[Article] = []
    left = sentences
    for article in _articles(path):
        if not left:
            break
        if len(article):
            taken.append(Article(article.id, article.text, article.sentences[:left], title=article.title))
            left -= len(taken[-1])
    if not taken:
        raise SelonError(f"{path}: no sentences to measure on")
    return taken


def to_table(bench: Bench) -> Table:
    """Return the measurements for the terminal."""
    table = Table(title=f"{bench.setting['sentences']} sentences, {bench.setting['cores']} cores")
    for column in ("", "model", "context", "measured", "peak memory"):
        table.add_column(column, justify="right" if column in ("measured", "peak memory") else "left", no_wrap=True)
    for cells in _cells(bench):
        table.add_row(*cells)
    table.caption = "\n".join(f"{name}: {ratio:.1f}x" for name, ratio in bench.ratios.items())
    return table


def to_markdown(bench: Bench) -> str:
    """Return the measurements as a Markdown table."""
    lines = ["| | model | context in the input | measured | peak memory |", "|---|---|---|--:|--:|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _cells(bench)]
    lines += ["", *(f"- {name}: **{ratio:.1f}×**" for name, ratio in bench.ratios.items())]
    lines += ["", "Measured on " + ", ".join(f"{key} {value}" for key, value in bench.setting.items()) + "."]
    return "\n".join(lines) + "\n"


def to_json(bench: Bench) -> str:
    """Return the measurements as JSON."""
    return json.dumps(asdict(bench), indent=1) + "\n"


def _cells(bench: Bench) -> list[list[str]]:
    return [
        [
            row.what,
            row.model,
            "yes" if row.context else "no",
            f"{row.value:.2f} {row.unit}" if row.unit == "s" else f"{row.value:.1f} {row.unit}",
            f"{row.memory:.0f} MiB",
        ]
        for row in bench.rows
    ]


def _models(folder: Path) -> tuple[Path, Path, Path, Path]:
    """Make petit, reading context and not, and the base shape in both precisions, with the same weights."""
    from train.classifiers.untrained import quantised_copy, save_untrained

    encoder = project_path(ENCODER)
    petit, petit_alone, base, int8 = (folder / name for name in ("petit", "petit-alone", "base", "base-int8"))
    save_untrained(encoder, petit, "petit", InputConfig())
    save_untrained(encoder, petit_alone, "petit", _ALONE)
    save_untrained(encoder, base, "base", _ALONE, BASE)
    quantised_copy(base, int8)
    return petit, petit_alone, base, int8


def _articles(path: Path) -> Iterator[Article]:
    """Yield labelled articles, or, one by one, those that `selon label` reads."""
    if _is_labelled(path):
        yield from read_articles(path)
        return
    reading = Reading()
    with open_inputs([str(path)]) as inputs:
        check_columns(inputs, reading)
        for item in items(inputs, reading.read):
            found = read_source(item, reading)
            if isinstance(found, Source):
                yield read_article(found.text, found.title, found.id)


def _is_labelled(path: Path) -> bool:
    """Return whether what lies beside articles, or else their first row, shows labels."""
    if path.is_dir():
        return any(path.glob("*.labels.tsv"))
    if path.suffix == ".txt":
        return path.with_suffix(".labels.tsv").is_file()
    if path.suffix == ".jsonl":
        with suppress(OSError, ValueError, RecursionError, StopIteration):  # told when it is read
            columns = row_of(next(json_lines(path, path.name, ""))).keys()
            return columns >= {"sentence", "label"} or ("sentences" in columns and "text" not in columns)
    return False


def _plain(article: Article) -> dict[str, Any]:
    spans = [[sentence.start, sentence.end] for sentence in article.sentences]
    return {"title": article.title, "text": article.text, "sentences": spans}


def _singly(article: Article) -> list[Article]:
    return [Article.alone(text) for text in article.sentence_texts]


def _measured(command: Sequence[str]) -> tuple[float, str, float]:
    """Run a command; return the seconds to its first output, all of that, and its peak memory in MiB.

    Raises
    ------
    RuntimeError
        Where it fails.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["CUDA_VISIBLE_DEVICES"] = ""  # what is measured is a CPU
    # Users have their bytecode at hand from the second start on; without it starts take twice as long.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    reading, writing = os.pipe()
    launch = [sys.executable, "-S", "-c", _LAUNCHER, str(writing), *command]
    began = time.perf_counter()
    with subprocess.Popen(
        launch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, pass_fds=(writing,)
    ) as process:
        os.close(writing)
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        beginning = process.stdout.read(1)
        seconds = time.perf_counter() - began
        printed = (beginning + process.stdout.read()).decode()
    with os.fdopen(reading) as usage:
        code, memory = map(int, usage.read().split())
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {code}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes, Linux KiB
    return seconds, printed, memory / unit
