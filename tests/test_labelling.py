"""Articles in, labelled sentences out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from train import tracking
from train.labeller import Labeller
from train.labelling import COLUMNS, print_article, provenance, read_sources, rows_of, write_rows
from train.schema import LABELS, SelonError

SEED = Path(__file__).parents[1] / "seeds/000_67de78d66b7b359b.txt"
ISSUE_COLUMNS = (
    "article_id sentence start end text label confidence review p_claim p_denial p_attribution p_background truncated"
).split()


@pytest.fixture
def labeller(trained: Path) -> Labeller:
    return Labeller.open(tracking.resolve("models:/selon/2"))


def test_the_seed_article_in_both_forms(labeller: Labeller) -> None:
    source = read_sources([str(SEED)])[0]
    with SEED.open(encoding="utf-8", newline="") as file:
        raw = file.read()
    rows = list(rows_of(*labeller.label(source.text, article_id=source.id)))
    jsonl, table = io.StringIO(), io.StringIO()
    write_rows(iter(rows), "jsonl", jsonl)
    write_rows(iter(rows), "csv", table)
    from_json = [json.loads(line) for line in jsonl.getvalue().split("\n")[:-1]]
    from_csv = list(csv.DictReader(io.StringIO(table.getvalue(), newline="")))
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


def test_provenance_has_the_hash_of_the_file(labeller: Labeller) -> None:
    said = provenance(labeller, read_sources([str(SEED)]))
    assert said["inputs"] == {SEED.stem: hashlib.sha256(SEED.read_bytes()).hexdigest()}
    assert {"selon", "model", "model_sha256", "review_below"} < set(said)


def test_offsets_hold_for_any_text(tmp_path: Path, labeller: Labeller) -> None:
    text = "E\u0301mile a dit\u00a0:\r\n« Non 🙂. »\r\nLe café 𝒳 est fermé. Fin\u2028Suite."
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    source = read_sources([str(path)])[0]
    assert source.text == text
    rows = list(rows_of(*labeller.label(source.text)))
    assert len(rows) > 2
    assert all(text[row["start"] : row["end"]] == row["text"] for row in rows)
    out = io.StringIO()
    write_rows(iter(rows), "jsonl", out)
    assert len(out.getvalue().split("\n")) == len(rows) + 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Le café est fermé.".encode())))
    source = read_sources(["-"])[0]
    assert (source.id, source.text) == ("stdin", "Le café est fermé.")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "a.txt").write_text("Bonjour.")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("Bonsoir.")
    for names, said in (
        (["nope.txt"], "nope.txt: cannot be read: No such file"),
        (["other"], "other: cannot be read: Is a directory"),
        (["a.txt", "latin.txt"], "latin.txt: not UTF-8 at byte 3"),
        (["empty.txt"], "empty.txt: there is no text in it"),
        (["a.txt", "other/a.txt"], "another input is called a too"),
    ):
        with pytest.raises(SelonError, match=said):
            read_sources([str(tmp_path / name) for name in names])


def test_the_table_takes_brackets_for_text(labeller: Labeller) -> None:
    article, predictions = labeller.label("Le [bold]maire[/bold] dément.", title="[red]Titre[/red]")
    console = Console(width=100)
    with console.capture() as captured:
        print_article(console, article, predictions)
    assert "Le [bold]maire[/bold] dément." in captured.get()
    assert "[red]Titre[/red]" in captured.get()
    assert predictions[0].label in captured.get()
