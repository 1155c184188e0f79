"""From a config to a fitted, evaluated, tracked and registered model."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console

from train import __version__, metrics, registry, tracking
from train.atomic import whole_binary, whole_folder
from train.bundle import MANIFEST, Bundle, Golden, HeldOut, Int8Check, write_manifest
from train.classifiers.base import Classifier, Fitting, family, split_by_article
from train.config import TrainConfig, project_path, project_root
from train.corpus import content_key, fingerprint, known_among, read_each, read_unlabelled, together
from train.evaluation import Report, evaluate, log_report, predictions_of, summarise
from train.labeller import Labeller
from train.schema import LABELS, Article, Probabilities, SelonError
from train.segmentation import segment
from train.splits import grouped_folds, leakage, without_reprints

#: A short article whose predictions are kept in each bundle, to see that it still answers the same.
_GOLDEN_TITLE = "Une usine dans le doute"
_GOLDEN_TEXT = (
    "L'usine de Vernoux aurait perdu un tiers de ses commandes, selon un syndicat. La direction dément. "
    "« C'est une honte », s'est emporté le maire. Le site emploie 300 personnes."
)
#: In a folder of checkpoints: locked while a training works on it.
_LOCK = ".lock"
#: There too: the model, until it is logged.
_BUNDLE = "bundle"


@dataclass(frozen=True)
class Data:
    """The articles of an experiment, read and checked; all are labelled but ``unlabelled``."""

    train: list[Article]
    validation: list[Article]
    test: list[Article]
    unlabelled: list[Article]


@dataclass(frozen=True)
class Trained:
    """What a training left behind."""

    address: str
    run_id: str
    champion: bool
    reports: list[Report]


def read_data(config: TrainConfig) -> Data:
    """Read and check the splits of an experiment."""
    return _checked(config, _read_files(config))


def _read_files(config: TrainConfig) -> dict[str, dict[Path, list[Article]]]:
    """Read the labelled files of each split; the text of stand-off labels once for all of them."""
    names = ("train", "validation", "test")
    files = {name: [project_path(path) for path in getattr(config.data, name)] for name in names}
    with Console(stderr=True).status("reading the articles"):
        found = read_each(chain(*files.values()), _press(config))
    return {name: {path: found[path] for path in paths} for name, paths in files.items()}


def _checked(config: TrainConfig, files: Mapping[str, Mapping[Path, list[Article]]]) -> Data:
    """Return the splits; refuse articles that stand, by id or wording, in two of them.

    Unlabelled articles that are in train too, or near to validation or test, are left out.
    """
    splits = {name: together(own) for name, own in files.items()}
    leaks = leakage(splits)
    if leaks:
        raise SelonError(leaks[0] + (f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""))
    for name in ("train", "validation"):
        missing = set(LABELS) - {label for article in splits[name] for label in article.labels or ()}
        if missing:
            raise SelonError(f"data.{name}: no sentence is labelled {', '.join(sorted(missing))}; add some")
    return Data(**splits, unlabelled=_read_unlabelled(config, splits) if config.data.unlabelled else [])


def _read_unlabelled(config: TrainConfig, splits: Mapping[str, list[Article]]) -> list[Article]:
    labelled = {content_key(article) for article in splits["train"]}
    paths = [project_path(path) for path in config.data.unlabelled]
    found = {content_key(article): article for path in paths for article in read_unlabelled(path, _press(config))}
    fresh = [article for key, article in found.items() if key not in labelled]
    unlabelled = without_reprints(fresh, splits["validation"] + splits["test"])
    if left_out := len(found) - len(unlabelled):
        why = "they have labels, or are near to validation or test"
        if not unlabelled:
            raise SelonError(f"data.unlabelled: no article is left of {len(found)}: {why}; name others")
        Console(stderr=True).print(f"data.unlabelled: {left_out} articles are left out: {why}")
    return unlabelled


def train(config: TrainConfig, resume: bool = False) -> Trained:
    """Fit, calibrate, evaluate, log and register the model that ``config`` describes.

    With ``resume``, the last interrupted training of the same config and data goes on, in its own MLflow run:
    from its last intact checkpoint, from the beginning where it has none.
    """
    classifier = family(config.model.kind)(config.model, config.input)
    classifier.check()
    data = read_data(config)
    _refuse_known(classifier, data.test, "data.test")
    tags = {"family": config.model.kind, "corpus": fingerprint(data.train)[:12]}
    with _tracked(config, config.name, tags, data, classifier.start(), resume) as (run, checkpoints):
        folder = checkpoints / _BUNDLE
        if resume and (folder / MANIFEST).is_file():  # it was fitted, and MLflow had not heard all of it
            on_validation = Labeller.open(folder).predict_proba(data.validation)
        else:
            started = time.perf_counter()
            classifier.fit(
                data.train,
                data.validation,
                Fitting(config.seed, checkpoints, resume, run.progress, data.unlabelled),
            )
            seconds = None if resume else time.perf_counter() - started
            on_validation = classifier.predict_proba(data.validation)
            save(classifier, config, data, on_validation, seconds, folder)
        labeller = Labeller.open(folder)
        reports = _evaluate_and_log(labeller, data, on_validation, run)
        bundle = labeller.bundle.model_copy(update={"held_out": _held_out(config, reports[-1])})
        with whole_folder(folder) as work:
            shutil.copytree(folder, work, dirs_exist_ok=True)
            card = _card(bundle, data) + _held_out_card(config, reports[-1])
            (work / "README.md").write_text(card, encoding="utf-8")
            write_manifest(work, bundle)
        if bundle.training_seconds is not None:
            run.figures({"training_seconds": bundle.training_seconds})
        version = registry.log_model(folder)
        champion = registry.champion() == version
    return Trained(f"models:/{registry.REGISTERED}/{version}", run.id, champion, reports)


def cross_validate(config: TrainConfig, folds: int, resume: bool = False) -> tuple[list[Report], str]:
    """Fit and predict ``folds`` times over the training articles, near-duplicates together.

    Returns the pooled report, followed by one for each file of ``data.train`` where there are several (written and
    real articles are not equally hard), and the id of the run, which keeps every prediction. With ``resume``, the last
    interrupted one of the same config, data and number of folds goes on in its own run.
    """
    first = family(config.model.kind)(config.model, config.input)
    first.check()
    files = _read_files(config)
    data = _checked(config, files)
    _refuse_known(first, data.train, "--cross-validate")
    parts = _folds(data.train, folds, config.seed)
    held: list[Article] = []
    predicted: list[Probabilities] = []
    rows: list[dict[str, Any]] = []
    name, tags = f"{config.name}-cv{folds}", {"family": config.model.kind, "folds": str(folds)}
    with _tracked(config, name, tags, data, first.start(), resume) as (run, checkpoints):
        for fold, (rest, out) in enumerate(parts):
            held += out
            kept = checkpoints / f"fold-{fold}.npy"
            known = resume and kept.is_file()
            if known:
                found = split_by_article(np.load(kept, allow_pickle=False), out)
            else:
                unlabelled = without_reprints(data.unlabelled, out)
                fitting = Fitting(config.seed, checkpoints, resume, run.progress, unlabelled).part(kept.stem)
                found = _predict_fold(config, rest, data.validation, out, fitting, kept)
            predicted += found
            rows += predictions_of(out, found, f"{fold + 1}/{folds}")
            if known:
                continue
            so_far = summarise(held, predicted, "cross-validation")
            run.progress({"cross-validation/f1_macro_so_far": so_far.f1["macro"].value}, fold)
            # After each fold: one that is stopped can be compared with another that stopped there.
            run.draft(rows, tracking.PREDICTIONS)
        run.json(rows, tracking.PREDICTIONS)
        pooled, by_file = summarise(held, predicted, "cross-validation"), [*_by_file(files["train"], held, predicted)]
        log_report(run, held, predicted, pooled)
        for report in by_file:
            run.figures(report.figures())
    return [pooled, *by_file], run.id


def _predict_fold(
    config: TrainConfig,
    rest: list[Article],
    validation: list[Article],
    out: list[Article],
    fitting: Fitting,
    kept: Path,
) -> list[Probabilities]:
    """Return, and keep, the predictions for ``out`` of a classifier fitted on ``rest``; its checkpoints go."""
    fitting.checkpoints.mkdir(exist_ok=True)
    classifier = family(config.model.kind)(config.model, config.input)
    classifier.fit(rest, validation, fitting)
    predicted = classifier.predict_proba(out)
    with whole_binary(kept) as file:
        np.save(file, np.concatenate(predicted), allow_pickle=False)
    shutil.rmtree(fitting.checkpoints)
    return predicted


def _refuse_known(classifier: Classifier, held_out: Sequence[Article], place: str) -> None:
    """Refuse to hold out articles from which a saved model that is trained further has learned already."""
    seen = known_among(held_out, classifier.known)
    if seen:
        raise SelonError(
            f"{place}: model.encoder is a saved model that has learned from {len(seen)} of these articles "
            f"({seen[0]} …): start from an encoder, or hold out others"
        )


def _by_file(
    files: Mapping[Path, list[Article]], held: list[Article], predicted: list[Probabilities]
) -> Iterator[Report]:
    """Yield a report for each file of ``data.train``, where there is more than one."""
    for path, articles in files.items() if len(files) > 1 else ():
        own = {article.id for article in articles}
        places = [place for place, article in enumerate(held) if article.id in own]
        name = f"cross-validation-{path.parent.name}-{path.stem}"
        yield summarise([held[i] for i in places], [predicted[i] for i in places], name)


def _folds(articles: Sequence[Article], folds: int, seed: int) -> list[tuple[list[Article], list[Article]]]:
    """Return (training, held-out) articles; SelonError where there are too few for that many folds."""
    parts = list(grouped_folds(articles, folds, seed))
    for rest, _ in parts:
        missing = set(LABELS) - {label for article in rest for label in article.labels or ()}
        if missing:
            raise SelonError(
                f"--cross-validate {folds}: a fold leaves no {', '.join(sorted(missing))} to train on; take fewer folds"
            )
    return parts


def save(
    classifier: Classifier,
    config: TrainConfig,
    data: Data,
    on_validation: Sequence[Probabilities],
    seconds: float | None,
    folder: Path,
) -> None:
    """Write the bundle: the classifier's files, the model card, the manifest."""
    gold = np.concatenate([article.gold for article in data.validation])
    stacked = np.concatenate(on_validation)
    seen = data.train + data.validation + data.unlabelled
    example = Article("", _GOLDEN_TEXT, segment(_GOLDEN_TEXT), title=_GOLDEN_TITLE)
    rows = classifier.reference_proba([example])[0]
    bundle = Bundle(
        selon=__version__,
        name=config.name,
        model=config.model,
        input=config.input,
        review_below=metrics.review_threshold(stacked, gold, config.review_error),
        corpus=fingerprint(data.train),
        trained_on=tuple(sorted({content_key(article) for article in seen} | set(classifier.known))),
        config=config.model_dump(mode="json"),
        training_seconds=seconds and round(seconds, 1),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        golden=(
            Golden(
                title=_GOLDEN_TITLE,
                text=_GOLDEN_TEXT,
                probabilities=tuple(tuple(round(float(p), 6) for p in row) for row in rows),
            ),
        ),
        precision=classifier.precision,
        int8=classifier.int8,
    )
    with whole_folder(folder) as work:
        classifier.save(work)
        (work / "README.md").write_text(_card(bundle, data), encoding="utf-8")
        write_manifest(work, bundle)


