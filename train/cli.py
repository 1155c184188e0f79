"""The command ``selon``. Each command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import nullcontext, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from train import __version__
from train.labelling.choices import Engine, Form, Kind
from train.schema import Device, SelonError

if TYPE_CHECKING:
    from train.comparison import Comparison
    from train.schema import Article

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Who vouches for what? Labels each sentence of a French news article: claim, denial, attribution or "
    "background.",
)
corpus_app = typer.Typer(no_args_is_help=True, help="Check, describe and join labelled articles.")
app.add_typer(corpus_app, name="corpus")

# A text is no markup: « [fd00::1] » and « :warning: » stay what they are, and the table of emojis is not loaded.
out = Console(emoji=False, markup=False, highlight=False)
err = Console(stderr=True, emoji=False, markup=False, highlight=False)

#: What `evaluate`, `compare` and `promote` read unless told otherwise: never trained on, by any shipped config.
HELD_OUT = ("data/corpus/test.jsonl", "seeds")
#: How many genres or topics `corpus stats` names.
_SHOWN = 18

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]…", help="Override config values.")]
On = Annotated[list[str] | None, typer.Option(help="Labelled articles, a file or folder; may be given again.")]
Press = Annotated[str | None, typer.Option(help="The text of stand-off labels; else SELON_PRESS.")]
ModelOption = Annotated[
    str | None, typer.Option(help="A folder, runs:/ID, models:/selon/N or models:/selon@champion (the default).")
]


class TableFormat(StrEnum):
    """What `selon compare` prints."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file of configs/.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved config; train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
    cross_validate: Annotated[
        int, typer.Option(help="Fit this many times over the training articles, held out in turn.", min=0)
    ] = 0,
) -> None:
    """Train a classifier from a config; evaluate, track and register it."""
    from train.config import TrainConfig
    from train.config_file import load_config

    resolved = load_config(config, TrainConfig, overrides or ())
    if dry_run:
        import yaml

        print(yaml.safe_dump(resolved.model_dump(mode="json"), allow_unicode=True, sort_keys=False), end="")
        return
    if cross_validate == 1:
        raise SelonError("--cross-validate takes 2 or more folds")
    from train import registry, training
    from train.evaluation import report_table

    if cross_validate:
        reports, run_id = training.cross_validate(resolved, cross_validate, resume)
        for report in reports:
            out.print(report_table(report))
        said = f"\nrun: runs:/{run_id}\nnext: selon compare runs:/OTHER runs:/{run_id} --on cross-validation"
        out.print(said, soft_wrap=True)
        return
    trained = training.train(resolved, resume)
    for report in trained.reports:
        out.print(report_table(report))
    champion = f"the champion: it answers from now on, not {registry.SHIPPED}"
    if not trained.champion:
        champion = f"`selon promote {trained.address}` makes it the champion"
    out.print("\nmodel: ", Text(trained.address, style="bold"), f", {champion}", sep="", soft_wrap=True)
    following = [f"selon label ARTICLE.txt --model {trained.address}", f"selon evaluate {trained.address}", "selon ui"]
    if not trained.champion:
        following.insert(2, f"selon compare models:/selon@champion {trained.address}")
    out.print("next:  " + "\n       ".join(following))


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/pretrain-petit.yaml.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last verified checkpoint.")] = False,
) -> None:
    """Pre-train a compact encoder from text."""
    from train import tracking
    from train.config_file import load_config
    from train.pretraining import PretrainConfig, learn, prepare

    resolved = load_config(config, PretrainConfig, overrides or ())
    work = prepare(resolved, fresh=not resume)  # before there is a run that could fail by it
    known = work / "run"  # one learning curve, however often it was interrupted
    interrupted = tracking.known_run(known.read_text()) if resume and known.is_file() else None
    with tracking.run(f"pretrain-{resolved.name}", {"family": "encoder"}, resume=interrupted) as run:
        if not interrupted:
            tracking.log_parameters(resolved.model_dump(mode="json"))
            known.write_text(run.id)
        folder = learn(resolved, work, resume=resume, log=run.progress)
    said = f"encoder: {folder}\nnext: selon train configs/petit.yaml model.encoder={folder}"
    if resolved.encoder.layers <= 3:  # as many as petit.yaml freezes: none would be left to learn
        said += " model.frozen_layers=0"
    out.print(said, soft_wrap=True)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A folder, runs:/ID, models:/selon/N or models:/selon@champion.")],
    on: On = None,
    press: Press = None,
) -> None:
    """Figures, confusion, worst mistakes and minimal pairs of a saved model on labelled articles."""
    from train import contrast, registry, tracking
    from train.config import project_path
    from train.evaluation import evaluate as run_evaluation
    from train.evaluation import log_report, report_table
    from train.labeller import Labeller
    from train.labelling.terminal import plain

    run_id = registry.run_of(model)  # first: the champion may change meanwhile
    labeller = Labeller.open(registry.resolve(model))
    articles, name = _articles(on, press)
    suite = project_path(contrast.PAIRS)
    pairs = contrast.read_pairs(suite) if suite.is_file() else []
    report, probabilities = run_evaluation(labeller, articles, name)
    out.print(report_table(report))
    scores = contrast.score(labeller, pairs) if pairs else {}
    if scores:
        out.print(contrast.contrast_table(scores))
    _print_confusion(report.confusion)
    for mistake in report.worst[:8]:
        place = f"{mistake.article_id}:{mistake.sentence}"
        head = f"{place} {mistake.gold} → {mistake.predicted} ({mistake.confidence:.2f})"
        out.print(head, style="bold")
        out.print(f"  {plain(mistake.text)}")
    if run_id:
        with tracking.reopen(run_id) as run:
            log_report(run, articles, probabilities, report)
            run.figures(contrast.figures(scores))


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more models (or cross-validated runs).")],
    on: On = None,
    press: Press = None,
    form: Annotated[TableFormat, typer.Option("--format", help="What to print.")] = TableFormat.table,
    output: Annotated[Path | None, typer.Option(help="A folder for the tables and the differing sentences.")] = None,
) -> None:
    """One table, a column a model; for two models their difference, a paired test and a verdict."""
    from train import comparison as comparing
    from train.atomic import refuse_others
    from train.config import project_path

    if len(models) < 2:
        raise SelonError("compare takes two models or more")
    folder = output or project_path("mlruns/comparisons/latest")
    refuse_others(folder, comparing.FILES)  # before minutes of work
    result = _comparison(models, on, press)
    comparing.write(result, folder)
    if form is TableFormat.table:
        out.print(comparing.to_table(result))
        err.print(f"{len(result.differing)} sentences on which they differ: {folder / 'differences.jsonl'}")
    else:
        show = {"markdown": comparing.to_markdown, "csv": comparing.to_csv, "json": comparing.to_json}[form.value]
        print(show(result))


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="models:/selon/N")],
    on: On = None,
    press: Press = None,
) -> None:
    """Make a registered model the champion, after showing how it compares with the present one."""
    from train import comparison as comparing
    from train import registry
    from train.evaluation import verify_golden
    from train.labeller import Labeller

    if not model.startswith("models:/"):
        raise SelonError(f"{model}: only registered models can be promoted; give models:/selon/N")
    version = registry.registered_version(model)
    present = registry.champion()
    if present == version:
        out.print(f"{model} is the champion already")
        return
    if present is not None:
        address = f"models:/selon/{present}"
        try:
            verify_golden(Labeller.open(registry.resolve(address)))
        except SelonError as error:  # one that cannot answer must not stay for ever
            err.print(f"selon: no comparison: {error}", soft_wrap=True)
            verify_golden(Labeller.open(registry.resolve(model)))
        else:
            out.print(comparing.to_table(_comparison([address, model], on, press)))
    registry.promote(version)
    out.print(f"models:/selon/{version} is the champion now" + (f"; it was models:/selon/{present}" if present else ""))


