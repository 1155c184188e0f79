"""Files, folders and tables, cut into items and made into articles; what cannot be read says why."""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train.labelling import tables
from train.labelling.choices import Kind
from train.labelling.columns import check_columns
from train.labelling.inputs import items, open_inputs
from train.labelling.items import LONGEST
from train.labelling.sources import Reading, Reject, Source, read_source
from train.schema import SelonError
from train.segmentation import VISIBLE

PAGE = """<!doctype html><html lang="fr"><head><title>Le maire dément | Le Journal</title>
<meta property="og:title" content="Le maire dément"><meta name="author" content="Jeanne Petit"></head>
<body><nav><a href="/">Accueil</a> <a href="/sport">Sport</a></nav>
<article><h1>Le maire dément</h1>
<p>Le maire de Vernoux a démenti mardi toute intention de fermer l'école du village, selon la préfecture.</p>
<p>« C'est une honte », a-t-il dit devant une centaine de parents réunis dans la cour de l'école ce matin.</p>
<p>L'école accueille soixante élèves &amp; trois institutrices depuis la rentrée de septembre dernier.</p></article>
<aside>Abonnez-vous à notre lettre !</aside><footer>Mentions légales</footer></body></html>"""


def read(*paths: Path | str, reading: Reading | None = None, kind: Kind | None = None) -> list[Source | Reject]:
    reading = reading or Reading()
    with open_inputs([str(path) for path in paths], kind) as found:
        return [read_source(item, reading) for item in items(found, reading.read)]


def ids(found: Sequence[Source | Reject]) -> list[str]:
    return [one.id for one in found if isinstance(one, Source)]


def reasons(found: Sequence[Source | Reject]) -> dict[str, str]:
    return {one.place: one.reason for one in found if isinstance(one, Reject)}


