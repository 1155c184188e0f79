"""A fine-tuned transformers encoder: trained with PyTorch, used through ONNX Runtime.

What is evaluated and served is the exported graph, so this module imports neither torch nor transformers;
``fit`` hands over to ``camembert_fit``, which does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from train.bundle import Int8Check, hashes, read_bundle, saved_model
from train.classifiers.base import DEFAULT, Classifier, Fitting, Runtime, split_by_article
from train.config import CamembertConfig, InputConfig, project_path
from train.inputs import build_inputs
from train.metrics import probabilities_from
from train.schema import Article, Device, Probabilities, SelonError

#: The graph beside the Hugging Face files of a saved model.
GRAPH = "model.onnx"
#: The quantised graph beside it, where one was asked for and holds; on a CPU it answers.
INT8_GRAPH = "model.int8.onnx"
#: Tokens in a batch, padding included: enough to fill two cores, little enough that a big encoder's activations stay
#: in their caches (at CamemBERT-base's size 2,048 are a fifth slower).
_BATCH_TOKENS = 1024
#: Articles that are tokenised together: a tokenised sentence is large.
_ARTICLES_AT_ONCE = 200
#: How to cut is a setting of the tokenizer, and a server may ask from several threads (MLflow's does).
_TRUNCATING = threading.Lock()


class Encoded(NamedTuple):
    """A tokenised input, and whether the sentence itself (not only its context) was cut."""

    encoding: Encoding
    truncated: bool


def encode(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], max_length: int) -> list[Encoded]:
    """Tokenise (text, pair) inputs of at most ``max_length`` tokens; the context gives way to the sentence."""
    room = max_length - tokenizer.num_special_tokens_to_add(True)
    with _TRUNCATING:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        lengths = [len(e.ids) for e in tokenizer.encode_batch([text for text, _ in pairs], add_special_tokens=False)]
        alone = [not pair or length >= room for (_, pair), length in zip(pairs, lengths, strict=True)]
        tokenizer.enable_truncation(max_length, strategy="only_first")
        singles = iter(tokenizer.encode_batch([text for (text, _), one in zip(pairs, alone, strict=True) if one]))
        tokenizer.enable_truncation(max_length, strategy="only_second")
        doubles = iter(tokenizer.encode_batch([pair for pair, one in zip(pairs, alone, strict=True) if not one]))
        tokenizer.no_truncation()
    whole = max_length - tokenizer.num_special_tokens_to_add(False)
    return [
        Encoded(next(singles if one else doubles), length > whole) for one, length in zip(alone, lengths, strict=True)
    ]


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield places, longest inputs first, such that rows x longest row stays within ``budget`` tokens."""
    batch: list[int] = []
    longest = 0
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = longest or lengths[place]
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch, longest = [], lengths[place]
        batch.append(place)
    if batch:
        yield batch


class _Opened(NamedTuple):
    folder: Path
    runtime: Runtime
    graph: str
    session: ort.InferenceSession
    tokenizer: Tokenizer


