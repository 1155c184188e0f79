"""The flow of the command: what is refused, what goes on, and what is said as it happens."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from train.labeller import Labeller
from train.labelling import command
from train.labelling.archive import Archive
from train.labelling.choices import Form, Kind
from train.labelling.inputs import open_inputs
from train.labelling.shards import label_items
from train.labelling.sources import Reading, Reject
from train.labelling.writers import Output
from train.schema import Article, Prediction, SelonError


def _request(
    *paths: Path, target: Path | None = None, form: Form = Form.jsonl, kind: Kind | None = None
) -> command.Request:
    with open_inputs([str(path) for path in paths], kind) as inputs:
        return command.Request(inputs, Reading(), Output(form), target)


class _Plain(Labeller):
    """A labeller without a model: all is background, and articles that hold ``bad`` make it fail."""

    def __init__(self, bad: str = "") -> None:
        self.bundle, self.sha256, self.bad = cast(Any, SimpleNamespace(name="plain")), "ab" * 32, bad
        self.classifier = cast(Any, SimpleNamespace(show_inputs=lambda article: article.sentence_texts))

    def predict(self, articles: Sequence[Article]) -> list[list[Prediction]]:
        if self.bad and any(self.bad in article.text for article in articles):
            raise RuntimeError
        return [[Prediction("background", (0.1, 0.1, 0.1, 0.7), False, False)] * len(article) for article in articles]

    def provenance(self) -> dict[str, Any]:
        return {"selon": "1", "model": "plain", "model_sha256": self.sha256, "precision": "fp32", "review_below": 0.5}


@pytest.fixture
def said() -> Console:
    """A console that remembers."""
    return Console(file=io.StringIO(), width=200)


def _lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of two articles and a row that is none, between them."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "Le maire est venu."}\n{\n{"text": "Selon lui, il pleut. Il vente."}\n')
    return path


def test_inputs_in_another_order_or_read_otherwise_are_another_input(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b"  # the second's kind is said by --from
    first.write_text("text\nOui.\n")
    second.write_text("text\nNon.\n")
    target, output = tmp_path / "out", Output(Form.jsonl)
    for paths, kind in (((first, second), Kind.csv), ((second, first), Kind.csv), ((first, second), Kind.text)):
        identity = _request(*paths, kind=kind).provenance(_Plain())
        if not target.exists():
            assert [(one["name"], one["kind"]) for one in identity["inputs"]] == [("a.csv", "csv"), ("b", "csv")]
            with pytest.raises(KeyboardInterrupt), Archive.open(target, output, identity, True):
                raise KeyboardInterrupt
            with Archive.open(target, output, identity, True) as archive:
                assert not archive.complete
        else:
            with (
                pytest.raises(SelonError, match="was begun from another input"),
                Archive.open(target, output, identity, True),
            ):
                pytest.fail("opened")


def test_a_folder_read_otherwise_is_another_input(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nOui.\n")
    (tmp_path / "b").write_text("text\nNon.\n")
    said = [_request(tmp_path, kind=kind).provenance(_Plain())["inputs"][0] for kind in (None, Kind.csv, Kind.text)]
    assert [one["kind"] for one in said] == ["folder", "folder, others as csv", "folder, others as text"]


def test_of_several_files_one_that_cannot_be_read_is_skipped(tmp_path: Path, said: Console) -> None:
    bad, good, target = tmp_path / "bad.txt", tmp_path / "good.txt", tmp_path / "out.jsonl"
    bad.write_text("")
    good.write_text("Oui.")
    with pytest.raises(SelonError, match=r"bad\.txt: there is no text in it"):
        _request(bad).check()
    request = _request(bad, good, target=target)
    request.check()
    for last in ("1 article, 1 sentence, 1 skipped", "1 could not be labelled"):
        assert command.label(request, _Plain(), said, said) == 1
        assert _lines(said)[-1].startswith(last)
    assert f"{target}: was finished before; nothing to do" in _lines(said)
    assert "bad.txt" in (tmp_path / "out.jsonl.rejects.jsonl").read_text()


def test_files_that_are_passed_over_are_counted(rows: Path, said: Console) -> None:
    for name in ("README", "x.pdf", ".DS_Store"):
        (rows.parent / name).write_text("?")
    assert command.label(_request(rows.parent), _Plain(), said, said) == 1
    assert _lines(said)[-1].endswith(" sentences/s, 2 files of unknown kind passed over")
    assert command.dry_run(_request(rows.parent), _Plain()).endswith("2 files of unknown kind passed over")


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.jsonl.rejects.jsonl"):
        (tmp_path / name).write_text('{"text": "Oui."}')
        with pytest.raises(SelonError, match=rf"{name}: is read, and --output would overwrite it"):
            _request(tmp_path / name, target=tmp_path / "." / "x.jsonl").check()
    (tmp_path / "link.jsonl").symlink_to("x.jsonl")
    with pytest.raises(SelonError, match="would overwrite it"):
        _request(tmp_path / "link.jsonl", target=tmp_path / "x.jsonl").check()
    _request(tmp_path / "x.jsonl", target=tmp_path / "y.jsonl").check()


def test_the_input_is_shown_row_by_row_and_what_is_skipped_is_said(
    rows: Path, said: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    monkeypatch.setattr("builtins.print", lambda line: shown.append(len(_lines(said))))
    assert command.show_inputs(_request(rows), _Plain(), said) == 1
    assert shown == [0, 1, 1]  # how much was said before each sentence
    assert _lines(said)[0].startswith("selon: in.jsonl:2: no valid JSON")


def test_what_is_skipped_is_said_at_once(rows: Path, said: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.labelling.shards._TOGETHER", 1)
    assert command.label(_request(rows, form=Form.table), _Plain(), said, said) == 1
    (place,) = (place for place, line in enumerate(_lines(said)) if line.startswith("selon: in.jsonl:2"))
    assert any("in:1" in line for line in _lines(said)[:place])
    assert any("in:3" in line for line in _lines(said)[place:])


def test_nothing_that_is_read_commands_the_terminal(said: Console, tmp_path: Path) -> None:
    path = tmp_path / "i\x1bn.jsonl"
    path.write_text(json.dumps({"title": "\x1b[2J", "text": "Oui\x9b2J, \x1b]0;non.\x07"}) + "\n{\n")
    assert command.label(_request(path, form=Form.table), _Plain(), said, said) == 1
    assert not {"\x1b", "\x9b", "\x07"} & set("".join(_lines(said)))
    assert "Oui\ufffd2J, \ufffd]0;non.\ufffd" in "".join(_lines(said))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("form", [Form.table, Form.csv])
def test_standard_output_on_a_full_disk_is_told(
    form: Form, rows: Path, said: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:  # to close it would raise again, if anything were still held back
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SelonError, match="standard output: cannot be written: No space left on device; make room"):
            command.label(_request(rows, form=form), _Plain(), Console(file=full), said)


def test_a_dry_run_knows_whether_it_saw_everything(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command.dry_run(_request(rows), _Plain()).startswith("2 articles, 3 sentences, 1 to be skipped")
    monkeypatch.setattr(command, "_COUNTING", 0.0)
    assert command.dry_run(_request(rows), _Plain()).startswith("about ")


@pytest.mark.parametrize("together", [1, 512])
def test_an_article_on_which_the_model_fails_is_skipped(
    together: int, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.labelling.shards._TOGETHER", together)
    found = list(label_items(_Plain("pleut"), _request(rows).items(), Reading()))
    assert found[2] == Reject("in.jsonl:3", "the model failed on it (RuntimeError)")
    assert not isinstance(found[0], Reject)
    with pytest.raises(RuntimeError):  # it is not the articles
        list(label_items(_Plain("e"), _request(rows).items(), Reading()))
