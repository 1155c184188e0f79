"""Missing columns are told before anything is labelled."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.labelling import columns
from train.labelling.columns import check_columns
from train.labelling.inputs import open_inputs
from train.labelling.sources import Reading, row_of
from train.schema import SelonError


def _check(*paths: Path, **reading: str | tuple[str, ...]) -> None:
    with open_inputs([str(path) for path in paths]) as inputs:
        check_columns(inputs, Reading(**reading))  # type: ignore[arg-type]


def _filled(folder: Path) -> Path:
    """Return a folder with a table of each kind, bad rows, and what has no columns."""
    folder.mkdir()
    (folder / "a.txt").write_text("Oui.")
    (folder / "b.csv").write_text("text,date\nOui.,2020\n")
    pq.write_table(pa.table({"text": ["Oui."], "date": ["2020"]}), folder / "c.parquet")
    (folder / "d.jsonl").write_text('{\n{"version": 1}\n{"text": "Oui."}\n{"text": "Non.", "date": null}\n')
    return folder


def test_a_column_to_keep_is_looked_for_everywhere(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "f")
    _check(folder, keep=("date",))
    _check(*folder.iterdir(), keep=("date",))
    for name in ("b.csv", "c.parquet", "d.jsonl"):
        said = f"{name}: there is no column dat, only text, date"
        with pytest.raises(SelonError, match=said):
            _check(folder / name, keep=("dat",))
        for other in {"b.csv", "c.parquet", "d.jsonl"} - {name}:
            (folder / other).rename(tmp_path / other)
        with pytest.raises(SelonError, match=f"f/{said}"):
            _check(folder, keep=("dat",))
        for other in {"b.csv", "c.parquet", "d.jsonl"} - {name}:
            (tmp_path / other).rename(folder / other)


def test_what_a_folder_cannot_give_is_left_to_its_rows(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "f")
    (folder / "empty.csv").write_text("")
    (folder / "index.csv").write_text("file,bytes\na,4\n")
    (folder / "cut.jsonl.gz").write_bytes(b"nope")
    _check(folder, keep=("date",))
    with pytest.raises(SelonError, match=r"index\.csv: there is no column text, only file, bytes"):
        _check(folder / "index.csv", folder / "a.txt")
    with pytest.raises(SelonError, match=r"c\.parquet: there is no column corps, only text, date"):
        _check(folder / "c.parquet", text_column="corps")


def test_of_jsonl_the_first_rows_show_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{\n{"version": 1}\n' + '{"no": 1, "body": "Oui."}\n' * 300)
    for reading, said in (
        ({}, "there is no column text, only version, no, body"),
        ({"text_column": "corps", "keep": ("no",)}, "there is no column corps, only version, no, body"),
        ({"text_column": "body", "id_column": "nr"}, "there is no column nr, only no, body"),
    ):
        with pytest.raises(SelonError, match=rf"a\.jsonl: {said}$"):
            _check(path, **reading)  # type: ignore[arg-type]
        _check(tmp_path, **reading)  # type: ignore[arg-type]
    _check(path, text_column="body", id_column="no", title_column="titre")
    path.write_text("{\n" * 300 + '{"text": "Oui."}\n')
    _check(path)  # they do not say


def test_no_more_rows_are_read_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Oui."}\n{"text": "Oui.", "date": null}\n{"text": "Oui."}\n')
    looked_at: list[object] = []
    monkeypatch.setattr(columns, "row_of", lambda item: looked_at.append(item) or row_of(item))
    _check(tmp_path / "a.jsonl", keep=("date",))
    assert len(looked_at) == 2