def _evaluate_and_log(
    labeller: Labeller, data: Data, on_validation: Sequence[Probabilities], run: tracking.Run
) -> list[Report]:
    """Report on validation (seen: calibrated there) and on the held-out articles."""
    validation = summarise(data.validation, on_validation, "validation", labeller.bundle.review_below)
    test, on_test = evaluate(labeller, data.test, "test")
    log_report(run, data.validation, on_validation, validation)
    log_report(run, data.test, on_test, test)
    return [validation, test]


def _held_out(config: TrainConfig, report: Report) -> HeldOut:
    """Return what the model carries of its figures, so that whoever reads its labels can be told."""
    natural = {label: found for label, found in report.natural_precision.items() if found}
    return HeldOut(
        sources=config.data.test,
        fingerprint=report.fingerprint,
        articles=report.articles,
        counts=report.counts,
        precision={label: round(value, 4) for label, value in report.precision.items()},
        natural_precision={label: round(found.value, 4) for label, found in natural.items()},
        natural_interval={label: (round(found.low, 4), round(found.high, 4)) for label, found in natural.items()},
    )


def _log_inputs(config: TrainConfig, data: Data, run: tracking.Run) -> None:
    """Log config and data, before there is anything that could be resumed."""
    tracking.log_parameters(config.model_dump(mode="json"))
    run.json(config.model_dump(mode="json"), "config.json")
    for name, articles in vars(data).items():
        rows = [{"article_id": a.id, "sentences": len(a), **Counter(a.labels or ())} for a in articles]
        if rows:
            tracking.log_dataset(name, rows, fingerprint(articles), ",".join(getattr(config.data, name)))


