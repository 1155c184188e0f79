"""Articles without labels, labelled by a teacher for an encoder to learn from.

The teacher is fitted on the same articles as the encoder: a baseline, which knows words and marks that a small encoder
has hardly seen, or a bigger encoder. It says how sure it is: its probabilities on other articles teach more than its
labels would (Hinton, Vinyals and Dean 2015). In cross-validation each fold has a teacher of its own, which has not seen
the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from train.atomic import whole_binary
from train.classifiers.base import Fitting
from train.classifiers.finetuning import finetune
from train.classifiers.tfidf import TfidfClassifier
from train.config import CamembertConfig, InputConfig, TfidfConfig
from train.schema import Article, Probabilities

_FILE = "taught.npy"
#: Articles that a baseline labels together: its features are wide.
_AT_ONCE = 200


def teach(
    teacher: TfidfConfig | CamembertConfig,
    inputs: InputConfig,
    train: Sequence[Article],
    validation: Sequence[Article],
    fitting: Fitting,
) -> Probabilities:
    """Return the teacher's probabilities for the sentences of ``fitting.unlabelled``, shape (sentences, 4).

    They are kept beside the checkpoints: a resumed training does not fit the teacher again.
    """
    kept = fitting.checkpoints / _FILE
    if fitting.resume and kept.is_file():
        found: Probabilities = np.load(kept, allow_pickle=False)
        return found
    own = fitting.part("teacher")
    if isinstance(teacher, CamembertConfig):
        Console(stderr=True).print("the teacher learns first")
        taught = finetune(teacher, inputs, train, validation, own).probabilities(fitting.unlabelled)
    else:
        taught = _of_baseline(TfidfClassifier(teacher, inputs), train, validation, own)
    with whole_binary(kept) as file:
        np.save(file, taught, allow_pickle=False)
    return taught


def _of_baseline(
    baseline: TfidfClassifier, train: Sequence[Article], validation: Sequence[Article], fitting: Fitting
) -> Probabilities:
    articles = fitting.unlabelled
    count = sum(map(len, articles))
    with Console(stderr=True).status(f"a baseline learns the labels, to give {count:,} sentences theirs"):
        baseline.fit(train, validation, fitting)
        some = (articles[i : i + _AT_ONCE] for i in range(0, len(articles), _AT_ONCE))
        return np.concatenate([rows for part in some for rows in baseline.predict_proba(part)])
