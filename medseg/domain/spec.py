"""Specs are frozen dataclasses; this is how they become plain data and come back, strictly."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from medseg.domain.errors import UsageError

Spec = TypeVar("Spec")


def to_plain(value: Any) -> Any:
    """A spec as dicts, lists, numbers and strings, ready for JSON; fields that are None are left out.

    >>> from medseg.domain.labels import Code
    >>> to_plain(Code("10200004", "Liver"))
    {'value': '10200004', 'meaning': 'Liver', 'scheme': 'SCT'}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: to_plain(item) for name, item in fields if item is not None}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: type[Spec], data: Any, where: str = "") -> Spec:
    """The spec that `to_plain` wrote.

    Raises UsageError, naming the place, for an unknown key, a missing one, or a value of another type: a spec is
    never half understood.
    """
    return typing.cast(Spec, _build(kind, data, where or kind.__name__))


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)  # by `eval` of our own words: once


def _build(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        return _build_union(arguments, data, where)
    if origin is typing.Literal:
        if data not in arguments:
            raise UsageError(f"{where}: {data!r} is not one of {', '.join(map(repr, arguments))}")
        return data
    if origin is tuple:
        return _build_tuple(arguments, data, where)
    if origin is dict:
        if not isinstance(data, dict):
            raise UsageError(f"{where}: expected an object, got {type(data).__name__}")
        return {_build(arguments[0], k, where): _build(arguments[1], v, f"{where}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise UsageError(f"{where}: expected {kind.__name__}, got {data!r}")
    return data


def _build_union(arguments: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in arguments:
        return None
    failures = []
    for argument in arguments:
        if argument is not type(None):
            try:
                return _build(argument, data, where)
            except UsageError as error:
                failures.append(error)
    raise failures[0]


def _build_tuple(arguments: tuple[Any, ...], data: Any, where: str) -> Any:
    if not isinstance(data, (list, tuple)):
        raise UsageError(f"{where}: expected a list, got {data!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if len(data) != len(arguments):
        raise UsageError(f"{where}: expected {len(arguments)} items, got {len(data)}")
    return tuple(_build(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(arguments, data, strict=True)))


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected an object, got {data!r}")
    hints, fields = _hints(kind), {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise UsageError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(fields)}")
    without = [
        name
        for name, f in fields.items()
        if name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    nones = {name: None for name in without if type(None) in get_args(hints[name])}  # `to_plain` left them out
    missing = [name for name in without if name not in nones]
    if missing:
        raise UsageError(f"{where}: missing key {', '.join(missing)}")
    return kind(**nones, **{name: _build(hints[name], item, f"{where}.{name}") for name, item in data.items()})