@contextmanager
def _tracked(
    config: TrainConfig, name: str, tags: Mapping[str, str], data: Data, start: Mapping[str, str], resume: bool
) -> Iterator[tuple[tracking.Run, Path]]:
    """Open a run and its folder of checkpoints, with ``resume`` those of the last one that was interrupted.

    The folder goes when the run has ended well. SelonError where there is nothing to resume.
    """
    place = _checkpoints(config, name, data, start)
    left = _interrupted(place)
    if resume and left is None:
        raise SelonError(f"{name}: no interrupted training of this config and data; start without --resume")
    if left and not resume and _has_saved(place / left):
        print(f"{place / left}: an interrupted training of this config; --resume goes on with it", file=sys.stderr)
    with tracking.run(name, tags, resume=left if resume else None) as run:
        if not resume:
            _log_inputs(config, data, run)
        with _held(place / run.id) as checkpoints:
            yield run, checkpoints
    _tidy(place)


def _checkpoints(config: TrainConfig, name: str, data: Data, start: Mapping[str, str]) -> Path:
    """Return the folder whose name stands for all that a training depends on: another one must not go on from it."""
    # One by one, since their order is that of the batches.
    articles = [[fingerprint([article]) for article in split] for split in vars(data).values()]
    key = hashlib.sha256(json.dumps([config.model_dump(mode="json"), dict(start), articles]).encode()).hexdigest()[:12]
    return project_root() / "mlruns" / "checkpoints" / f"{name}-{key}"


