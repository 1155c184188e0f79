"""What a user may choose from: how things are read, written, and where they are labelled. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """How a file is read."""

    text = "text"
    html = "html"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


class Form(StrEnum):
    """What is written."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    html = "html"


class Engine(StrEnum):
    """Where shards are labelled."""

    local = "local"
    ray = "ray"