@app.command()
def label(
    files: Annotated[
        list[str],
        typer.Argument(help="Text, HTML, JSONL, CSV or Parquet (.gz, .xz and .bz2 too); folders; - is standard input."),
    ],
    model: ModelOption = None,
    form: Annotated[Form | None, typer.Option("--format", help="What to write; else by --output.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="A file (labels.csv), or a folder/ for parts; goes on where it was interrupted."
        ),
    ] = None,
    read_as: Annotated[
        Kind | None, typer.Option("--from", help="How files are read; in a folder, those whose ending does not say.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="The column of a table that holds the article.")] = "text",
    id_column: Annotated[str | None, typer.Option(help="The column of its id; else article_id or id.")] = None,
    title_column: Annotated[str | None, typer.Option(help="The column of its headline; else title.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to keep beside the labels; may be repeated.")] = None,
    title: Annotated[str, typer.Option(help="The headline of articles that have none; it helps.")] = "",
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave the sentences themselves out.")] = False,
    excel_fr: Annotated[bool, typer.Option("--excel-fr", help="CSV as a French Excel opens it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much there is and how long it takes.")] = False,
    show_input: Annotated[bool, typer.Option("--show-input", help="Print what the model reads, and stop.")] = False,
    device: Annotated[Device, typer.Option(help="Where an encoder runs.")] = Device.cpu,
    engine: Annotated[Engine, typer.Option(help="ray: on a cluster, or this machine's cores apart.")] = Engine.local,
    workers: Annotated[int | None, typer.Option(help="Ray workers; else one a core.", min=1)] = None,
    shard: Annotated[int, typer.Option(help="Articles in a part.", min=1)] = 200,
) -> None:
    """Label the sentences of articles: one page, or an archive of millions.

    Exit code 1: everything was labelled but what the last lines name (and, with --output, a rejects file).
    """
    from train.labeller import Labeller
    from train.labelling import command
    from train.labelling.inputs import open_inputs
    from train.labelling.sources import Reading
    from train.labelling.writers import Output
    from train.registry import resolve

    target = None if output is None else Path(output)
    # A Path forgets the slash at its end, and Path.is_dir() would raise for a folder that may not be looked into.
    slash = (output or "").endswith(("/", os.sep))
    parts = bool(target and (slash or not target.suffix or os.path.isdir(target)))  # noqa: PTH112
    chosen = form or _form_of(target, parts, excel_fr)
    kept = tuple(dict.fromkeys(keep or ()))
    if engine is Engine.ray and device is not Device.cpu:
        raise SelonError("--engine ray labels on CPUs; leave --device out")
    with open_inputs(files, read_as) as inputs:
        request = command.Request(
            inputs,
            Reading(text_column, id_column, title_column, title, kept),
            Output(chosen, kept, not no_text, excel_fr),
            target,
            parts=parts,
            shard=shard,
            engine=engine,
            workers=workers,
        )
        request.check()
        labeller = Labeller.open(resolve(model), device)
        if show_input:
            raise typer.Exit(command.show_inputs(request, labeller, err))
        if dry_run:
            print(command.dry_run(request, labeller))
            return
        raise typer.Exit(command.label(request, labeller, out, err))


@app.command()
def bench(
    on: Annotated[Path | None, typer.Option(help="Articles to measure on; else data/corpus/test.jsonl.")] = None,
    texts: Annotated[int, typer.Option(help="How many sentences to time.", min=1)] = 200,
    repeats: Annotated[int, typer.Option(help="Starts to measure; their median counts.", min=1)] = 3,
    output: Annotated[Path | None, typer.Option(help="Also write a .json or .md file.")] = None,
) -> None:
    """Measure selon beside transformers' pipeline and Trainer: start, speed, memory; takes some minutes."""
    from train import bench as benching
    from train.atomic import whole_file

    if output and output.suffix not in (".json", ".md"):
        raise SelonError(f"{output}: name a .json or a .md file")
    with whole_file(output) if output else nullcontext() as file:  # before minutes of work
        found = benching.run(on, texts, repeats, err.print)
        out.print(benching.to_table(found))
        if output and file:
            file.write((benching.to_json if output.suffix == ".json" else benching.to_markdown)(found))


@app.command()
def serve(
    model: ModelOption = None,
    port: Annotated[int, typer.Option(help="0 takes any that is free.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Who can reach it; 127.0.0.1 is this machine alone.")] = "127.0.0.1",
    token_file: Annotated[Path | None, typer.Option(help="A file with the token that clients must send.")] = None,
    deadline: Annotated[float, typer.Option(help="Seconds a request may take.", min=0.1, max=86_400)] = 30.0,
    max_body: Annotated[int, typer.Option(help="Bytes of one request.", min=1024)] = 2 * 1024 * 1024,
    max_sentences: Annotated[int, typer.Option(help="Sentences of one article.", min=1)] = 2000,
    watch: Annotated[
        float, typer.Option(help="Seconds between looks at the champion alias.", min=0.05, max=86_400)
    ] = 5.0,
) -> None:
    """Answer over HTTP: a page to read articles, a JSON API, MLflow's scoring protocol."""
    from train.service.server import is_loopback
    from train.service.server import serve as run_server
    from train.service.settings import ServiceSettings, read_token

    settings = ServiceSettings(
        token=read_token(token_file) if token_file else None,
        deadline=deadline,
        max_body=max_body,
        max_sentences=max_sentences,
        watch=watch,
    )
    if not is_loopback(host) and not token_file:
        err.print(f"selon: {host} can be reached from elsewhere and no --token-file is set: anybody may ask")

    def tell(address: str) -> None:
        err.print(f"selon: {address}")

    run_server(model, host, port, settings, tell)


@app.command()
def ui(port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 5000) -> None:
    """Open MLflow on this project's runs."""
    from train import tracking

    raise typer.Exit(tracking.serve_ui(port))


@corpus_app.command()
def check(
    paths: Annotated[list[Path], typer.Argument(help="Labelled files; a folder with train, validation and test.")],
    press: Press = None,
) -> None:
    """Validate labelled articles: rows, offsets, labels, duplicates, leakage between files."""
    from train.corpus import CorpusError, read_articles
    from train.splits import leakage

    problems: list[str] = []
    splits: dict[str, list[Article]] = {}
    for path in _split_files(paths):
        try:
            splits[str(path)] = read_articles(path, press)
        except CorpusError as error:
            problems += error.problems
    problems += leakage(splits)
    for problem in problems[1:]:
        err.print(f"selon: {problem}")
    if problems:
        raise SelonError(problems[0])
    total = sum(len(article) for articles in splits.values() for article in articles)
    out.print(f"{sum(map(len, splits.values()))} articles, {total} sentences: all in order")


@corpus_app.command()
def stats(
    paths: Annotated[list[Path], typer.Argument(help="Labelled files; a folder with train, validation and test.")],
    press: Press = None,
) -> None:
    """Describe labelled articles."""
    from rich.table import Table

    from train.corpus import fingerprint, read_each, statistics

    table = Table()
    columns = []
    for path, articles in read_each(_split_files(paths), press).items():
        columns.append((path.name, {**statistics(articles), "fingerprint": fingerprint(articles)[:12]}))
    table.add_column("")
    for name, _ in columns:
        table.add_column(name)
    for key in dict.fromkeys(key for _, values in columns for key in values):
        table.add_row(key, *(_cell(values.get(key, "")) for _, values in columns))
    out.print(table)


@corpus_app.command()
def agreement(
    paths: Annotated[list[Path], typer.Argument(help="Files of labelled rows; a folder of them.")],
) -> None:
    """How far the two annotations of the same sentences agree (Cohen's kappa)."""
    from train import agreement as agreeing

    out.print(agreeing.agreement_table(agreeing.agreement(*agreeing.read_annotations(_split_files(paths)))))


@corpus_app.command()
def join(
    labels: Annotated[list[Path], typer.Argument(help="Stand-off files, e.g. data/press/train.jsonl.")],
    press: Press = None,
    partial: Annotated[bool, typer.Option("--partial", help="Keep the articles that are found.")] = False,
    output: Annotated[Path | None, typer.Option(help="A folder for the joined rows (never commit them).")] = None,
) -> None:
    """Join stand-off labels with their text, from any copy of it; say how many sentences were found."""
    from train.atomic import refuse_file, whole_file, writing
    from train.corpus import join_files, to_rows

    if output:
        refuse_file(output)
    targets = [(output / path.name).resolve() for path in labels] if output else []
    if len(set(targets)) < len(targets) or set(targets) & {path.resolve() for path in labels}:
        raise SelonError(f"{output}: would hold two files of one name, or replace the labels; name another folder")
    for path, joined in join_files(labels, press, partial).items():
        share = joined.found / joined.wanted
        found = f"{joined.found} of {joined.wanted} sentences found ({share:.1%}), {len(joined.articles)} articles"
        out.print(f"{path}: {found}")
        if output:
            with writing(output):
                output.mkdir(parents=True, exist_ok=True)
            with whole_file(output / path.name) as file:
                for row in to_rows(joined.articles):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _form_of(output: Path | None, parts: bool, excel_fr: bool) -> Form:
    """Return the format that an output's name asks for: parts in a folder are JSONL unless told otherwise."""
    if output is None or parts:
        return Form.csv if excel_fr else Form.jsonl if parts else Form.table
    known = {".jsonl": Form.jsonl, ".ndjson": Form.jsonl, ".htm": Form.html}
    known |= {f".{form}": form for form in Form if form is not Form.table}
    if output.suffix.lower() not in known and not excel_fr:
        raise SelonError(f"{output}: its ending names no format; choose one with --format")
    return known.get(output.suffix.lower(), Form.csv)


def _comparison(models: list[str], on: list[str] | None, press: str | None) -> Comparison:
    from train import comparison as comparing
    from train import registry, tracking

    if on == ["cross-validation"]:
        files = []
        for model in models:
            if not model.startswith("runs:/"):
                raise SelonError(f"{model}: --on cross-validation compares runs; give runs:/ID of `--cross-validate`")
            run_id = model.removeprefix("runs:/")
            predictions = tracking.read_artifact(run_id, tracking.PREDICTIONS)
            files.append((tracking.run_name(run_id), model, predictions))
        return comparing.compare(*comparing.from_predictions(files), "cross-validation")
    articles, name = _articles(on, press)
    with err.status(f"{' and '.join(models)} label {name}"):
        found = comparing.contestants([(model, registry.resolve(model)) for model in models], articles, name)
        return comparing.compare(found, articles, name)


def _articles(on: list[str] | None, press: str | None) -> tuple[list[Article], str]:
    from train.config import project_path
    from train.corpus import read_all

    paths = [Path(path).resolve() for path in on] if on else [project_path(path) for path in HELD_OUT]
    # A folder named as a split would take the place of the training's own figures.
    short = [path.is_dir() and path.name not in ("train", "validation", "test") for path in paths]
    names = [path.name if one else f"{path.parent.name}-{path.stem}" for path, one in zip(paths, short, strict=True)]
    return read_all(paths, press), "+".join(names) if on else "held-out"


def _split_files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        tables = sorted(path.glob("*.jsonl")) if path.is_dir() else []
        found += tables or [path]
    return found


def _cell(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    lines = [f"{key} {count}" for key, count in value.items()]
    more = len(lines) - _SHOWN
    return "\n".join(lines[:_SHOWN] + ([f"… {more} more"] if more > 0 else []))


def _print_confusion(table: list[list[int]]) -> None:
    from rich.table import Table

    from train.schema import LABELS

    shown = Table(title="confusion (a row a gold label)")
    for column in ("", *LABELS):
        shown.add_column(column, justify="right")
    for name, row in zip(LABELS, table, strict=True):
        shown.add_row(name, *map(str, row))
    out.print(shown)


def main() -> None:
    """Run the command: exit code 0 done, 1 the work failed, 2 the user's input was wrong, 128 + N for signal N."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Else pydantic looks for plugins in every installed package: a twentieth of the start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows knows no SIGHUP
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or in the background of a script
            signal.signal(number, _stop)
    try:
        app()
    except SelonError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        # What labels and serves can be installed alone.
        if not error.name or error.name.startswith("train"):
            raise
        _refuse(f"this needs {error.name}, which is not installed: install selon[train]")


def _refuse(reason: str) -> NoReturn:
    err.print(f"selon: {reason}", soft_wrap=True)
    sys.exit(2)


def _stop(number: int, frame: Any) -> None:
    """Unwind as after an error, so that the MLflow run ends FAILED and nothing half-written stays."""
    # A launcher may pass on the SIGTERM that its whole group gets anyway; a second Ctrl-C means it.
    signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
    with suppress(OSError):  # the terminal may be gone
        err.print("selon: interrupted")
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
