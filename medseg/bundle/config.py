"""A config's ids, references and expressions, resolved one by one and only where asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medseg.bundle.component import Component, is_read, require_argument
from medseg.bundle.documents import Document
from medseg.bundle.expressions import Expression, evaluate
from medseg.bundle.functions import NotRun
from medseg.bundle.targets import find_target
from medseg.bundle.words import short
from medseg.domain.errors import BundleError

_DEEPEST = 100
_MOST_STEPS = 20_000
_WORDS = ("_target_", "_disabled_", "_desc_")


class NotRunError(BundleError):
    """A bundle asks for something that is not run unless it is trusted; the message names the place and the thing."""


class Config:
    """Values of a config document by id ("a#b#0" or "a::b::0").

    given: values that stand instead of the document's (the bundle's folder, what the user chose).
    load:  what `torch.load` gives for a path.
    """

    def __init__(self, document: Document, given: Mapping[str, Any], load: Callable[[Any], Any]):
        self.document, self._load = document, load
        self._done: dict[str, Any] = dict(given)
        self._doing: list[str] = []
        self._steps = 0

    def __contains__(self, name: str) -> bool:
        return name in self.document.data

    def value(self, name: str) -> Any:
        """The value of an id, everything in it resolved; the same object each time.

        Raises: NotRunError
        """
        name = name.replace("::", "#")
        if name in self._done:
            return self._done[name]
        raw: Any = self.document.data
        for key in name.split("#"):
            if isinstance(raw, dict) and key in raw:
                raw = raw[key]
            elif isinstance(raw, list) and key.isdecimal() and int(key) < len(raw):
                raw = raw[int(key)]
            else:
                raise NotRunError(f"{self.document.path}: nothing has the id {name!r}")
        return self._resolve(raw, name)

    def _resolve(self, raw: Any, name: str) -> Any:
        if name in self._done:
            return self._done[name]
        self._steps += 1
        if name in self._doing or len(self._doing) > _DEEPEST or self._steps > _MOST_STEPS:
            raise NotRunError(f"{self.document.path}: {name!r} refers to itself, or too many values to each other")
        self._doing.append(name)
        try:
            self._done[name] = self._resolved(raw, name)
        finally:
            self._doing.pop()
        return self._done[name]

    def _resolved(self, raw: Any, name: str) -> Any:
        if isinstance(raw, str):
            return self._text(raw)
        if isinstance(raw, list):
            items = [(item, self._resolve(item, f"{name}#{n}")) for n, item in enumerate(raw)]
            return [value for item, value in items if not _is_disabled(item, value)]
        if isinstance(raw, dict):
            if any("#" in key or "::" in key for key in raw):
                raise NotRunError(f"{self.document.path}: {name!r} has a key with # or ::")
            if "_target_" in raw:
                return self._component(raw, name)
            pairs = {key: (item, self._resolve(item, f"{name}#{key}")) for key, item in raw.items()}
            return {key: value for key, (item, value) in pairs.items() if not _is_disabled(item, value)}
        return raw

    def _text(self, text: str) -> Any:
        if text.startswith("%"):
            place = self.document.place(text)
            raise NotRunError(f"{place}: the macro {short(text)} is not run; write out what it stands for")
        if text.startswith("$"):
            try:
                return evaluate(Expression(text[1:]), self.value, self._load)
            except NotRun as error:
                place = self.document.place(text)
                raise NotRunError(f"{place}: {short(text)}: {short(str(error), 160)}; {_HOW}") from error
        if text.startswith("@") and text[1:].replace("#", "").replace("::", "").replace("_", "").isalnum():
            return self.value(text[1:])
        return text

    def _component(self, raw: dict[str, Any], name: str) -> Component | None:
        text = raw["_target_"]
        if not isinstance(text, str) or text[:1] in ("$", "@", "%"):
            raise NotRunError(f"{self.document.path}: the _target_ of {name!r} is computed; {_HOW}")
        place = self.document.place(text)
        disabled = self._resolve(raw.get("_disabled_", False), f"{name}#_disabled_")
        if disabled is True or (isinstance(disabled, str) and disabled.strip().lower() == "true"):
            return None
        target = find_target(text)
        if target is None:
            raise NotRunError(f"{place}: {short(text)} is not in the table of what is run; {_HOW}")
        arguments = {}
        for key, item in raw.items():
            if key in _WORDS:
                continue
            if key.startswith("_"):
                raise NotRunError(f"{place}: {short(key)} of {text} is not run; {_HOW}")
            if is_read(target, key):
                arguments[key] = self._resolve(item, f"{name}#{key}")
                try:
                    require_argument(target, key, arguments[key])
                except NotRun as error:
                    raise NotRunError(f"{place}: {short(str(error), 160)}; {_HOW}") from error
        return Component(target, arguments, place)


_HOW = "if you trust who made the bundle, run `medseg bundle trust` on it"


def _is_disabled(raw: Any, value: Any) -> bool:
    return value is None and isinstance(raw, dict) and "_target_" in raw


def inside(folder: Path, path: Any) -> Path:
    """A path that a config names, inside the bundle's folder after every link is followed.

    Raises: NotRun
    """
    if not isinstance(path, str):
        raise NotRun("a path that is no text")
    if not path.isprintable():
        raise NotRun(f"{short(path)} is no path (it has characters that are not printed)")
    try:
        found = Path(os.path.realpath(Path(folder, path)))
        found.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, links in a circle
        raise NotRun(f"{short(path)} is no path ({short(str(error))})") from error
    if not found.is_relative_to(os.path.realpath(folder)):
        raise NotRun(f"{short(path)} lies outside the bundle's folder")
    return found
