"""The command itself: what each subcommand prints, its exit codes, and that a mistake leaves nothing behind."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from train import __version__, cli, registry, tracking
from train.labeller import Labeller
from train.labelling.choices import Form
from train.labelling.rows import COLUMNS
from train.press import Joined
from train.schema import SelonError

SEED = "seeds/000_67de78d66b7b359b.txt"
Selon = Callable[..., Any]


def _flat(text: str) -> str:
    return " ".join(text.split())


# --- light -----------------------------------------------------------------------------------------------


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; import train.cli\n"
        "print({'torch', 'transformers', 'mlflow', 'sklearn', 'pandas', 'onnxruntime'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_version_and_usage(selon: Selon) -> None:
    done = selon("--version")
    assert (done.code, done.out) == (0, f"{__version__}\n")
    assert selon("label").code == 2  # a missing argument
    assert selon("train", "--nope").code == 2
    helped = selon("--help")
    assert helped.code == 0
    for command in ("train", "pretrain", "evaluate", "compare", "promote", "label", "serve", "ui", "corpus"):
        assert command in helped.out


def test_dry_run_prints_the_resolved_config(project: Path, selon: Selon) -> None:
    done = selon("train", "configs/petit.yaml", "model.learning_rate=2e-5", "seed=7", "--dry-run")
    assert done.code == 0
    tree = yaml.safe_load(done.out)
    assert (tree["seed"], tree["model"]["learning_rate"], tree["input"]["title"]) == (7, 2e-5, True)
    assert list((project / "mlruns").iterdir()) == []


# --- corpus ----------------------------------------------------------------------------------------------


def test_corpus_check_and_stats(project: Path, selon: Selon) -> None:
    done = selon("corpus", "check", "data/corpus")
    assert (done.code, _flat(done.out)) == (0, "54 articles, 432 sentences: all in order")
    assert "sentences" in selon("corpus", "stats", "data/corpus").out
    shutil.copy("data/corpus/test.jsonl", "data/corpus/copy.jsonl")
    done = selon("corpus", "check", "data/corpus")
    assert done.code == 2
    assert "keep it in one split only" in _flat(done.err)


def test_corpus_agreement(project: Path, selon: Selon) -> None:
    done = selon("corpus", "agreement", "data/corpus/test.jsonl")
    assert done.code == 2
    assert "no sentence is annotated twice" in _flat(done.err)
    path = project / "data/corpus/test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["annotations"] = {"author": row["label"], "second": row["label"].replace("denial", "claim")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = selon("corpus", "agreement", "data/corpus/test.jsonl")
    assert done.code == 0
    assert "agreement on 96 sentences" in done.out
    assert "75.0%" in done.out


# --- with trained models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_label_writes_rows_and_provenance(form: str, trained: Path, tmp_path: Path, selon: Selon) -> None:
    output = tmp_path / f"labelled.{form}"
    assert selon("label", SEED, "--model", "models:/selon/2", "--format", form, "--output", output).code == 0
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file)) if form == "csv" else [json.loads(line) for line in file]
    with (trained / SEED).open(encoding="utf-8", newline="") as file:
        raw = file.read()
    assert all(tuple(row) == COLUMNS for row in rows)
    assert all(raw[int(row["start"]) : int(row["end"])] == row["text"] for row in rows)
    said = json.loads((tmp_path / f"labelled.{form}.meta.json").read_text())
    assert said["model"] == "petit"
    assert len(list(tmp_path.iterdir())) == 2  # no drafts
    done = selon("label", SEED, "--model", "models:/selon/2", "--format", form)
    with output.open(encoding="utf-8", newline="") as file:
        assert done.out == file.read()
    assert json.loads(done.err.splitlines()[0]) == said
    assert re.fullmatch(r"1 article, \d+ sentences, 0 skipped, .* s, [\d,]+ sentences/s", done.err.splitlines()[-1])


def test_a_slash_at_the_end_means_a_folder(trained: Path, tmp_path: Path, selon: Selon) -> None:
    assert selon("label", SEED, "--model", "models:/selon/1", "--output", f"{tmp_path}/lemonde.2023/").code == 0
    assert (tmp_path / "lemonde.2023/part-00000.jsonl").is_file()


def test_label_shows_a_table_or_the_input(trained: Path, selon: Selon) -> None:
    done = selon("label", SEED, "--model", "models:/selon/2")
    assert done.code == 0
    assert "Zelenski" in done.out
    assert "petit" in done.err
    shown = selon("label", SEED, "--model", "models:/selon/2", "--title", "Un titre", "--show-input")
    assert "début | source parole guillemets | Un titre" in shown.out.splitlines()[0]
    refused = selon("label", SEED, "--model", "models:/selon/1", "--show-input")
    assert refused.code == 2
    assert "--show-input is for encoders" in _flat(refused.err)


def test_evaluate_reports_and_logs(trained: Path, selon: Selon) -> None:
    pair = {
        "id": "1",
        "phenomenon": "dément→pont",
        "before": "Le pont est vert.",
        "a": {"text": "Le maire dément la grève.", "label": "denial"},
        "b": {"text": "Le maire rouge la grève.", "label": "background"},
    }
    suite = trained / "data/contrast/pairs.jsonl"
    suite.parent.mkdir()
    suite.write_text(json.dumps(pair), encoding="utf-8")
    try:
        done = selon("evaluate", "models:/selon/2", "--on", "data/corpus/test.jsonl")
    finally:
        shutil.rmtree(suite.parent)
    assert done.code == 0, done.err
    for said in ("corpus-test: 12 articles, 96 sentences", "dément→pont", "confusion"):
        assert said in done.out
    run = tracking.connect().get_run(registry.run_of("models:/selon/2"))
    assert run.info.status == "FINISHED"
    metrics = run.data.metrics
    assert metrics["corpus-test/f1_macro"] > 0.9
    assert {"contrast/dément-pont", "contrast/all"} <= set(metrics)

    whole = selon("evaluate", str(registry.resolve("models:/selon/1")))  # a folder, the held-out articles
    assert whole.code == 0
    assert "held-out: 13 articles" in whole.out
    assert "contrast" not in whole.out


def test_compare_in_every_form(trained: Path, tmp_path: Path, selon: Selon) -> None:
    models = ("models:/selon/1", "models:/selon/2")
    done = selon("compare", *models, "--on", "data/corpus/test.jsonl", "--output", tmp_path / "out")
    assert done.code == 0
    assert "difference" in done.out
    assert "sentences on which they differ" in _flat(done.err)
    for form, begin in (("markdown", "| on corpus-test |"), ("csv", "on corpus-test,"), ("json", "{")):
        done = selon("compare", *models, "--on", "data/corpus/test.jsonl", "--format", form)
        assert done.out.startswith(begin)
    for on in ("train", "validation"):
        refused = selon("compare", *models, "--on", f"data/corpus/{on}.jsonl")
        assert refused.code == 2
        assert "was trained or calibrated on" in _flat(refused.err)


def test_promote_shows_the_comparison(trained: Path, selon: Selon, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        done = selon("promote", "models:/selon/2", "--on", "data/corpus/test.jsonl")
        assert done.code == 0
        assert "difference" in done.out
        assert "models:/selon/2 is the champion now; it was models:/selon/1" in _flat(done.out)
        assert registry.champion() == "2"
        assert "is the champion already" in _flat(selon("promote", "models:/selon/2").out)
        refused = selon("promote", "models:/selon/1", "--on", "data/corpus/train.jsonl")
        assert refused.code == 2  # no comparison, no promotion
        assert registry.champion() == "2"
        real = Labeller.open

        def altered(folder: Path) -> Labeller:
            if folder == registry.resolve("models:/selon/2"):
                raise SelonError("model.skops: altered since the model was saved; get the model again")
            return real(folder)

        monkeypatch.setattr(Labeller, "open", altered)
        done = selon("promote", "models:/selon/1")
        assert (done.code, registry.champion()) == (0, "1")  # what cannot answer does not stay for ever
        assert "no comparison: model.skops: altered" in _flat(done.err)
    finally:
        registry.promote("1")


# --- mistakes: one sentence, exit code 2, nothing half-written -------------------------------------------


def _snapshot(root: Path) -> dict[str, bytes]:
    """Return every file below the root but MLflow's own (its database grows tables when it is first asked)."""
    ours = (path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in ours
        if not path.name.startswith(("mlflow.db", "resolved.json", ".lock"))
    }


