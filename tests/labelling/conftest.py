"""A small saved model, made in a moment: an encoder as it was born. What it says does not matter here."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.labeller import Labeller


@pytest.fixture(scope="session")
def model(encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    from train.classifiers.untrained import save_untrained
    from train.config import InputConfig

    folder = tmp_path_factory.mktemp("saved") / "toy"
    save_untrained(encoders / "camembert", folder, "toy", InputConfig(), max_length=48)
    return folder


@pytest.fixture(scope="session")
def labeller(model: Path) -> Labeller:
    """That model, opened."""
    return Labeller.open(model)
