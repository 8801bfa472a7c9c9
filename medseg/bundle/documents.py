"""JSON and YAML files of a bundle become plain data: nothing but objects, lists, texts, numbers, booleans and null."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from medseg.domain.errors import BundleError

LARGEST = 1 << 20
DEEPEST = 60
_MOST_VALUES = 200_000


@dataclass(frozen=True)
class Document:
    """A config file: where it lies, its text (so that messages can name a line) and its plain data."""

    path: Path
    text: str = field(repr=False)
    data: dict[str, Any] = field(repr=False)

    def place(self, value: str) -> str:
        """The file and, where the text is found as it stands, its line."""
        for form in (json.dumps(value), json.dumps(value, ensure_ascii=False), value):
            if form and form in self.text:
                return f"{self.path}:{self.text[: self.text.index(form)].count(chr(10)) + 1}"
        return str(self.path)


def read_document(path: Path) -> Document:
    """The object that a .json, .yaml or .yml file holds.

    Raises: BundleError if it is missing, larger than 1 MiB, no UTF-8, nested deeper than 60, has a key twice, or a
    value that is not plain.
    """
    text = _text(path)
    kind = "JSON" if path.suffix == ".json" else "YAML"
    try:
        data = _parse_json(text) if kind == "JSON" else _parse_yaml(text)
        if not isinstance(data, dict):
            raise BundleError(f"{path}: holds no {kind} object")
        _require_plain(data)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{path}: cannot be read as {kind} ({reason})") from error
    return Document(path, text, data)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise BundleError(f"{path}: larger than 1 MiB, so not a bundle's config")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing; a bundle has configs/metadata.json and configs/inference.json") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: cannot be read as JSON or YAML ({error})") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); no JSON or YAML is there") from error


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a key stands there twice")
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, in Python so that deep nesting is an error and no crash; a key twice is refused."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:  # before thousands of levels are read
            raise ValueError(f"nested deeper than {DEEPEST}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError("a key that is no text")
            if key.tag == "tag:yaml.org,2002:merge":
                raise ValueError("merge keys (<<) are not read; write the values out")
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} stands there twice (line {key.start_mark.line + 1})")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def _require_plain(data: Any) -> None:
    """Aliases count as often as they are used, so that a few of them cannot stand for billions of values."""
    left = _MOST_VALUES
    pending = [(data, 1)]
    while pending:
        value, depth = pending.pop()
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise ValueError(f"more than {_MOST_VALUES} values, or nested deeper than {DEEPEST}")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a key that is no text; put it in quotation marks")
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            pending += [(item, depth + 1) for item in value]
        elif not (value is None or type(value) in (bool, int, float, str)):
            raise ValueError(f"a value of type {type(value).__name__}; plain numbers and texts are read")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} is no plain number")
