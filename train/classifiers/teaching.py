"""Articles without labels, labelled by a baseline for an encoder to learn from.

The baseline is fitted on the same articles as the encoder. It knows words and marks that a small encoder has hardly
seen, is wrong elsewhere, and says how sure it is: its probabilities on other articles teach more than its labels would
(Hinton, Vinyals and Dean 2015). In cross-validation each fold has a teacher of its own, which has not seen the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from train.atomic import whole_binary
from train.classifiers.base import Fitting, family
from train.config import InputConfig, TfidfConfig
from train.schema import Article, Probabilities

_FILE = "taught.npy"
#: Articles that the teacher labels together: its features are wide.
_AT_ONCE = 200


def teach(
    teacher: TfidfConfig,
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
    count = sum(map(len, fitting.unlabelled))
    with Console(stderr=True).status(f"a baseline learns the labels, to give {count:,} sentences theirs"):
        baseline = family(teacher.kind)(teacher, inputs)
        baseline.fit(train, validation, Fitting(fitting.seed, fitting.checkpoints))
        some = (fitting.unlabelled[i : i + _AT_ONCE] for i in range(0, len(fitting.unlabelled), _AT_ONCE))
        taught = np.concatenate([rows for articles in some for rows in baseline.predict_proba(articles)])
    with whole_binary(kept) as file:
        np.save(file, taught, allow_pickle=False)
    return taught
