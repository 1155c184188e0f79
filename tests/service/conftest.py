"""Servers in this process: the toy tfidf model behind the real application."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from train.schema import Article, Prediction
from train.service.app import create_app
from train.service.served import Keeper, Served
from train.service.settings import ServiceSettings


@pytest.fixture(scope="session")
def folder(make_root: Callable[[], Path]) -> Path:
    """The toy tfidf model as a folder, with its figures, and no MLflow about; leave it as it is."""
    from train import training
    from train.bundle import write_manifest
    from train.classifiers.base import Fitting, family
    from train.config import TrainConfig
    from train.config_file import load_config
    from train.evaluation import evaluate
    from train.labeller import Labeller

    root = make_root()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        config = load_config(root / "configs/tfidf.yaml", TrainConfig)
        data = training.read_data(config)
        classifier = family("tfidf")(config.model, config.input)
        classifier.fit(data.train, data.validation, Fitting(config.seed, root))
        training.save(classifier, config, data, classifier.predict_proba(data.validation), 1.0, root / "model")
        labeller = Labeller.open(root / "model")
        known = {"held_out": training._held_out(config, evaluate(labeller, data.test, "test")[0])}
        write_manifest(root / "model", labeller.bundle.model_copy(update=known))
    return root / "model"


@pytest.fixture(scope="session")
def keeper(folder: Path) -> Keeper:
    return Keeper(str(folder))


@pytest.fixture
def serving(folder: Path) -> Callable[..., Any]:
    """Return a context manager: a client of an application with these settings, and perhaps another model."""

    @contextmanager
    def serve(model: Any = None, **settings: Any) -> Iterator[TestClient]:
        keeper = Keeper(str(folder))
        if model is not None:
            keeper.current = Served(model, None)
        with TestClient(create_app(keeper, ServiceSettings(**settings)), base_url="http://127.0.0.1") as client:
            yield client

    return serve


@pytest.fixture
def client(serving: Callable[..., Any]) -> Iterator[TestClient]:
    with serving() as client:
        yield client


class Gated:
    """The toy model, but it labels only while its gate is open; it remembers what it was given."""

    def __init__(self, keeper: Keeper) -> None:
        self.labeller = keeper.current.labeller
        self.bundle, self.sha256 = self.labeller.bundle, self.labeller.sha256
        self.gate, self.entered = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def predict(self, articles: Sequence[Article]) -> list[list[Prediction]]:
        self.batches.append(len(articles))
        self.entered.set()
        assert self.gate.wait(30)
        return self.labeller.predict(articles)


@pytest.fixture
def gated(keeper: Keeper) -> Iterator[Gated]:
    model = Gated(keeper)
    yield model
    model.gate.set()
