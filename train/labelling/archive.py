"""The labelling of an archive on disk: shard by shard, safe from an interruption at any moment.

In the output folder (for one output file: in ``.NAME.parts`` beside it) lie

- ``manifest.json``, which ties the output to input, model and options; another input or model is refused there;
- ``part-00000.…``, each written beside its place, synced, renamed;
- ``journal.jsonl``: one line for each part that is whole, written after it. A part without its line is made again,
  and a line that was cut off counts as none. So no sentence is lost, doubled or torn.

At the end the manifest lists the parts and the journal goes; or, for one file, the parts are joined and go too, and
its provenance says from then on what it was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from train.atomic import UnwritableError, refuse_file, whole_binary, whole_file
from train.labelling import writers
from train.labelling.choices import Form
from train.labelling.shards import Part
from train.labelling.writers import Output
from train.schema import SelonError

MANIFEST = "manifest.json"
REJECTS = "rejects.jsonl"
_JOURNAL = "journal.jsonl"
_LOCK = ".lock"
_FORMAT = 1
_HELP = "name another output, or remove this one to start anew"
_ELSEWHERE = "name another place"


@dataclass
class Totals:
    """What was done: articles and sentences labelled, sentences to read again, items skipped."""

    articles: int = 0
    sentences: int = 0
    review: int = 0
    rejected: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Add what a part holds."""
        self.articles += record["articles"]
        self.sentences += record["sentences"]
        self.review += record["review"]
        self.rejected += record["rejected"]


