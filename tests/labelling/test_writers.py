"""Every form of output: what French Excel opens, what Parquet carries, what a page shows and escapes."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from train.labelling import writers
from train.labelling.choices import Form
from train.labelling.rows import COLUMNS, Labelled
from train.labelling.sources import Source
from train.labelling.writers import Output
from train.schema import Article, Label, Prediction, SelonError
from train.segmentation import segment

SAID: dict[str, Any] = {"selon": "1", "model": "<b>", "model_sha256": "ab" * 32, "precision": "fp32"}
SAID |= {"review_below": 0.6}


def _labelled(text: str, *labels: Label, title: str = "", **kept: Any) -> Labelled:
    article = Article("x", text, segment(text), title=title)
    given = labels or ("background",) * len(article)
    return Labelled(
        Source("x", text, title, kept),
        article,
        [Prediction(label, (0.5, 0.25, 0.125, 0.125), label == "denial", False) for label in given],
    )


def _whole(labelled: Labelled, output: Output) -> bytes:
    return b"".join(writers.stream(iter([labelled]), output, SAID))


def test_columns_kept_and_left_out() -> None:
    labelled = _labelled("Oui. Non.", date="2020", list=[1, "é"])
    output = Output(Form.jsonl, ("date", "list"), text=False)
    rows = [json.loads(line) for line in _whole(labelled, output).splitlines()]
    assert [tuple(row) for row in rows] == [(*(c for c in COLUMNS if c != "text"), "date", "list")] * 2
    assert rows[1]["list"] == [1, "é"]
    table = list(csv.DictReader(io.StringIO(_whole(labelled, Output(Form.csv, ("list",))).decode())))
    assert table[0]["list"] == '[1, "é"]'


def test_csv_for_a_french_excel() -> None:
    labelled = _labelled('Il a dit : « Oui ; "non" ».\n=1+1\n- Non.', "claim", "denial", "claim", n=1.5, f="@x")
    raw = _whole(labelled, Output(Form.csv, ("n", "f"), excel_fr=True))
    assert raw.startswith(b"\xef\xbb\xbfarticle_id;sentence;")
    assert raw.count(b"\r\n") == raw.count(b"\n") == 4
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert [row["text"] for row in rows] == ['Il a dit : « Oui ; "non" ».', "'=1+1", "'- Non."]
    assert (rows[0]["confidence"], rows[0]["p_claim"], rows[0]["n"], rows[0]["f"]) == ("0,5", "0,5", "1,5", "'@x")
    assert [row["review"] for row in rows] == ["FAUX", "VRAI", "FAUX"]


def test_parquet_carries_its_provenance(tmp_path: Path) -> None:
    output = Output(Form.parquet, ("date",))
    parts = []
    for number, (text, date) in enumerate((("Oui. Non.", "2020"), ("", None), ("Peut-être.", 3))):
        parts.append(tmp_path / f"{number}.parquet")
        parts[-1].write_bytes(writers.body([_labelled(text, date=date)] if text else [], output, SAID))
    with (tmp_path / "all.parquet").open("wb") as file:
        writers.join(parts, output, SAID, file)
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.column_names == [*COLUMNS, "date"]
    assert table["text"].to_pylist() == ["Oui.", "Non.", "Peut-être."]
    assert table["date"].to_pylist() == ["2020", "2020", "3"]
    assert table["p_claim"].to_pylist() == [0.5] * 3
    assert json.loads(table.schema.metadata[b"selon"]) == SAID


class _Page(HTMLParser):
    """The sentences of a page, their classes, and every tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "span":
            self.classes.append(dict(attrs)["class"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_annotated_page() -> None:
    labelled = _labelled("Le maire dément. Selon lui, <non>.\nFin.", "denial", "claim", "background", title="A & <b>B")
    page = _whole(labelled, Output(Form.html)).decode()
    found = _Page(page.partition("</p>")[2])  # behind the legend
    assert found.classes == ["s denial", "s claim", "s background"]
    assert page.count("<p>") == 2
    assert "A & <b>B" in found.text
    assert "Selon lui, <non>.aff" in found.text
    assert "1 affirmation, 1 démenti, 0 attribution, 1 contexte, 1 à relire" in found.text
    assert 'title="démenti 0,50 · à relire"' in page
    assert "@media print" in page
    assert "<script" not in page
    assert "http" not in page, "it stands alone"
    assert "modèle <b>" in found.text


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@example("a\rb")
def test_no_text_becomes_markup_or_breaks_a_row(text: str) -> None:
    labelled = _labelled(text, title=text, kept=text)
    page = _Page(_whole(labelled, Output(Form.html)).decode())
    assert set(page.tags) <= set("html head meta title style body p span sup b br article h1 footer".split())
    assert len(page.classes) == 4 + len(labelled.article)
    rows = _whole(labelled, Output(Form.jsonl, ("kept",))).decode().split("\n")
    assert len(rows) == len(labelled.article) + 1
    plain = list(csv.reader(io.StringIO(_whole(labelled, Output(Form.csv, ("kept",))).decode(), newline="")))
    assert [row[4] for row in plain[1:]] == list(labelled.article.sentence_texts)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"form": Form.csv, "keep": ("label",)}, "--keep label: selon writes a column of that name"),
        ({"form": Form.jsonl, "excel_fr": True}, "--excel-fr writes CSV, not jsonl"),
        ({"form": Form.html, "text": False}, "--no-text: an annotated page"),
        ({"form": Form.table, "keep": ("date",)}, "--keep is for JSONL, CSV and Parquet, not table: choose another"),
        ({"form": Form.html, "keep": ("date",)}, "--keep is for JSONL, CSV and Parquet, not html: choose another"),
        ({"form": Form.table, "text": False}, "choose a --format"),
    ],
)
def test_forms_that_cannot_be(arguments: Any, said: str) -> None:
    with pytest.raises(SelonError, match=said):
        Output(**arguments)
