"""A saved model as MLflow's pyfunc: models from code, nothing pickled. MLflow loads this file itself.

Columns in: ``text``, a sentence; ``document``, optional, the text of the article it stands in, which gives it
its context. Columns out: ``label`` and ``p_…`` for each label; see ``scoring``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from train.labeller import Labeller
from train.schema import Article, Probabilities
from train.scoring import COLUMNS, answer_rows, place_rows

#: Sentences that are predicted together, about: an encoder holds the tokens of all of them at one time.
_TOGETHER = 512


class SelonModel(PythonModel):
    """The pyfunc face of every family."""

    def load_context(self, context: Any) -> None:
        """Open the bundle that lies among the artifacts."""
        self.labeller = Labeller.open(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Label a sentence a row."""
        documents = model_input["document"] if "document" in model_input else [None] * len(model_input)
        placed, articles = place_rows(zip(model_input["text"], documents, strict=True))
        rows = answer_rows(placed, articles, self._probabilities(articles))
        return pd.DataFrame(rows, columns=list(COLUMNS), index=model_input.index)

    def _probabilities(self, articles: Sequence[Article]) -> Iterator[Probabilities]:
        ends = accumulate(map(len, articles))
        for _, run in groupby(zip(ends, articles, strict=True), lambda pair: pair[0] // _TOGETHER):
            yield from self.labeller.predict_proba([article for _, article in run])


mlflow.models.set_model(SelonModel())