class Archive:
    """An archive being labelled into ``target``; ``open`` it.

    Attributes
    ----------
    done : dict
        By shard number, what the journal says of each part that is whole.
    complete : bool
        Everything was labelled already.
    """

    def __init__(self, target: Path, output: Output, identity: dict[str, Any], whole: bool) -> None:
        self.target, self.output, self.identity, self.whole = target, output, identity, whole
        self.folder = target if whole else target.with_name(f".{target.name}.parts")
        self.done: dict[int, dict[str, Any]] = {}
        self.complete = False

    @classmethod
    @contextmanager
    def open(cls, target: Path, output: Output, identity: dict[str, Any], whole: bool) -> Iterator[Self]:
        """Give the archive, begun now or gone on with, held against other processes.

        Parameters
        ----------
        target : Path
            A folder for parts (``whole``), or one file.
        output : Output
            The form.
        identity : dict
            All that the output depends on: model, inputs, options. Also its provenance.

        Raises
        ------
        SelonError
            Where something else lies there, another process is at work, or the disk does not play along.
        """
        archive = cls(target, output, identity, whole)
        made = False
        with _disk(target, _ELSEWHERE):
            archive._refuse_strangers()
            with suppress(FileExistsError):
                archive.folder.mkdir(parents=whole)
                made = True
        try:
            with _held(archive.folder, target), archive._gone_if_in_vain(made):
                with _disk(target):
                    archive._begin()
                yield archive
                with _disk(target):
                    archive._tidy()
        finally:
            # Not before it is free: some network disks keep what is open. Nor is it a fault if others are here by now.
            with suppress(OSError):
                if archive.complete:
                    (archive.folder / _LOCK).unlink(missing_ok=True)
                if made or not whole:
                    archive.folder.rmdir()  # an empty one

    @contextmanager
    def _gone_if_in_vain(self, made: bool) -> Iterator[None]:
        """Remove a folder that this process has made, and holds, if something fails before any part is done."""
        try:
            yield
        except SelonError:
            if made and not self.done:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def commit(self, part: Part) -> None:
        """Keep a part: from now on it is done, whatever happens."""
        name = f"part-{part.number:05d}.{self.output.form}"
        record = {
            "shard": part.number,
            "name": name,
            "sha256": hashlib.sha256(part.content).hexdigest(),
            "articles": part.articles,
            "sentences": part.sentences,
            "review": part.review,
            "rejected": len(part.rejects),
        }
        rejects = [{"place": one.place, "reason": one.reason} for one in part.rejects]
        with _disk(self.target):
            with whole_binary(self.folder / name) as file:
                file.write(part.content)
            with (self.folder / _JOURNAL).open("ab") as journal:  # a full disk may speak up in closing only
                journal.write(json.dumps(record | {"rejects": rejects}, ensure_ascii=False).encode() + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
        self.done[part.number] = record

    def totals(self) -> Totals:
        """Return the sums over all parts; of one file that was finished before, only what was skipped."""
        totals = Totals()
        if self.complete and not self.done and self.rejects.exists():
            totals.rejected = self.rejects.read_bytes().count(b"\n")
        for record in self.done.values():
            totals.add(record)
        return totals

    @property
    def rejects(self) -> Path:
        """Where the list of what was skipped comes to lie."""
        return self.folder / REJECTS if self.whole else beside(self.target)[1]

    def finish(self) -> None:
        """Write the rejects, then the finished manifest or the joined file."""
        with _disk(self.target):
            self._write_rejects()
            if self.whole:
                records = [self.done[number] for number in sorted(self.done)]
                self._write_manifest(complete=True, totals=vars(self.totals()), parts=records)
            else:
                self._join()
        self.complete = True

    def _join(self) -> None:
        parts = [self.folder / self.done[number]["name"] for number in sorted(self.done)]
        meta = beside(self.target)[2]
        if self.output.form is Form.parquet:  # it carries its provenance in itself
            meta.unlink(missing_ok=True)
        else:
            with whole_file(meta) as file:
                file.write(json.dumps(self.identity, ensure_ascii=False) + "\n")
        # Last: rows without their provenance would be a stranger's.
        with whole_binary(self.target, beside=self.folder) as joined:
            writers.join(parts, self.output, self.identity, joined)

    def _refuse_strangers(self) -> None:
        """Refuse what is not ours before anything is written; see whether it is finished."""
        if not self.whole and self.target.exists():
            self._refuse_another(self._finished())
            self.complete = True
        for path in () if self.whole or self.complete else beside(self.target)[1:]:
            if path.exists() and not _is_ours(path):
                raise SelonError(f"{path}: is there already, and not selon's; {_HELP}")
        if not self.folder.exists():
            return
        refuse_file(self.folder)
        manifest = self.folder / MANIFEST
        if not manifest.exists():
            if {path.name for path in self.folder.iterdir()} - {_LOCK} and not self._only_drafts():
                raise SelonError(f"{self.folder}: holds other things; name a new or an empty folder")
            return
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
            known, complete = found["identity"], found["complete"]
            records = {record["shard"]: record for record in found["parts"]}
            missing = [name for record in records.values() if not (self.folder / (name := record["name"])).is_file()]
        except (ValueError, KeyError, TypeError):
            raise SelonError(f"{manifest}: damaged or not selon's; {_HELP}") from None
        self._refuse_another(known)
        if complete and missing:
            raise SelonError(f"{self.folder}: was finished, but {missing[0]} is missing since; put it back, {_HELP}")
        if complete:
            self.complete, self.done = True, records

    def _finished(self) -> dict[str, Any]:
        """Return the identity of the output file that is there."""
        if self.target.is_dir():
            raise SelonError(f"{self.target}: is a folder; name a file")
        parquet, meta = self.output.form is Form.parquet, beside(self.target)[2]
        try:
            found = json.loads(writers.provenance_of(self.target) if parquet else meta.read_bytes())
        except (FileNotFoundError, ValueError):
            found = None
        if not isinstance(found, dict) or "model_sha256" not in found:
            raise SelonError(f"{self.target}: is there already, and not selon's; {_HELP}")
        return found

    def _refuse_another(self, known: Mapping[str, Any]) -> None:
        for what, said in (
            ("selon", "by another version of selon"),
            ("model_sha256", "with another model"),
            ("inputs", "from another input"),
            ("precision", "in another precision"),
            ("options", "with other options"),
        ):
            if known.get(what) != self.identity[what]:
                old = "this one" if self.target.exists() else self.folder
                raise SelonError(f"{self.target}: was begun {said}; name another output, or remove {old} to start anew")

    def _only_drafts(self) -> bool:
        """Whether the folder was left by a process that died before its manifest was in place."""
        return all(path.name == _LOCK or path.name.startswith(f".{MANIFEST}-") for path in self.folder.iterdir())

    def _begin(self) -> None:
        drafts = tuple(f".{name}-" for name in (MANIFEST, REJECTS, self.target.name))
        for path in self.folder.iterdir():  # left by a process that was killed
            if path.name.startswith((".part-", *drafts)):
                path.unlink()
        if self.complete:
            return
        if not (self.folder / MANIFEST).exists():
            self._write_manifest(complete=False, totals={}, parts=[])
        journal = self.folder / _JOURNAL
        whole = 0
        for line, record in _journalled(journal):
            part = self.folder / record["name"]
            if part.is_file() and hashlib.sha256(part.read_bytes()).hexdigest() == record["sha256"]:
                self.done[record["shard"]] = {key: value for key, value in record.items() if key != "rejects"}
            whole += len(line)
        if journal.exists():
            os.truncate(journal, whole)

    def _write_manifest(self, **changes: Any) -> None:
        tree = {"format": _FORMAT, "identity": self.identity, **changes}
        with whole_file(self.folder / MANIFEST) as file:
            file.write(json.dumps(tree, ensure_ascii=False, indent=1) + "\n")

    def _write_rejects(self) -> None:
        journal = self.folder / _JOURNAL
        places: dict[int, int] = {}  # of the last line of each shard
        place = 0
        for line, record in _journalled(journal):
            places[record["shard"]] = place
            place += len(line)
        if not self.totals().rejected:
            self.rejects.unlink(missing_ok=True)  # of an earlier run
            return
        with journal.open("rb") as lines, whole_file(self.rejects) as file:
            for number in sorted(places):
                lines.seek(places[number])
                for one in json.loads(lines.readline())["rejects"]:
                    file.write(json.dumps(one, ensure_ascii=False) + "\n")

    def _tidy(self) -> None:
        """Remove what only an unfinished labelling needs; the manifest goes last, for it says whose the rest is."""
        if not self.complete:
            return
        (self.folder / _JOURNAL).unlink(missing_ok=True)
        if not self.whole:
            for part in self.folder.glob("part-*"):
                part.unlink()
            (self.folder / MANIFEST).unlink(missing_ok=True)


def beside(target: Path) -> tuple[Path, Path, Path]:
    """Return all that one output file takes: itself, its rejects, its provenance."""
    return target, target.with_name(f"{target.name}.{REJECTS}"), target.with_name(f"{target.name}.meta.json")


def _is_ours(path: Path) -> bool:
    """Whether a file that lies in the place of provenance or rejects is one."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and ("model_sha256" in found or found.keys() == {"place", "reason"})


def _journalled(journal: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the whole lines of a journal, up to the first that is not."""
    with suppress(FileNotFoundError), journal.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                return
            if not line.endswith(b"\n"):
                return
            yield line, record


@contextmanager
def _held(folder: Path, target: Path) -> Iterator[None]:
    """Hold a folder against other processes."""
    from filelock import FileLock, Timeout  # an article on the screen does not wait for it

    lock = FileLock(folder / _LOCK)
    with _disk(target, _ELSEWHERE):
        try:
            lock.acquire(timeout=0)
        except Timeout:  # an OSError, too
            raise SelonError(f"{target}: another selon is writing there; let it finish") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk(target: Path, remedy: str = "what is done is kept, the same command goes on") -> Iterator[None]:
    """Say in a sentence what the disk refuses."""
    try:
        yield
    except (OSError, UnwritableError) as error:
        raise SelonError(f"{target}: cannot be written: {error.strerror or error}; {remedy}") from None
