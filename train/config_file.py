"""A config file → a validated model: YAML, ``extends:``, ``section.key=value`` overrides.

A config may ``extends:`` another (path relative to its own folder); ``section.key=value`` on the command line has the
last word (``members.1.epochs=3`` in a list, counted from 0). Unknown keys, duplicate keys and wrong types are refused
with their place.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from train.schema import SelonError

Model = TypeVar("Model", bound=BaseModel)


def load_config(path: Path | str, schema: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Read a YAML config, follow ``extends:``, apply ``section.key=value`` overrides and validate.

    Raises
    ------
    SelonError
        For a missing file, broken YAML, unknown or duplicate keys and values out of range, with the place.
    """
    path = Path(path)
    tree = _merge(_read(path, ()), _overrides(overrides))
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = _written_place(item["loc"], tree)
            if item["type"] == "missing":
                problems.append(f"{'.'.join((*place, str(item['loc'][-1])))} is missing")
            elif item["type"] == "extra_forbidden":
                problems.append(f"unknown key {'.'.join(place)}: remove it or mend its spelling")
            elif item["type"] == "tuple_type" and isinstance(item["input"], str):
                problems.append(f"{'.'.join(place)}: a list is wanted: {'.'.join(place)}='[{item['input']}]'")
            else:
                message = item["msg"].removeprefix("Value error, ")
                problems.append(f"{'.'.join(place)}: {message} (got {item['input']!r:.60})" if place else message)
        raise SelonError(f"{path}: " + "; ".join(problems)) from None


def _written_place(loc: tuple[int | str, ...], tree: Any) -> list[str]:
    """Return the parts of pydantic's ``loc`` that stand in the config; the tag of a union ("tfidf") does not."""
    place = []
    for part in loc:
        if isinstance(tree, list):
            tree = dict(enumerate(tree))
        if isinstance(tree, dict) and part in tree:
            place.append(str(part))
            tree = tree[part]
    return place


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice (PyYAML keeps the last one without a word)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for (key_node, _), key in zip(node.value, keys, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise SelonError(f"{path}: its extends: leads back to itself")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        why = f", though {seen[-1].name} extends it" if seen else "; see configs/ for the shipped ones"
        raise SelonError(f"{path}: there is no such config{why}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SelonError(f"{path}: the config cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SelonError(f"{path}{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SelonError(f"{path}: no valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise SelonError(f"{path}: a config is a mapping of keys to values")
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise SelonError(f"{path}: extends: is the path of one config (got {parent!r:.60})")
    return _merge(_read(path.parent / parent, (*seen, path.resolve())), tree)


def _merge(base: dict[str, Any], top: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Merge mappings key by key; a section of another ``kind`` replaces its parent's whole.

    Where a list meets a mapping of numbers (``members.1.epochs=3``), they are places in it, from 0.
    """
    if "kind" in base and top.get("kind", base["kind"]) != base["kind"]:
        return top
    merged = dict(base)
    for key, value in top.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merge(below, value, f"{place}{key}.")
        elif isinstance(value, dict) and isinstance(below, list) and value and all(str(n).isdigit() for n in value):
            places = {str(n): inner for n, inner in enumerate(below)}
            inside = {str(n): inner for n, inner in value.items()}
            if beyond := [n for n in inside if n not in places]:
                raise SelonError(f"{place}{key}.{beyond[0]}: there are {len(below)}, counted from 0")
            merged[key] = list(_merge(places, inside, f"{place}{key}.").values())
        else:
            merged[key] = value
    return merged


def _overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the tree that ``section.key=value`` lines stand for; the last of two has its way."""
    merged: dict[str, Any] = {}
    for override in overrides:
        dotted, equals, raw = override.partition("=")
        if not equals or not all(dotted.split(".")):
            raise SelonError(f"override {override!r}: write it as section.key=value")
        try:
            tree = yaml.load(raw, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            why = getattr(error, "problem", None) or "unreadable"
            raise SelonError(f"override {override!r}: the value is no valid YAML ({why})") from None
        for key in reversed(dotted.split(".")):
            tree = {key: tree}
        merged = _merge(merged, tree)
    return merged