def _interrupted(place: Path) -> str | None:
    """Return the run id of the training in ``place`` to go on with: the newest that no process works on any more.

    One that was stopped before it had saved anything comes after all that have.
    """
    folders = sorted(place.glob("*/"), key=lambda path: (_has_saved(path), path.stat().st_mtime), reverse=True)
    return next((folder.name for folder in folders if not _is_held(folder)), None)


def _has_saved(folder: Path) -> bool:
    return any(path.is_file() and path.name != _LOCK for path in folder.rglob("*"))


@contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """Make a folder for checkpoints and hold its lock: a folder whose lock is free was left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        yield folder


def _is_held(folder: Path) -> bool:
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return False
    except Timeout:
        return True


def _tidy(place: Path) -> None:
    """Remove the checkpoints of trainings that are over; one of the same config may still be at work."""
    for folder in place.glob("*/"):
        if not _is_held(folder):
            shutil.rmtree(folder)
    with suppress(OSError):  # not empty
        place.rmdir()


def _press(config: TrainConfig) -> Path | None:
    """Return where the config finds the text of stand-off labels; the user's environment goes first."""
    return project_path(config.data.press) if config.data.press and not os.environ.get("SELON_PRESS") else None


def _card(bundle: Bundle, data: Data) -> str:
    """Return the model card: what it is, what it was trained on, how to use it."""
    counts = Counter(label for article in data.train for label in article.labels or ())
    library = {"camembert": "transformers", "tfidf": "sklearn"}.get(bundle.model.kind, "selon")
    shares = ", ".join(f"{label} {counts[label]}" for label in LABELS)
    sources = ", ".join(f"`{path}`" for path in bundle.config["data"]["train"])
    unlabelled = sum(map(len, data.unlabelled))
    members = getattr(bundle.model, "members", (bundle.model,))
    made = f"- **Mean** of {len(members)} classifiers: {', '.join(m.kind for m in members)}.\n" if members[1:] else ""
    for teacher in filter(None, (getattr(member, "teacher", None) for member in members)):
        who = "a baseline" if teacher.kind == "tfidf" else f"a bigger encoder (`{teacher.encoder}`)"
        made += f"- **Taught** by {who}: its probabilities for {unlabelled} other sentences.\n"
    return f"""---
language: fr
license: apache-2.0
library_name: {library}
pipeline_tag: text-classification
---
# {bundle.name}

Labels each sentence of a French news article as {", ".join(LABELS)}: *who vouches for what it says?*
Made by selon {bundle.selon} on {bundle.created}.

- **Trained on** {len(data.train)} articles ({shares}) of {sources}; calibrated on {len(data.validation)} others.
{made}- **Reads** the sentence and, from its document: {bundle.input.model_dump_json()}.
- **Review**: below a confidence of {bundle.review_below:.2f} a sentence should be read again.
- **Answers** in {_precision(bundle)}.
- **Use**: `selon label article.txt --model THIS_FOLDER`. `bundle.json` lists every file with its SHA-256.
- **Limits**: the label says who vouches, not what is true. Every figure is in the MLflow run of the training.
"""


def _held_out_card(config: TrainConfig, report: Report) -> str:
    """Return the model card's table of figures on articles that the model has never seen."""
    sources = ", ".join(f"`{path}`" for path in config.data.test)
    rows = "\n".join(
        f"| {label} | {report.counts[label]} | {report.f1[label]} | {report.precision[label]:.2f} "
        f"| {report.recall[label]:.2f} | {report.natural_precision[label] or '–'} |"
        for label in LABELS
    )
    return f"""
## On articles it has never seen
{report.articles} articles of {sources}: macro-F1 {report.f1["macro"]}, 95 % intervals from resampling articles.
*Natural* is precision where labels are as frequent as in ordinary press articles.

| label | sentences | F1 | precision | recall | natural |
|---|---:|---|---:|---:|---:|
{rows}
"""


def _precision(bundle: Bundle) -> str:
    """Say which graph answers, and why."""
    if bundle.int8 is None:
        return bundle.precision
    check = f"on validation {bundle.int8.agreement:.2%} of its labels are those of fp32, {_f1_cost(bundle.int8)}"
    return f"int8 on a CPU: {check}" if bundle.int8.kept else f"fp32; the int8 graph was refused: {check}"


def _f1_cost(check: Int8Check) -> str:
    points = 100 * check.f1_loss
    return f"macro-F1 {points:.1f} points lower" if points > 0 else "macro-F1 no lower"
