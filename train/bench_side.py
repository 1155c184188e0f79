"""One side of a benchmark in a process of its own: `python -m train.bench_side SIDE MODEL TEXTS`.

SIDE is ``selon`` or ``pipeline`` (sentences a second, printed as JSON) or ``first`` (a pipeline's first label). TEXTS
is a JSON list of articles: title, text, and the begin and end of each sentence.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

#: Sentences that are answered before the clock starts: libraries allocate at the first ones.
_WARM_UP = 8


def selon(model: Path, texts: Path) -> None:
    """Label all articles at once, as `selon label` does."""
    from train.labeller import Labeller
    from train.schema import Article, Sentence

    labeller = Labeller.open(model)
    articles = [
        Article(str(number), one["text"], tuple(Sentence(*span) for span in one["sentences"]), title=one["title"])
        for number, one in enumerate(json.loads(texts.read_text(encoding="utf-8")))
    ]
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


def _pipeline(model: Path) -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers.pipeline("text-classification", model=str(model), device="cpu")


def _tell(sentences: int, seconds: float) -> None:
    print(json.dumps({"sentences": sentences, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    {"selon": selon, "pipeline": pipeline, "first": first}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
