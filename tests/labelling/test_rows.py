"""A labelled article as rows and as a table in the terminal."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from train.labeller import Labeller
from train.labelling import terminal, writers
from train.labelling.choices import Form
from train.labelling.rows import COLUMNS, Labelled, rows_of
from train.labelling.sources import Source
from train.labelling.writers import Output
from train.schema import LABELS

SEED = Path(__file__).parents[2] / "seeds/000_67de78d66b7b359b.txt"
ISSUE_COLUMNS = (
    "article_id sentence start end text label confidence review p_claim p_denial p_attribution p_background truncated"
).split()


def _labelled(labeller: Labeller, text: str, title: str = "", article_id: str = "x") -> Labelled:
    return Labelled(Source(article_id, text, title), *labeller.label(text, title, article_id))


def test_the_seed_article_in_both_forms(labeller: Labeller) -> None:
    with SEED.open(encoding="utf-8", newline="") as file:
        raw = file.read()
    labelled = _labelled(labeller, raw, article_id=SEED.stem)
    table = Output(Form.csv)
    from_json = [json.loads(line) for line in writers.body([labelled], Output(Form.jsonl), {}).splitlines()]
    text = (writers.head(table) + writers.body([labelled], table, {})).decode()
    from_csv = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(COLUMNS) == ISSUE_COLUMNS == list(from_json[0]) == list(from_csv[0])
    assert len(from_json) == len(from_csv) > 20
    for place, (row, cells) in enumerate(zip(from_json, from_csv, strict=True)):
        assert raw[row["start"] : row["end"]] == row["text"] == cells["text"]
        assert row["sentence"] == place == int(cells["sentence"])
        assert row["article_id"] == "000_67de78d66b7b359b"
        assert row["label"] in LABELS
        assert row["confidence"] == max(row[f"p_{label}"] for label in LABELS) == row[f"p_{row['label']}"]
        assert cells["review"] == str(row["review"]).lower()
        assert cells["truncated"] in {"true", "false"}


def test_offsets_hold_for_any_text(labeller: Labeller) -> None:
    text = "E\u0301mile a dit\u00a0:\r\n« Non 🙂. »\r\nLe café 𝒳 est fermé. Fin\u2028Suite."
    labelled = _labelled(labeller, text)
    rows = list(rows_of(labelled))
    assert len(rows) > 2
    assert all(text[row["start"] : row["end"]] == row["text"] for row in rows)
    assert len(writers.body([labelled], Output(Form.jsonl), {}).split(b"\n")) == len(rows) + 1


def test_the_table_takes_brackets_for_text(labeller: Labeller) -> None:
    labelled = _labelled(labeller, "Le [bold]maire[/bold] dément.", title="[red]Titre[/red]")
    console = Console(width=100)
    with console.capture() as captured:
        console.print(terminal.table(labelled))
    assert "Le [bold]maire[/bold] dément." in captured.get()
    assert "[red]Titre[/red]" in captured.get()
    assert labelled.predictions[0].label in captured.get()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18720, "5 h 12 min"), (273600, "3 d 4 h")],
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert terminal.duration(seconds) == said