def test_a_text_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffE\u0301mile.\r\nOui.".encode())
    assert read(path) == [Source("a", "E\u0301mile.\r\nOui.")]
    with open_inputs([str(path)]) as found:
        assert found[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (found[0].name, found[0].kind) == ("a.txt", Kind.text)
    path.write_text("\u200b\n\xad")  # nobody sees a sentence there
    assert reasons(read(path)) == {"a.txt": "there is no text in it"}


def test_standard_input_and_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Le café est fermé.".encode())))
    assert read("-") == [Source("stdin", "Le café est fermé.")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": "a", "text": "Oui."}\n')))
    assert ids(read("-", kind=Kind.jsonl)) == ["a"]
    end, begin = os.pipe()
    os.write(begin, b"Bonjour.")
    os.close(begin)
    assert [one.text for one in read(f"/dev/fd/{end}") if isinstance(one, Source)] == ["Bonjour."]
    os.close(end)


def test_a_folder_is_read_in_order_with_telling_ids(tmp_path: Path) -> None:
    for name in ("b/z.txt", "b/a.txt", "b/a.html", "a.txt", ".hidden/x.txt", ".y.txt", "notes.md", "b/t.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(PAGE if path.suffix == ".html" else '{"text": "Oui."}' if ".jsonl" in name else "Bonjour.")
    found = read(tmp_path)
    assert ids(found) == ["a", "b/a.html", "b/a.txt", "b/t:1", "b/z"]
    with open_inputs([str(tmp_path)]) as opened:
        before = opened[0].sha256
    (tmp_path / "b/z.txt").write_text("Bonsoir.")
    with open_inputs([str(tmp_path)]) as after:
        assert after[0].sha256 != before
        places = [item.position for item in items(after)]
        assert places == sorted(places)
        assert places[-1] == after[0].size


def test_linked_folders_are_read_each_once(tmp_path: Path) -> None:
    for name in ("elsewhere/a.txt", "archive/b.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("Oui.")
    for name, target in (("2023", "elsewhere"), ("again", "elsewhere"), ("round", "archive")):
        (tmp_path / "archive" / name).symlink_to(tmp_path / target)
    assert ids(read(tmp_path / "archive")) == ["b", "2023/a"]


def test_the_article_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    found = read(tmp_path / "page.html", reading=Reading(keep=("author", "nope")))[0]
    assert isinstance(found, Source)
    assert found.title == "Le maire dément"
    assert found.text.split("\n")[0].startswith("Le maire de Vernoux a démenti")
    assert "soixante élèves & trois" in found.text
    for noise in ("Accueil", "Abonnez", "Mentions"):
        assert noise not in found.text
    assert found.kept == {"author": "Jeanne Petit", "nope": None}
    (tmp_path / "none.html").write_text("<html><body></body></html>")
    assert reasons(read(tmp_path / "none.html")) == {"none.html": "no article found in the page"}


@pytest.mark.parametrize(
    ("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_tables_packed_or_not(ending: str, pack: Any, tmp_path: Path) -> None:
    rows = [{"id": 7, "text": "Oui.", "title": "T"}, {"article_id": "b", "text": "Non.\nSi."}, {"text": "Peut-être."}]
    jsonl = "\ufeff" + "\n\n".join(json.dumps(row) for row in rows)
    (tmp_path / f"t.jsonl{ending}").write_bytes(pack(jsonl.encode()))
    found = read(tmp_path / f"t.jsonl{ending}")
    assert found == [Source("7", "Oui.", "T"), Source("b", "Non.\nSi."), Source("t:5", "Peut-être.")]
    (tmp_path / f"t.csv{ending}").write_bytes(pack('\ufeffid;text\r\n7;"Oui; et\r\nnon."\r\n8;Non.\r\n'.encode()))
    assert read(tmp_path / f"t.csv{ending}") == [Source("7", "Oui; et\r\nnon."), Source("8", "Non.")]


def test_parquet_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    days = pa.array([1, 2, None], pa.date32())
    pq.write_table(pa.table({"corps": ["Oui.", None, "Non."], "n": [1, 2, 3], "jour": days}), path)
    found = read(path, reading=Reading("corps", "n", keep=("jour",)))
    assert found == [
        Source("1", "Oui.", kept={"jour": "1970-01-02"}),
        Reject("t.parquet:2", "there is no text in it"),
        Source("3", "Non.", kept={"jour": None}),
    ]


def test_bad_rows_are_named_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST_BYTES", 200)
    lines = [
        b'{"id": 1, "text": "Oui."}',
        b"{",
        b"[1]",
        b'{"id": 2}',
        b'{"id": 3, "text": null}',
        b'{"id": 4, "text": 4}',
        b'{"id": [5], "text": "Oui."}',
        b'{"id": 6, "text": "\\ud800"}',
        b'{"id": 7, "text": "caf\xe9"}',
        b'{"id": 8, "text": "' + b"a" * 500 + b'"}',
        b'{"id": Infinity, "text": "Oui."}',
        b"[" * 199,
        b'{"id": 10, "text": "Fin."}',
    ]
    (tmp_path / "t.jsonl").write_bytes(b"\n".join(lines))
    found = read(tmp_path / "t.jsonl")
    assert ids(found) == ["1", "10"]
    said = reasons(found)
    assert list(said) == [f"t.jsonl:{number}" for number in range(2, 13)]
    for place, part in (
        (2, "no valid JSON"),
        (3, "must be a JSON object"),
        (4, "there is no text; --text-column"),
        (5, "there is no text in it"),
        (6, "text is not text"),
        (7, "id is neither"),
        (8, "half a character"),
        (9, "not UTF-8"),
        (10, "more than 200 bytes"),
        (11, "id is neither"),
        (12, "no valid JSON"),
    ):
        assert part in said[f"t.jsonl:{place}"], place


@pytest.mark.parametrize(
    ("header", "column", "row"),
    [
        ("sep=;\r\nid;text\r\n", "text", 'a;"Oui, oui."\r\n'),
        ("SEP=^\nid^text\n", "text", "a^Oui, oui.\n"),
        ("id;text;;\n", "text", "a;Oui, oui.;;\n"),
        ("Date;id;text;Date\n", "text", "2020;a;Oui, oui.;2021\n"),
        ('"id";"Le\ntexte, ""sans""\ntitre"\n', 'Le\ntexte, "sans"\ntitre', "a;Oui, oui.\n"),
        ('"Titre; chapeau; lieu",id,text\n', "text", 'b,a,"Oui, oui."\n'),
        ('id;taille 5";text\n', "text", 'a;1,2,3;"Oui, oui."\n'),
    ],
)
def test_headers_as_excel_writes_them(header: str, column: str, row: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(header + row + "\n" + row.replace("a", ""), newline="")
    reading = Reading(column)
    with open_inputs([str(tmp_path / "t.csv")]) as inputs:
        check_columns(inputs, reading)
    second = f"t:{header.count(chr(10)) + 3}"  # the id of a row is its line
    assert read(tmp_path / "t.csv", reading=reading) == [Source("a", "Oui, oui."), Source(second, "Oui, oui.")]


def test_bad_cells_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("id,text\n1,Été.\n2,a,b\n3\n\n,Sans nom.\n4,caf".encode() + b"\xe9\n5,Fin.\n")
    found = read(tmp_path / "t.csv")
    assert ids(found) == ["1", "t:6", "5"]
    assert list(reasons(found)) == ["t.csv:3", "t.csv:4", "t.csv:7"]
    assert ids(read(tmp_path / "t.csv", reading=Reading(id_column="id"))) == ["1", "5"]


def test_a_table_of_another_encoding_is_refused_whole(tmp_path: Path) -> None:
    """Else the rows with accents would be rejected, and only those."""
    for encoding in ("windows-1252", "utf-16"):
        (tmp_path / "t.csv").write_bytes("id;text\n1;Il a plu.\n2;Le maire dément.\n".encode(encoding))
        said = pytest.raises(SelonError, match=rf"t\.csv: not UTF-8; save it again .*iconv -f {encoding.upper()} ")
        with open_inputs([str(tmp_path / "t.csv")], None) as inputs, said:
            check_columns(inputs, Reading())
        found = read(tmp_path)  # a folder is not looked into beforehand
        assert len(found) == 1
        assert "iconv" in reasons(found)[f"{tmp_path.name}/t.csv"]
    (tmp_path / "t.csv").write_bytes("id;text\n1;Été.\n2;caf".encode() + b"\xe9\n")
    with open_inputs([str(tmp_path / "t.csv")], None) as inputs:
        check_columns(inputs, Reading())  # one bad cell stops nothing


def test_nan_is_an_empty_cell_and_a_number_no_headline(tmp_path: Path) -> None:
    rows = '{"id": NaN, "text": "Oui.", "title": NaN}', '{"id": 2.0, "text": "Non.", "title": 3}', '{"text": NaN}'
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    empty = Reject("t.jsonl:3", "there is no text in it")
    assert read(tmp_path / "t.jsonl") == [Source("t:1", "Oui."), Source("2", "Non."), empty]
    found = read(tmp_path / "t.jsonl", reading=Reading(title_column="title"))
    assert found == [Source("t:1", "Oui."), Reject("t.jsonl:2", "title is not text"), empty]
    assert reasons(read(tmp_path / "t.jsonl", reading=Reading(id_column="id")))["t.jsonl:1"] == "id is missing or empty"


def test_a_whole_decimal_is_an_id(tmp_path: Path) -> None:
    ids_ = pa.array([Decimal("7.00"), Decimal("7.50"), Decimal("1" + "0" * 34 + "1"), None], pa.decimal128(38, 2))
    pq.write_table(pa.table({"id": ids_, "text": ["A.", "B.", "C.", "D."]}), tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert ids(found) == ["7", "1" + "0" * 34 + "1", "t:4"]
    assert "id is neither text nor a whole number" in reasons(found)["t.parquet:2"]


def test_columns_of_the_headline_and_whole_numbers(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": [1.0, None, 2.5], "titre": ["Un", "", None], "text": ["A.", "B.", "C."]}),
        tmp_path / "t.parquet",
    )
    found = read(tmp_path / "t.parquet", reading=Reading(title_column="titre"))
    assert found[:2] == [Source("1", "A.", "Un"), Source("t:2", "B.")]
    assert "--id-column names another column" in reasons(found)["t.parquet:3"]
    said = pytest.raises(SelonError, match="there is no column titel, only id, titre, text")
    with open_inputs([str(tmp_path / "t.parquet")], None) as inputs, said:
        check_columns(inputs, Reading(title_column="titel"))


def test_no_date_is_made_of_a_year_in_the_text(tmp_path: Path) -> None:
    body = "<p>" + "Le groupe a doublé ses bénéfices en 2023, selon la direction du site. " * 8 + "</p>"
    for head, date in (("", None), ('<meta property="article:published_time" content="2024-05-06">', "2024-05-06")):
        (tmp_path / "p.html").write_text(f"<html><head>{head}</head><body><article>{body}</article></body></html>")
        (found,) = read(tmp_path / "p.html", reading=Reading(keep=("date",)))
        assert isinstance(found, Source)
        assert found.kept == {"date": date}


def test_an_article_that_is_too_long_is_one_row(tmp_path: Path) -> None:
    for cell in ("a" * (LONGEST + 1), '"' + "9,Faux.\n" * (LONGEST // 8 + 1) + '"'):
        (tmp_path / "long.csv").write_text(f"id,text\n1,{cell}\n2,Fin.\n")
        found = read(tmp_path / "long.csv")
        assert ids(found) == ["2"]
        assert "more than the 1,000,000 of an article" in reasons(found)["long.csv:2"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('1,"' + "9,Faux.\n" * 40, "from here on: a row of more than 200 characters; is a quotation mark left open"),
        ("1," + "a" * 500 + "\n9,Faux.\n", "from here on: a row of more than 200 characters"),
        ('1,"cut', "no valid CSV: unexpected end"),
        ('1,"open\n8,Faux.\n9,"Si."\n9,Vrai.\n', "no valid CSV in lines 3 to 5: ',' expected"),
        ('1,"a"b\n9,Vrai.\n', "no valid CSV: ',' expected"),
    ],
)
def test_no_row_is_made_of_a_broken_one(row: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST_BYTES", 200)
    (tmp_path / "t.csv").write_text("id,text\n0,Oui.\n" + row)
    found = read(tmp_path / "t.csv")
    assert [one.text for one in found if isinstance(one, Source)] == ["Oui.", *["Vrai."] * row.count("Vrai")]
    assert list(reasons(found)) == ["t.csv:3"]
    assert said in reasons(found)["t.csv:3"]


def test_a_file_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": os.urandom(40).hex()}) + "\n" for _ in range(300)).encode()
    packed = gzip.compress(rows)
    (tmp_path / "t.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    found = read(tmp_path / "t.jsonl.gz")
    assert 20 < len(ids(found)) < 300
    assert "damaged from here on" in reasons(found)["t.jsonl.gz"]
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x.parquet").write_bytes(b"PAR1nope")
    (tmp_path / "d/y.txt").write_text("Bonjour.")
    found = read(tmp_path / "d")
    assert ids(found) == ["y"]
    assert "no readable Parquet" in reasons(found)["d/x.parquet"]


def _packed(content: bytes) -> bytes:
    """Return it packed without the time: both workers of a test run must see the same cases."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "none.txt: cannot be read: No such file"),
        ("empty", "folder", "empty: nothing readable in this folder"),
        ("t.csv", b"", "its first line does not name the columns"),
        ("t.csv", b"text,text\n1,2\n", "t.csv: two columns are called text; rename one"),
        ("t.csv", b";;\n;;\n", "its first line does not name the columns"),
        ("t.csv", b'id,"text\n1,Oui.\n', "its first line does not name the columns"),
        ("t.csv", b"a,a,,\n1,2,,\n", "there is no column text, only a$"),
        ("t.csv", b"a,b\n1,2\n", "there is no column text, only a, b"),
        ("t.csv", b"a," * 600_000, "its first line does not name the columns"),
        ("t.csv.gz", _packed(b"id,text\n" * 99)[:-20], "t.csv.gz: cannot be read: Compressed file ended"),
        ("t.csv.gz", _packed(b"")[:10] + b"\xff" * 30, "t.csv.gz: cannot be read: Error -3 while decompressing"),
        ("t.parquet", b"nope", "t.parquet: no readable Parquet file"),
        ("t.json", b"[]", r"t\.json: its ending is none of \.txt, .*\.parquet; say with --from how it is read"),
        ("t.docx.gz", b"", r"t\.docx\.gz: its ending is none of"),
        ("wire", b"Oui.", r"wire: its ending is none of \.txt, .*; say with --from how it is read"),
        ("wire.gz", _packed(b"Oui."), r"wire\.gz: its ending is none of"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, content: Any, said: str, tmp_path: Path) -> None:
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SelonError, match=said), open_inputs([str(tmp_path / name)]) as found:
        check_columns(found, Reading())


def test_an_ending_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "wire.gz").write_bytes(_packed(b"Oui."))
    (tmp_path / "t.json").write_text('{"id": "a", "text": "Non."}')
    assert ids(read(tmp_path / "wire.gz", kind=Kind.text)) == ["wire"]
    assert ids(read(tmp_path / "t.json", kind=Kind.jsonl)) == ["a"]


def test_of_a_named_file_the_user_knows_more_than_its_ending(tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_text("id;text\na;Oui.\nb;Non.\n")
    assert ids(read(tmp_path / "export.txt", kind=Kind.csv)) == ["a", "b"]
    assert ids(read(tmp_path, kind=Kind.csv)) == ["export"]  # an article: a folder holds files of many kinds


def test_the_files_of_a_folder_whose_ending_says_nothing(tmp_path: Path) -> None:
    for name in ("2023.json", "b/wire", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "Non."}')
    with pytest.raises(SelonError, match=r"nothing readable in this folder.*if --from says how"):
        read(tmp_path)
    (tmp_path / "a.txt").write_text("Oui.")
    assert ids(read(tmp_path)) == ["a"]
    assert ids(read(tmp_path, kind=Kind.jsonl)) == ["2023:1", "a", "b/wire:1"]
    with open_inputs([str(tmp_path)]) as without, open_inputs([str(tmp_path)], Kind.jsonl) as told:
        assert (without[0].passed_over, told[0].passed_over) == (2, 0)
        assert without[0].sha256 != told[0].sha256
        assert told[0].size == 4 + 2 * 16


def test_no_two_inputs_call_their_articles_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2023/01.txt", "2024/01.txt", "a/x.csv", "b/x.csv", "x.txt", "x.html", "y.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(PAGE if name == "x.html" else "text\nOui.\n")
    assert ids(read("2023/")) == ["01"]
    assert ids(read("2023/", "2024")) == ["2023/01", "2024/01"]
    assert ids(read("a/x.csv")) == ["x:2"]
    assert ids(read("a/x.csv", "b/x.csv", "y.txt")) == ["a/x.csv:2", "b/x.csv:2", "y"]
    assert ids(read("x.txt", "x.html", "a/")) == ["x.txt", "x.html", "a/x:2"]
    with pytest.raises(SelonError, match=r"2023/: another input is called 2023 too; name each once"):
        read("2023", "2023/")


def test_a_file_of_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("none")
    (tmp_path / "b.jsonl").symlink_to("none")
    (tmp_path / "c.txt").write_text("Oui.")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("Non.")  # as Latin-1 writes it
    found = read(tmp_path)
    assert ids(found) == ["c", "caf\\udce9"]
    said = f"cannot be read: {os.strerror(errno.ENOENT)}"
    assert reasons(found) == {f"{tmp_path.name}/{name}": said for name in ("a.txt", "b.jsonl")}
    with open_inputs([str(tmp_path)]) as opened:
        assert opened[0].size == 8
        assert len(opened[0].sha256) == 64


def test_one_of_several_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("none")
    (tmp_path / "b.csv").write_text("")
    (tmp_path / "c.parquet").write_text("nope")
    (tmp_path / "d.txt").write_text("Oui.")
    paths = sorted(tmp_path.iterdir())
    found = read(*paths)
    assert ids(found) == ["d"]
    assert list(reasons(found)) == ["a.txt", "b.csv", "c.parquet"]
    with open_inputs([str(path) for path in paths]) as opened:
        check_columns(opened, Reading())
        assert opened[0].sha256 == ""
    with pytest.raises(SelonError, match=r"mistyped\.txt: cannot be read: No such file"):
        read(*paths, tmp_path / "mistyped.txt")


def test_a_page_may_make_its_reader_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise AttributeError("a bug")

    monkeypatch.setattr("trafilatura.bare_extraction", fail)
    (tmp_path / "x.html").write_text(PAGE)
    assert reasons(read(tmp_path / "x.html")) == {"x.html": "the page cannot be taken apart (AttributeError)"}


def test_a_bad_cell_of_a_parquet_file_costs_its_row(tmp_path: Path) -> None:
    cells = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(bytes([0, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0])), pa.py_buffer(b"caf\xe9Non.")]
    )
    late = pa.array([0, 2**50], pa.timestamp("s"))
    there = pa.array([0, 1], pa.timestamp("s", "Atlantis/Capital"))
    pq.write_table(pa.table({"text": cells, "late": late, "there": there}), tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")  # that date is not wanted
    assert ids(found) == ["t:2"]
    assert "a cell cannot be read: 'utf-8' codec" in reasons(found)["t.parquet:1"]
    found = read(tmp_path / "t.parquet", reading=Reading(keep=("late",)))
    assert list(reasons(found)) == ["t.parquet:1", "t.parquet:2"]
    found = read(tmp_path / "t.parquet", reading=Reading(keep=("there",)))
    assert "Atlantis" in reasons(found)["t.parquet:2"]


def test_kept_cells_are_valid_json(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "Oui.", "a": NaN, "b": [1.5, -Infinity, 1e999]}')
    (found,) = read(tmp_path / "t.jsonl", reading=Reading(keep=("a", "b")))
    assert isinstance(found, Source)
    assert found.kept == {"a": None, "b": [1.5, None, None]}


def test_options_in_another_encoding_are_refused() -> None:
    for options in ({"title": "\udce9t\udce9"}, {"keep": ("\udce9t\udce9",)}):
        with pytest.raises(SelonError, match=r"'.udce9t.udce9' is not UTF-8"):
            Reading(**options)


def test_nothing_is_hashed_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.labelling.inputs.sha256", lambda path: pytest.fail("hashed"))
    (tmp_path / "a.txt").write_text("Oui.")
    assert len(read(tmp_path / "a.txt", tmp_path)) == 2


def test_standard_input_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Oui.")))
    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(SelonError, match=r"-: cannot be laid down in /.*: No space left on device; .* TMPDIR"):
        read("-")


ANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@ANY
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda s: s.encode("utf-8", "surrogatepass")))
def test_no_bytes_break_a_reader(content: bytes, tmp_path: Path) -> None:
    for ending in ("txt", "jsonl", "csv", "parquet", "jsonl.gz"):
        path = tmp_path / f"x.{ending}"
        path.write_bytes(content)
        for one in read(path):
            assert one.text.strip() if isinstance(one, Source) else one.reason


@ANY
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), max_size=8))
def test_tables_give_back_what_was_written(texts: list[str], tmp_path: Path) -> None:
    wanted = [text for text in texts if VISIBLE.search(text)]
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "text"], *([i, text] for i, text in enumerate(texts))])
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "x.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        found = [one.text for one in read(tmp_path / f"x.{ending}") if isinstance(one, Source)]
        assert found == wanted, ending
