"""The benchmark's texts, tables and measuring; nothing here is about time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from train import bench, bench_side
from train.bench import Bench, Row
from train.labeller import read_article
from train.labelling.sources import read_source
from train.schema import SelonError

FOUND = Bench(
    [
        Row("selon", "petit fp32", True, 0.6, "s", 150.4),
        Row("pipeline", "base fp32", False, 9.04, "sentences/s", 1200),
    ],
    {"start": 12.34},
    {"sentences": 20, "cores": 2},
)


def test_texts_are_whole_articles_up_to_a_number(project: Path) -> None:
    articles = bench.read_texts(Path("data/corpus/test.jsonl"), 20)
    assert [len(article) for article in articles] == [8, 8, 4]
    assert articles[0].title
    singles = [one for article in articles for one in bench._singly(article)]
    assert len(singles) == 20
    assert all(one.sentence_texts == (one.text,) for one in singles)
    (project / "page.txt").write_text("Oui. Non. Peut-être.", encoding="utf-8")
    assert [len(article) for article in bench.read_texts(project / "page.txt", 2)] == [2]
    (project / "empty.jsonl").write_text('{"text": ""}\n', encoding="utf-8")
    with pytest.raises(SelonError, match="no sentences to measure on"):
        bench.read_texts(project / "empty.jsonl", 2)


def test_of_an_archive_no_more_is_read_than_it_takes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "archive.jsonl").write_text('{"text": "Oui. Non.", "label": "sport"}\n' * 50, encoding="utf-8")
    seen: list[object] = []
    monkeypatch.setattr(bench, "read_source", lambda *read: seen.append(read) or read_source(*read))
    assert [len(article) for article in bench.read_texts(project / "archive.jsonl", 3)] == [2, 1]
    assert len(seen) <= 3


def test_why_there_is_nothing_to_measure_on_is_said(project: Path) -> None:
    path = project / "x.jsonl"
    for row, said in (
        ('{"article_id": "a", "sentence": 0, "text": "Oui.", "label": "clam"}', "label .* is not one of claim"),
        (
            '{"article_id": "orange_7", "sha256": "a", "sentences": '
            '[{"start": 0, "end": 4, "label": "claim", "n": 4, "sha": "b"}]}',
            "set SELON_PRESS",
        ),
        ('{"body": "Oui."}', "there is no column text, only body"),
    ):
        path.write_text(row + "\n", encoding="utf-8")
        with pytest.raises(SelonError, match=said):
            bench.read_texts(path, 2)
    with pytest.raises(SelonError, match=r"none\.jsonl: cannot be read"):
        bench.read_texts(project / "none.jsonl", 2)


def test_each_row_says_whether_context_was_in_the_input() -> None:
    said = bench.to_markdown(FOUND)
    assert "| selon | petit fp32 | yes | 0.60 s | 150 MiB |" in said
    assert "| pipeline | base fp32 | no | 9.0 sentences/s | 1200 MiB |" in said
    assert "- start: **12.3×**" in said
    assert json.loads(bench.to_json(FOUND))["rows"][1]["value"] == 9.04
    console = Console(width=120)
    with console.capture() as captured:
        console.print(bench.to_table(FOUND))
    assert "start: 12.3x" in captured.get()


def test_a_process_is_measured_by_itself() -> None:
    big = "x = bytearray(200 << 20); x[::4096] = bytes(len(x[::4096])); print('a'); print('b')"
    small = bench._measured([sys.executable, "-c", "print('a')"])
    seconds, printed, memory = bench._measured([sys.executable, "-c", big])
    assert printed == "a\nb\n"
    assert seconds > 0
    assert 150 < memory - small[2] < 400
    with pytest.raises(RuntimeError, match="exit code 3"):
        bench._measured([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize(
    "side", [bench_side.finetune, pytest.param(bench_side.frozen, marks=pytest.mark.slow), bench_side.trainer]
)
def test_a_sentence_longer_than_the_input_is_trained_on(
    side: Callable[[Path, Path], None],
    encoders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (("_TOKENS", 48), ("_STEPS", 6), ("_BATCH", 4), ("_FROZEN", 1)):
        monkeypatch.setattr(bench_side, name, value)
    text = "Le maire dément. " + "usine " * 200 + "ferme. Le pont est rouge. La loi passe."
    texts = tmp_path / "articles.json"
    texts.write_text(json.dumps([bench._plain(read_article(text))]), encoding="utf-8")
    side(encoders / "camembert", texts)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["sentences"] >= 20
    assert said["seconds"] > 0
