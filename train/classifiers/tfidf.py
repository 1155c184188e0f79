"""The baseline: words and characters by TF-IDF, cues as features, linear models and trees, in scikit-learn.

The neighbours of a sentence and the headline have their own vocabulary, so that « dément » beside a sentence
is another feature than « dément » in it. Over a logistic regression and a naive Bayes model, which err differently,
boosted trees read what both say of the sentence and its neighbours, and the cues of all of them: what a cue means
depends on the others, and a label on the labels around, which a linear model cannot say. What they say of the training
sentences comes from folds that did not train on them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import MaxAbsScaler

from train.classifiers.base import DEFAULT, Classifier, Fitting, Runtime, split_by_article
from train.classifiers.lean_skops import lean_skops
from train.config import InputConfig, TfidfConfig
from train.cues import cue_features
from train.metrics import fit_temperature, probabilities_from
from train.normalisation import normalise
from train.schema import LABELS, Article, Device, Probabilities, SelonError
from train.segmentation import open_quotations
from train.splits import groups

_FILE = "model.skops"
#: How much a neighbour's words and cues weigh beside the sentence's own (chosen by cross-validation).
_NEIGHBOUR_WEIGHT = 0.5
#: Folds over the training articles that give the trees opinions as they will be on articles never seen.
_FOLDS = 3
#: Forests that differ only in their random features; their mean errs less than any of them.
_FORESTS = 3
#: The linear models that the trees listen to.
_OPINIONS = ("regression", "bayes")
#: A feature that fewer training sentences have tells trees nothing.
_RARE = 30
#: What a model.skops may hold beside the types that skops trusts by itself: all scikit-learn's own.
_TRUSTED = [
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]
#: Words, numbers by their kind, and the marks that carry meaning here.
_WORD = r"(?u)\w+|[\"?!:%⊢⊣]"


class TfidfClassifier(Classifier):
    """Two linear models and trees upon them; ``parts`` holds its scikit-learn objects by name."""

    family = "tfidf"
    model: TfidfConfig

    def __init__(self, model: TfidfConfig, inputs: InputConfig) -> None:
        super().__init__(model, inputs)
        words = {"token_pattern": _WORD, "min_df": model.min_df, "sublinear_tf": True}
        self.parts: dict[str, Any] = {
            "words": TfidfVectorizer(ngram_range=(1, model.word_ngrams), **words),
            "characters": TfidfVectorizer(
                analyzer="char_wb", ngram_range=(2, model.char_ngrams), min_df=model.min_df, sublinear_tf=True
            ),
            "narration": TfidfVectorizer(ngram_range=(1, model.word_ngrams), **words),
            "neighbours": TfidfVectorizer(ngram_range=(1, 2), **words),
            "cues": DictVectorizer(),
            "scale": MaxAbsScaler(),
        }

    def fit(self, train: Sequence[Article], validation: Sequence[Article], fitting: Fitting) -> Self:
        """Fit vocabularies, linear models and trees on ``train``, one temperature on ``validation``."""
        stories = groups(train)
        if (different := len(set(stories))) < _FOLDS:
            raise SelonError(f"data.train: {different} articles are too few for this model; give {_FOLDS} or more")
        gold = np.concatenate([article.gold for article in train])
        counts = np.bincount(gold, minlength=len(LABELS))
        # Half-way to balanced: rare labels count more, but not as if they were as frequent as the others.
        weights = dict(enumerate(np.sqrt(len(gold) / np.maximum(counts, 1) / len(LABELS))))
        regression = LogisticRegression(C=self.model.C, class_weight=weights, max_iter=1000, tol=1e-3)
        features = self._features(train, fit=True)
        self.parts["regression"] = regression.fit(features, gold)
        if self.inputs.cues:
            bayes = MultinomialNB(alpha=0.1)
            self.parts["bayes"] = bayes.fit(features, gold)
            trees = HistGradientBoostingClassifier(
                max_iter=self.model.max_iter,
                learning_rate=0.04,
                max_leaf_nodes=15,
                l2_regularization=1.0,
                max_features=0.3,
                class_weight=weights,
                early_stopping=False,  # left to itself it holds out sentences of the articles it trains on
            )
            owners = np.repeat(stories, [len(article) for article in train])
            folds = {"groups": owners, "cv": GroupKFold(_FOLDS), "method": "predict_log_proba"}
            unseen = [cross_val_predict(clone(model), features, gold, **folds) for model in (regression, bayes)]
            forests = BaggingClassifier(trees, n_estimators=_FORESTS, bootstrap=False, random_state=fitting.seed)
            self.parts["trees"] = forests.fit(self._tree_features(train, unseen, fit=True), gold)
        truth = np.concatenate([article.gold for article in validation])
        self.parts["temperature"] = fit_temperature(self._logits(validation), truth)
        fitting.log({"temperature": self.parts["temperature"]}, 0)
        return self

    def predict_proba(self, articles: Sequence[Article]) -> list[Probabilities]:
        """Return calibrated probabilities, one (sentences, 4) matrix an article."""
        filled = [article for article in articles if len(article)]
        if not filled:
            return [np.zeros((0, len(LABELS))) for _ in articles]
        return split_by_article(probabilities_from(self._logits(filled) / self.parts["temperature"]), articles)

    def save(self, folder: Path) -> None:
        """Write ``model.skops``."""
        lean_skops().dump(self.parts, folder / _FILE)

    @classmethod
    def load(cls, folder: Path, model: TfidfConfig, inputs: InputConfig, runtime: Runtime = DEFAULT) -> Self:
        """Read ``model.skops``; nothing but scikit-learn's and NumPy's own types is allowed in it."""
        if runtime.device is not Device.cpu:
            raise SelonError(f"--device {runtime.device}: a tfidf model runs on the CPU; leave --device out")
        classifier = cls(model, inputs)
        try:
            classifier.parts = lean_skops().load(folder / _FILE, trusted=_TRUSTED)
        except Exception as error:  # skops raises whatever its readers raise
            raise SelonError(f"{folder / _FILE}: cannot be read ({error}); get the model again") from None
        return classifier

    def _logits(self, articles: Sequence[Article]) -> NDArray[np.float64]:
        features = self._features(articles)
        if not self.inputs.cues:
            return np.asarray(self.parts["regression"].predict_log_proba(features))
        opinions = [self.parts[name].predict_log_proba(features) for name in _OPINIONS]
        shares: Probabilities = self.parts["trees"].predict_proba(self._tree_features(articles, opinions))
        return np.log(np.maximum(shares, 1e-9))

    def _features(self, articles: Sequence[Article], fit: bool = False) -> csr_matrix:
        def apply(name: str, values: Any) -> csr_matrix:
            part = self.parts[name]
            if not fit:
                return part.transform(values)
            try:
                return part.fit_transform(values)
            except ValueError:
                if not isinstance(part, TfidfVectorizer):
                    raise
                rare = f"model.min_df: fewer than {self.model.min_df} training sentences have a word in common"
                raise SelonError(f"{rare}; take a lower one") from None

        texts = [[_words(text) for text in article.sentence_texts] for article in articles]
        flat = [text for article in texts for text in article]
        blocks = [apply("words", flat), apply("characters", flat)]
        around = [self._neighbours(len(article), i) for article in texts for i in range(len(article))]
        starts = np.repeat(np.cumsum([0] + [len(t) for t in texts])[:-1], [len(t) for t in texts])
        neighbour_words = apply("neighbours", flat)
        blocks += _shifted(neighbour_words, around, starts)
        if self.inputs.title:
            titles = self.parts["neighbours"].transform([_words(a.title) for a in articles])
            blocks.append(_NEIGHBOUR_WEIGHT * titles[np.repeat(np.arange(len(articles)), [len(t) for t in texts])])
        if self.inputs.quotation:
            blocks.append(apply("narration", [line for article in articles for line in _narration(article)]))
        if self.inputs.cues:
            rows = [row for article in articles for row in self._cues(article)]
            cues = apply("scale", apply("cues", rows))
            blocks += [cues, *_shifted(cues, around, starts)]
        return hstack(blocks).tocsr()

    def _tree_features(
        self, articles: Sequence[Article], opinions: Sequence[NDArray[np.float64]], fit: bool = False
    ) -> NDArray[np.float64]:
        """Return the cues of each sentence, its neighbours and its article, and the opinions; (sentences, features)."""
        rows = [row for article in articles for row in _in_context(self._cues(article), self.inputs)]
        if fit:
            seen = Counter(key for row in rows for key in row)
            common = [{key: value for key, value in row.items() if seen[key] >= _RARE} for row in rows]
            self.parts["context"] = DictVectorizer(sparse=False).fit(common)
        said = [np.vstack([_around(own, self.inputs) for own in split_by_article(one, articles)]) for one in opinions]
        return np.hstack([self.parts["context"].transform(rows), *said])

    def _neighbours(self, sentences: int, i: int) -> list[int | None]:
        offsets = [*range(-self.inputs.before, 0), *range(1, self.inputs.after + 1)]
        return [i + o if 0 <= i + o < sentences else None for o in offsets]

    def _cues(self, article: Article) -> list[dict[str, float]]:
        """Return the cues of the sentences, without what the input config switches off."""
        hidden = set()
        if not self.inputs.position:
            hidden |= {"first", "last", "position"}
        if not self.inputs.quotation:
            hidden |= {"open", "inside", "whole"}
        return [{k: v for k, v in row.items() if k not in hidden} for row in cue_features(article)]


def _in_context(rows: list[dict[str, float]], inputs: InputConfig) -> Iterator[dict[str, float]]:
    """Yield each row with its neighbours' kinds of cues and the article's mean of those that set its tone."""
    # Trees make use of one more sentence before than the linear model does.
    offsets = [*range(-inputs.before - 1 if inputs.before else 0, 0), *range(1, inputs.after + 1)]
    tone = {f"article {key}": sum(row.get(key, 0) for row in rows) / len(rows) for key in ("denial", "inside")}
    for place, row in enumerate(rows):
        wide = row | tone if offsets else dict(row)
        for offset in offsets:
            if 0 <= place + offset < len(rows):
                near = rows[place + offset].items()
                wide |= {f"{offset}:{k}": v for k, v in near if "=" not in k and "/" not in k}
        yield wide


def _around(own: NDArray[np.float64], inputs: InputConfig) -> NDArray[np.float64]:
    """Return the log-probabilities of an article's sentences and of two neighbours on either side, and their mean.

    Shape (sentences, features); NaN, which trees take for missing, beyond the article's ends.
    """
    offsets = [*((-2, -1) if inputs.before else ()), *((1, 2) if inputs.after else ())]
    padded = np.pad(own, ((2, 2), (0, 0)), constant_values=np.nan)
    beside = [padded[2 + offset : 2 + offset + len(own)] for offset in offsets]
    mean = [np.tile(np.exp(own).mean(0), (len(own), 1))] if offsets and len(own) else []
    return np.hstack([own, *beside, *mean])


def _words(text: str) -> str:
    """Return the words as the vocabularies see them: small letters, digits alike, begin and end marked."""
    return "⊢ " + re.sub(r"\d", "0", normalise(text).lower()) + " ⊣"


def _narration(article: Article) -> list[str]:
    """Return each sentence with what stands inside quotation marks cut out: the words of the paper itself."""
    lines = []
    for opened, text in zip(open_quotations(article.text, article.sentences), article.sentence_texts, strict=True):
        stretches = (('"' if opened else "") + _words(text)).split('"')
        lines.append(' " '.join(stretches[::2]))
    return lines


def _shifted(rows: csr_matrix, around: list[list[int | None]], starts: Any) -> list[csr_matrix]:
    """Return, for each neighbour's place, the matrix of that neighbour's rows; empty where there is none."""
    padded = vstack([rows, csr_matrix((1, rows.shape[1]))]).tocsr()
    empty = rows.shape[0]
    columns = zip(*around, strict=True)
    return [
        _NEIGHBOUR_WEIGHT * padded[[empty if i is None else int(s) + i for i, s in zip(column, starts, strict=True)]]
        for column in columns
    ]
