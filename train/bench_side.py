"""One side of a benchmark in a process of its own: `python -m train.bench_side SIDE MODEL TEXTS`.

SIDE is ``selon`` or ``pipeline`` (labelling, printed as JSON), ``first`` (a pipeline's first label), ``finetune``,
``frozen`` or ``trainer`` (training, printed as JSON; MODEL is an encoder). TEXTS is a JSON list of articles: title,
text, and the begin and end of each sentence.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.schema import Article

#: Sentences that are answered before the clock starts: libraries allocate at the first ones.
_WARM_UP = 8
#: Steps of training that are timed at least, after the first few.
_STEPS = 20
_BATCH, _TOKENS = 32, 128
#: Layers that stay as they are.
_FROZEN = 3


def selon(model: Path, texts: Path) -> None:
    """Label all articles at once, as `selon label` does."""
    from train.labeller import Labeller

    labeller = Labeller.open(model)
    articles = _articles(texts)
    labeller.predict(articles[:1])
    began = time.perf_counter()
    labeller.predict(articles)
    _tell(sum(map(len, articles)), time.perf_counter() - began)


def pipeline(model: Path, texts: Path) -> None:
    """Give transformers' pipeline the same sentences, 32 in a batch."""
    labelled = _pipeline(model)
    sentences = [
        one["text"][start:end]
        for one in json.loads(texts.read_text(encoding="utf-8"))
        for start, end in one["sentences"]
    ]
    labelled(sentences[:_WARM_UP], batch_size=32, truncation=True, max_length=128)
    began = time.perf_counter()
    labelled(sentences, batch_size=32, truncation=True, max_length=128)
    _tell(len(sentences), time.perf_counter() - began)


def first(model: Path, texts: Path) -> None:
    """Print one label as soon as there is one."""
    article = json.loads(texts.read_text(encoding="utf-8"))[0]
    start, end = article["sentences"][0]
    print(_pipeline(model)(article["text"][start:end])[0]["label"], flush=True)


def frozen(encoder: Path, texts: Path) -> None:
    """Fine-tune as `selon train` does with the lowest layers frozen."""
    finetune(encoder, texts, frozen_layers=_FROZEN)


def finetune(encoder: Path, texts: Path, frozen_layers: int = 0) -> None:
    """Fine-tune as `selon train` does."""
    from train.classifiers.base import Fitting
    from train.classifiers.camembert import CamembertClassifier
    from train.config import CamembertConfig, InputConfig

    config = CamembertConfig(
        kind="camembert",
        encoder=str(encoder),
        max_length=_TOKENS,
        batch_size=_BATCH,
        epochs=1,
        save_steps=10**6,
        frozen_layers=frozen_layers,
        context_dropout=0.0,  # the very inputs of the other side
    )
    pace = _Pace()
    articles = _labelled(texts)
    with tempfile.TemporaryDirectory() as work:
        fitting = Fitting(0, Path(work), log=lambda figures, step: pace.tick(step) if "loss" in figures else None)
        CamembertClassifier(config, InputConfig()).fit(articles, articles[:1], fitting)
    pace.tell()


def trainer(encoder: Path, texts: Path) -> None:
    """Fine-tune the same encoder on the same inputs by a plain Trainer, each padded to the full length."""
    import transformers
    from datasets import Dataset

    from train.config import InputConfig
    from train.inputs import build_inputs

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    articles = _labelled(texts)
    pairs = [pair for article in articles for pair in build_inputs(article, InputConfig())]
    rows = tokenizer(*zip(*pairs, strict=True), padding="max_length", truncation=True, max_length=_TOKENS)
    data = Dataset.from_dict({**rows, "labels": [int(gold) for article in articles for gold in article.gold]})
    pace = _Pace()

    class Ticks(transformers.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                pace.tick(state.global_step)

    with tempfile.TemporaryDirectory() as work:
        arguments = transformers.TrainingArguments(
            output_dir=work,
            num_train_epochs=1,
            per_device_train_batch_size=_BATCH,
            logging_steps=5,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        model = transformers.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=4)
        plain = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[Ticks()])
        plain.remove_callback(transformers.PrinterCallback)
        plain.train()
    pace.tell()


class _Pace:
    """When which step of a training was reached; the first report is the warm-up's end."""

    def __init__(self) -> None:
        self.ticks: list[tuple[int, float]] = []

    def tick(self, step: int) -> None:
        self.ticks.append((step, time.perf_counter()))

    def tell(self) -> None:
        (first, began), (last, ended) = self.ticks[0], self.ticks[-1]
        _tell((last - first) * _BATCH, ended - began)


def _articles(texts: Path) -> list[Article]:
    from train.schema import Article, Sentence

    return [
        Article(str(number), one["text"], tuple(Sentence(*span) for span in one["sentences"]), title=one["title"])
        for number, one in enumerate(json.loads(texts.read_text(encoding="utf-8")))
    ]


def _labelled(texts: Path) -> list[Article]:
    """Return the articles, as often as a measurement needs them, with labels: any, speed does not depend on them."""
    from train.schema import LABELS

    found = [replace(a, labels=tuple(LABELS[i % len(LABELS)] for i in range(len(a)))) for a in _articles(texts)]
    return found * -(-(_STEPS + 5) * _BATCH // sum(map(len, found)))


def _pipeline(model: Path) -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers.pipeline("text-classification", model=str(model), device="cpu")


def _tell(sentences: int, seconds: float) -> None:
    print(json.dumps({"sentences": sentences, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    sides = (selon, pipeline, first, finetune, frozen, trainer)
    {side.__name__: side for side in sides}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