class CamembertClassifier(Classifier):
    """Sentence and context in, four logits out; see ``inputs`` for the text that is read."""

    family = "camembert"
    model: CamembertConfig

    def __init__(self, model: CamembertConfig, inputs: InputConfig) -> None:
        super().__init__(model, inputs)
        self._opened: _Opened | None = None
        self._int8: Int8Check | None = None

    def check(self) -> None:
        """Refuse an encoder that is missing, out of reach, or cannot read ``max_length`` tokens; a teacher's too."""
        from train.classifiers.loading import load_encoder

        load_encoder(self.model)
        if isinstance(self.model.teacher, CamembertConfig):
            try:
                load_encoder(self.model.teacher)
            except SelonError as error:
                raise SelonError(f"model.teacher: {error}") from None

    def start(self) -> dict[str, str]:
        """Return the hashes of the encoders' files; what comes from the Hub is named by the config."""
        return {f"{name}/{file}": sha for name in self._local() for file, sha in hashes(project_path(name)).items()}

    @cached_property
    def known(self) -> set[str]:
        """What the encoders have learned from, where they are saved models that are trained further; read once."""
        saved = [saved_model(project_path(name)) for name in self._local()]
        return {key for folder in saved if folder for key in read_bundle(folder).trained_on}

    def _local(self) -> list[str]:
        models = [model for model in (self.model, self.model.teacher) if isinstance(model, CamembertConfig)]
        return sorted({model.encoder for model in models if project_path(model.encoder).is_dir()})

    def fit(self, train: Sequence[Article], validation: Sequence[Article], fitting: Fitting) -> Self:
        """Fine-tune the encoder, calibrate it on ``validation``, export and verify the graph."""
        from train.classifiers.camembert_fit import fit

        folder = Path(tempfile.mkdtemp(prefix="selon-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # it lives as long as the classifier
        self._int8 = fit(self.model, self.inputs, train, validation, fitting, folder)
        return self._open(folder)

    def predict_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return calibrated probabilities, one (sentences, 4) matrix an article."""
        return [rows for rows, _ in self.predict_with_cuts(articles)]

    def predict_with_cuts(self, articles: Sequence[Article]) -> list[tuple[Probabilities, list[bool]]]:
        """Return calibrated probabilities, and for each sentence whether its end was cut to fit."""
        found: list[tuple[Probabilities, list[bool]]] = []
        for start in range(0, len(articles), _ARTICLES_AT_ONCE):
            some = articles[start : start + _ARTICLES_AT_ONCE]
            encoded = [self._encode(article) for article in some]
            logits = self.logits([one.encoding for article in encoded for one in article])
            rows = split_by_article(probabilities_from(logits), some)
            found += zip(rows, ([one.truncated for one in article] for article in encoded), strict=True)
        return found

    def reference_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return the probabilities of the fp32 graph; an int8 one answers by the company in the batch as well."""
        opened = self._ready()
        if opened.graph == GRAPH:
            return self.predict_proba(articles)
        return self.reference(opened.folder, self.model, self.inputs, opened.runtime).predict_proba(articles)

    @property
    def precision(self) -> str:
        """Which graph answers."""
        return "int8" if self._ready().graph == INT8_GRAPH else "fp32"

    @property
    def int8(self) -> Int8Check | None:
        """How the int8 graph did, after ``fit``."""
        return self._int8

    def logits(self, encodings: Sequence[Encoding]) -> NDArray[np.float64]:
        """Return the graph's logits, shape (inputs, 4); batches hold inputs of like length."""
        opened = self._ready()
        session, tokenizer = opened.session, opened.tokenizer
        wanted = {node.name for node in session.get_inputs()}
        pad = tokenizer.token_to_id("<pad>") or tokenizer.token_to_id("[PAD]") or 0
        result = np.zeros((len(encodings), 4))
        for places in batches([len(e.ids) for e in encodings], _BATCH_TOKENS):
            shape = (len(places), len(encodings[places[0]].ids))
            feeds = {
                "input_ids": np.full(shape, pad, dtype=np.int64),
                "attention_mask": np.zeros(shape, dtype=np.int64),
                "token_type_ids": np.zeros(shape, dtype=np.int64),
            }
            for row, place in enumerate(places):
                size = len(encodings[place].ids)
                feeds["input_ids"][row, :size] = encodings[place].ids
                feeds["attention_mask"][row, :size] = 1
                feeds["token_type_ids"][row, :size] = encodings[place].type_ids
            result[places] = session.run(None, {k: v for k, v in feeds.items() if k in wanted})[0]
        return result

    def show_inputs(self, article: Article) -> list[str]:
        """Return the (text, pair) of each sentence, joined as a person can read them."""
        return [f"{text}  ‖  {pair}" if pair else text for text, pair in build_inputs(article, self.inputs)]

    def save(self, folder: Path) -> None:
        """Write Hugging Face's files and the ONNX graph."""
        shutil.copytree(self._ready().folder, folder, dirs_exist_ok=True)

    @classmethod
    def load(cls, folder: Path, model: CamembertConfig, inputs: InputConfig, runtime: Runtime = DEFAULT) -> Self:
        """Open the graph and the tokenizer of a saved model: on a CPU the int8 graph where there is one."""
        return cls(model, inputs)._open(folder, runtime)

    @classmethod
    def reference(cls, folder: Path, model: CamembertConfig, inputs: InputConfig, runtime: Runtime = DEFAULT) -> Self:
        """Open the fp32 graph, whatever lies beside it."""
        return cls(model, inputs)._open(folder, runtime, GRAPH)

    def _open(self, folder: Path, runtime: Runtime = DEFAULT, graph: str | None = None) -> Self:
        if graph is None:
            quantised = runtime.device is Device.cpu and (folder / INT8_GRAPH).is_file()
            graph = INT8_GRAPH if quantised else GRAPH
        try:
            session = _session(folder / graph, runtime)
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except SelonError:
            raise
        except Exception as error:  # ONNX Runtime and tokenizers raise types of their own
            raise SelonError(f"{folder}: the model cannot be opened ({error}); get it again") from None
        self._opened = _Opened(folder, runtime, graph, session, tokenizer)
        return self

    def _ready(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("fit or load first")
        return self._opened

    def _encode(self, article: Article) -> list[Encoded]:
        return encode(self._ready().tokenizer, build_inputs(article, self.inputs), self.model.max_length)


def _session(graph: Path, runtime: Runtime) -> ort.InferenceSession:
    """Open a graph on a device; SelonError where there is no such device."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.intra_op_num_threads = runtime.threads or cores
    if runtime.device is Device.cpu:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise SelonError(
            "--device cuda: the installed ONNX Runtime has no CUDA; install onnxruntime-gpu in place of onnxruntime, "
            "or leave --device out"
        )
    # Where CUDA's libraries or the card are missing, ONNX Runtime goes on without them: not on our word.
    session = ort.InferenceSession(graph, options, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise SelonError("--device cuda: no CUDA device answers here; mend its driver, or leave --device out")
    return session
