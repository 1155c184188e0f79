"""A saved model as MLflow's pyfunc: models from code, nothing pickled. MLflow loads this file itself.

Columns in: ``text``, a sentence; ``document``, optional, the text of the article it stands in, which gives it
its context. Columns out: ``label`` and ``p_…`` for each label. A null or empty text is background with
probability 1: there is nothing in it that anyone could vouch for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from train.labeller import Labeller
from train.schema import LABELS, Article, Sentence
from train.segmentation import segment


class SelonModel(PythonModel):
    """The pyfunc face of both families."""

    def load_context(self, context: Any) -> None:
        """Open the bundle that lies among the artifacts."""
        self.labeller = Labeller.open(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Label a sentence a row."""
        texts = [text.strip() if isinstance(text, str) else "" for text in model_input["text"]]
        documents = model_input["document"] if "document" in model_input else [None] * len(texts)
        placed = [_in_document(text, d) for text, d in zip(texts, documents, strict=True) if text]
        predicted = iter(self.labeller.predict_proba([article for article, _ in placed]))
        places = iter(place for _, place in placed)
        nothing = [float(label == "background") for label in LABELS]
        rows = [list(next(predicted)[next(places)]) if text else nothing for text in texts]
        frame = pd.DataFrame(rows, columns=[f"p_{label}" for label in LABELS], index=model_input.index)
        frame.insert(0, "label", [LABELS[max(range(len(LABELS)), key=row.__getitem__)] for row in rows])
        return frame


def _in_document(text: str, document: object) -> tuple[Article, int]:
    """Return an article in which ``text`` is one sentence, and which; alone where the document has it not."""
    found = document.find(text) if isinstance(document, str) else -1
    if not isinstance(document, str) or found < 0:
        return Article("", text, (Sentence(0, len(text)),)), 0
    own = Sentence(found, found + len(text))
    others = [s for s in segment(document) if s.end <= own.start or s.start >= own.end]
    sentences = sorted([*others, own], key=lambda s: s.start)
    return Article("", document, tuple(sentences)), sentences.index(own)


mlflow.models.set_model(SelonModel())