def _refused(selon: Selon, root: Path, said: str, *arguments: object) -> None:
    before = _snapshot(root)
    done = selon(*arguments)
    assert done.code == 2, (done.out, done.err)
    assert done.err.startswith("selon: ")
    assert len(done.err.splitlines()) == 1, "one sentence"
    assert said in done.err
    assert done.out == ""
    assert _snapshot(root) == before


ROW = '{"article_id": "z", "sentence": 0, "text": "Oui.", "label": "claim"}\n'
CONFIG = "extends: tfidf.yaml\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONFIG + "sed: 3", "unknown key sed"),
        (CONFIG + "seed: 3\nseed: 4", "key 'seed' is given twice"),
        (CONFIG + "model: {C: -1}", "model.C"),
        (CONFIG + "seed: [", "x.yaml:"),
        ("- 1", "a config is a mapping"),
        (CONFIG + "model: {kind: forest}", "model"),
        (CONFIG + "data: {train: [data/nope.jsonl]}", "nope.jsonl: there is no such file"),
        (CONFIG + "data: {test: [data/corpus/train.jsonl]}", "train.jsonl: is named twice; name it once"),
        (CONFIG + "model: {kind: camembert, encoder: data/none}", "there is no such encoder"),
        (CONFIG + "model: {kind: camembert, encoder: almanach/camembert-base}", "cannot be had from the Hugging Face"),
        (CONFIG + "model: {kind: camembert, encoder: encoders/camembert, max_length: 512}", "more than the 64 tokens"),
    ],
)
def test_configs_that_cannot_be_trained(content: str, said: str, project: Path, selon: Selon) -> None:
    (project / "configs/x.yaml").write_text(content, encoding="utf-8")
    _refused(selon, project, said, "train", "configs/x.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "train.jsonl:1: no valid JSON"),
        (ROW.replace("claim", "clam"), "is not one of claim, denial, attribution, background"),
        (ROW.replace('"Oui."', "null"), "train.jsonl:1: text"),
        (ROW.replace("Oui.", " "), "train.jsonl:1: text is empty"),
        (ROW + ROW, "train.jsonl:2: sentence 0 of z should be 1"),
        (ROW + ROW.replace('"z"', '"y"') + ROW, "train.jsonl:3: article z"),
        ("", "the file holds no rows"),
    ],
)
def test_labels_that_do_not_hold(content: str, said: str, project: Path, selon: Selon) -> None:
    (project / "data/corpus/train.jsonl").write_text(content, encoding="utf-8")
    _refused(selon, project, said, "train", "configs/tfidf.yaml")


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("there is no such config", ["train", "configs/none.yaml"]),
        ("write it as section.key=value", ["train", "configs/tfidf.yaml", "seed"]),
        ("takes 2 or more folds", ["train", "configs/tfidf.yaml", "--cross-validate", "1"]),
        ("50 folds want as many different articles", ["train", "configs/tfidf.yaml", "--cross-validate", "50"]),
        ("no interrupted training", ["train", "configs/tfidf.yaml", "--resume"]),
        ("no model yet", ["label", SEED]),
        ("none.txt: cannot be read", ["label", "none.txt"]),
        ("its ending names no format", ["label", SEED, "--output", "x.doc"]),
        ("configs/tfidf.yaml: its ending is none of .txt", ["label", "configs/tfidf.yaml"]),
        (f"{SEED}: is read, and --output would", ["label", SEED, "--format", "csv", "--output", SEED]),
        ("this is no saved model", ["label", SEED, "--model", "configs"]),
        ("this is no saved model", ["evaluate", "configs"]),
        ("compare takes two models or more", ["compare", "configs"]),
        ("only registered models can be promoted", ["promote", "configs"]),
        ("a registered model is models:/selon/N", ["promote", "models:/other/1"]),
        ("--on cross-validation compares runs", ["compare", "a", "b", "--on", "cross-validation"]),
        ("there is no such file", ["corpus", "stats", "none.jsonl"]),
        ("is a file; name a folder", ["corpus", "join", "labels.jsonl", "--output", "configs/tfidf.yaml"]),
        ("or replace the labels", ["corpus", "join", "data/labels.jsonl", "--output", "data"]),
        ("no/such/x.md: cannot be written: No such file", ["bench", "--output", "no/such/x.md"]),
        ("two files of one name", ["corpus", "join", "a/labels.jsonl", "b/labels.jsonl", "--output", "joined"]),
    ],
)
def test_arguments_that_lead_nowhere(said: str, arguments: list[str], project: Path, selon: Selon) -> None:
    _refused(selon, project, said, *arguments)


def test_joined_rows_that_have_no_place(project: Path, selon: Selon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.corpus.join_files", lambda *arguments: {Path("l.jsonl"): Joined([], 0, 1)})
    done = selon("corpus", "join", "l.jsonl", "--output", "configs/tfidf.yaml/x")
    assert (done.code, done.err) == (2, "selon: configs/tfidf.yaml/x: cannot be written: Not a directory\n")


def test_models_and_places_that_do_not_fit(
    trained: Path, copied: dict[str, Path], tmp_path: Path, selon: Selon
) -> None:
    test = ("--on", "data/corpus/test.jsonl")
    _refused(selon, trained, "not in the registry", "label", SEED, "--model", "models:/selon/99")
    _refused(selon, trained, "no such run", "evaluate", "runs:/" + "0" * 32)
    _refused(selon, trained, "given twice", "compare", "models:/selon/1", "models:/selon/1", *test)
    compare = ("compare", "models:/selon/1", "models:/selon/2", *test, "--output")
    _refused(selon, trained, "holds other things", *compare, ".")
    label = ("label", SEED, "--format", "csv", "--model", "models:/selon/2", "--output")
    _refused(selon, trained, "holds other things; name a new or an empty folder", *label, tmp_path)
    _refused(selon, trained, "cannot be written", *label, tmp_path / "none/x.csv")
    (tmp_path / "none.jsonl").write_text(ROW, encoding="utf-8")
    _refused(selon, trained, "is a file; name a folder", *compare, tmp_path / "none.jsonl")

    manifest = copied["petit"] / "bundle.json"
    tree = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(tree | {"format": 99}))
    _refused(selon, trained, "is newer than this selon reads", "label", SEED, "--model", copied["petit"])
    rows = [[1.0, 0.0, 0.0, 0.0]] * len(tree["golden"][0]["probabilities"])
    manifest.write_text(json.dumps(tree | {"golden": [tree["golden"][0] | {"probabilities": rows}]}))
    _refused(selon, trained, "answers differently here", "evaluate", copied["petit"], *test)
    manifest.write_text(json.dumps(tree))
    (copied["petit"] / "model.onnx").unlink()
    _refused(selon, trained, "missing from the saved model", "label", SEED, "--model", copied["petit"])


def test_a_crash_is_no_mistake_of_the_users(project: Path, selon: Selon, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("train.training.train", crash)
    with pytest.raises(ZeroDivisionError):  # Python prints it and exits with 1
        selon("train", "configs/tfidf.yaml")


def test_what_is_not_installed_is_named(project: Path, selon: Selon, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("train.training.train", absent)
    said = "this needs torch, which is not installed: install selon[train]"
    _refused(selon, project, said, "train", "configs/tfidf.yaml")


def test_a_text_with_the_name_of_an_emoji_is_printed_as_it_is() -> None:
    from train.cli import err, out

    for console in (out, err):
        with console.capture() as captured:
            console.print("Avis :warning: aux lecteurs")
        assert captured.get() == "Avis :warning: aux lecteurs\n"


def test_a_form_is_that_of_the_ending_and_excel_is_csv() -> None:
    assert cli._form_of(None, False, False) is Form.table
    assert cli._form_of(Path("labels"), True, False) is Form.jsonl
    assert cli._form_of(Path("labels.PARQUET"), False, True) is Form.parquet  # which Output then refuses
    assert [
        cli._form_of(path, parts, True) for path, parts in ((None, False), (Path("l"), True), (Path("l.txt"), False))
    ] == [Form.csv] * 3


def test_signals_that_are_ignored_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under nohup, or in the background of a script."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = [signal.getsignal(number) for number in numbers]
    seen: list[Any] = []
    monkeypatch.setattr(cli, "app", lambda: seen.extend(signal.getsignal(number) for number in numbers))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup themselves
    try:
        cli.main()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert seen == [signal.SIG_IGN, cli._stop, cli._stop]
