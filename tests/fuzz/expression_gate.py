"""`$` expressions from a grammar of what is answered and what is not, and texts that are damaged."""

from __future__ import annotations

import ast
import builtins
import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.bundle.expressions import Expression, evaluate
from medseg.bundle.functions import CONSTANTS, METHODS, PURE, TENSOR_FUNCTIONS, NotRun, bounded
from medseg.bundle.lambdas import Lambda
from tests.audit import unwatched
from tests.bundle import hostile, zoo
from tests.fuzz.made import Made, Maker

VALUES: dict[str, Any] = {
    "a": 3,
    "b": [1, 2, 3],
    "c": {"d": {"x": [4, 5]}},
    "c#d": {"x": [4, 5]},
    "name": "model.pt",
    "flag": True,
    "none": None,
    "bundle_root": "/b",
    "half": 0.5,
    "roi_size": [96, 96, 96],
}
_NUMBERS = ("0", "1", "2", "3", "-1", "0.5", "1e3", "4096", "4097", "9007199254740992", "9" * 30, "1e308", "0x10", "1j")
_TEXTS = ("''", "'x'", "'image'", '"a b"', "'_target_'", "'%s'", "'{0}'", "b'x'", "'\\d'", "'\\x00'", "f'{@a}'", "'é'")
_NAMES = (
    "x",
    "os",
    "open",
    "torch",
    "np",
    "monai",
    "self",
    "globals",
    "ref0_of_config",
    "True",
    "None",
    "...",
    "__name__",
)
_WORDS = (
    "lambda",
    " if ",
    " else ",
    " for ",
    " in ",
    " is ",
    "not ",
    " and ",
    " or ",
    "await ",
    "yield ",
    "*",
    "**",
    "@",
    "@a",
    "@c::d",
    "@b#0",
    "#",
    "::",
    "$",
    "%",
    ":=",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "=",
    "<<",
    "\\",
    "\n",
    "\0",
    "'",
    '"',
    "__class__",
    "é",
    "\u202e",
    "0",
    "1_0",
    ";",
    "# x",
)


def grown(rng: random.Random, depth: int) -> str:
    """A text of the language, or a little outside of it."""
    if depth <= 0 or rng.random() < 0.1:
        return _atom(rng)
    return rng.choice(_FORMS)(rng, depth - 1)


def _atom(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.45:
        return "@" + rng.choice(list(VALUES)).replace("#", rng.choice(("#", "::")))
    if kind < 0.75:
        return rng.choice(_NUMBERS[: rng.choice((6, 6, 8, len(_NUMBERS)))])
    if kind < 0.9:
        return rng.choice(_TEXTS[: rng.choice((4, 4, len(_TEXTS)))])
    return rng.choice(list(CONSTANTS)) if kind < 0.97 else rng.choice(_NAMES)


def _pair(signs: tuple[str, ...]) -> Callable[[random.Random, int], str]:
    return lambda rng, n: f"{grown(rng, n)} {rng.choice(signs)} {grown(rng, n)}"


def _items(rng: random.Random, n: int) -> str:
    return ", ".join(grown(rng, n) for _ in range(rng.randrange(4)))


def _call(names: Any) -> Callable[[random.Random, int], str]:
    return lambda rng, n: f"{rng.choice(list(names))}({_items(rng, n)})"


def _lambda(rng: random.Random, n: int) -> str:
    return f"lambda x: {_of_tensors(rng, n)}"


def _of_tensors(rng: random.Random, n: int) -> str:
    """The body of a lambda."""
    if n <= 0:
        return rng.choice(("x", "x", "x[[0]]", "x[1:]", "1", "0.5", "@a", "x.shape", "x.shape[0]"))
    inner = lambda: _of_tensors(rng, n - 1)  # noqa: E731
    forms = (
        lambda: f"torch.where({inner()} > {inner()}, {inner()}, {inner()})",
        lambda: f"({inner()} {rng.choice(('+', '-', '*', '/', '==', '>', '&', '|', '%', '//'))} {inner()})",
        lambda: f"{rng.choice(list(TENSOR_FUNCTIONS))}({inner()}{rng.choice(('', ', 0', ', dim=0', ', 1, 2'))})",
        lambda: f"{inner()}.{rng.choice(list(METHODS))}({rng.choice(('', '0', 'dim=0', 'torch.float64', '10 ** 9'))})",
        lambda: f"{inner()}[{rng.choice(('0', '[0, 1]', ':, None', '::-1', '@b', 'x > 0', '...', 'None'))}]",
        lambda: f"torch.cat([{inner()}, {inner()}])",
        lambda: grown(rng, 1),
    )
    return rng.choice(forms)()


_FORMS: tuple[Callable[[random.Random, int], str], ...] = (
    _pair(("+", "-", "*", "/", "//", "%", "+", "-", "*")),
    _pair(("==", "!=", "<", "<=", ">", ">=", "in", "not in", "is", "is not")),
    _pair(("and", "or")),
    lambda rng, n: f"({grown(rng, n)})",
    lambda rng, n: f"[{_items(rng, n)}]",
    lambda rng, n: f"({_items(rng, n)},)",
    lambda rng, n: "{" + ", ".join(f"{rng.choice(_TEXTS)}: {grown(rng, n)}" for _ in range(rng.randrange(3))) + "}",
    lambda rng, n: f"{grown(rng, n)} if {grown(rng, n)} else {grown(rng, n)}",
    lambda rng, n: f"{grown(rng, n)}[{rng.choice(('0', '-1', '1:', ':2', '::-1', '5', repr('x'), grown(rng, n)))}]",
    lambda rng, n: f"{rng.choice(('-', '+', 'not ', '~'))}{grown(rng, n)}",
    _call(PURE),
    _call(("len", "range", "list", "float", "int", "os.path.join", "max", "copy.deepcopy")),
    _call(("torch.load", "open", "eval", "getattr", "np.load", "print", "@a", "(lambda x: x)", "torch.zeros", *PURE)),
    _lambda,
    lambda rng, n: (
        f"{grown(rng, n)}.{rng.choice((*METHODS, 'shape', 'append', 'real', '__class__'))}({_items(rng, n)})"
    ),
    lambda rng, n: rng.choice(
        (
            f"[{grown(rng, n)} for i in {grown(rng, n)}]",
            f"{grown(rng, n)} ** {grown(rng, n)}",
            f"(y := {grown(rng, n)})",
            f"len(*{grown(rng, n)})",
            f"{grown(rng, n)} << 99",
        )
    ),
)
SEEDS = tuple(
    text[1:]
    for config in (*(make() for make in zoo.FORMS.values()), hostile.harmless())
    for text in sorted(hostile.texts_of(config))
    if text.startswith("$")
)
_HOSTILE = tuple(t[1:] for t in (*hostile.EXPRESSIONS.values(), *hostile.BOMBS.values(), *hostile.LAMBDAS.values()))


def damaged(rng: random.Random, text: str) -> str:
    """A text with a few words put in, characters left out, or parts of it moved."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        a, b = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:a] + rng.choice(_WORDS) + text[a:]
        elif kind == 1:
            text = text[:a] + text[a + 1 :]
        elif kind == 2:
            text = text[:a] + text[b:] if b - a < 20 else text
        elif kind == 3:
            text = (text[:b] + text[a:])[:3000]
        else:
            text = text[:a] + _atom(rng) + text[b if b - a < 4 else a :]
    return text


def make(rng: random.Random) -> Made:
    """Half grown, a third damaged, the rest hostile or harmless."""
    kind = rng.random()
    if kind < 0.55:
        return Made(grown(rng, rng.choice((1, 1, 2, 2, 3, 4, 6))), ["grown"], False)
    if kind < 0.8:
        return Made(damaged(rng, rng.choice(SEEDS)), ["damaged"], False)
    if kind < 0.9:
        return Made(damaged(rng, rng.choice(_HOSTILE)[:3000]), ["hostile, damaged"], False)
    if kind < 0.95:
        return Made(damaged(rng, grown(rng, 3)), ["grown, damaged"], False)
    space = " " * rng.randrange(3)
    return Made(f"{space}({rng.choice(('@a', '@b', '1.5', repr('x')))}){space}", ["harmless"], True)


def answer(text: str, folder: Path) -> str:
    """The value within its bounds; of a lambda, what it makes of a tensor; of plain data, that it is Python's."""
    expression = Expression(text)
    value = evaluate(expression, _resolve, _load)
    bounded(value)
    if isinstance(value, Lambda):
        made = value(*[torch.arange(24.0).reshape(2, 3, 4) / 24 for _ in value.names])
        bounded(made)
        return ""
    return _other_than_python(text, expression, value)


def _resolve(name: str) -> Any:
    name = name.replace("::", "#")
    if name not in VALUES:
        raise NotRun(f"nothing has the id {name}")
    return VALUES[name]


def _load(path: Any) -> Any:
    if not isinstance(path, str):
        raise NotRun("a path that is no text")
    return {"code": np.arange(3), "path": path}


_BUILTINS = {name: getattr(builtins, name) for name in ("len", "float", "int", "str", "bool", "tuple", "abs", "round")}
_BUILTINS |= {"list": list, "min": min, "max": max, "range": lambda *a: list(range(*a))}


def _other_than_python(text: str, expression: Expression, value: Any) -> str:
    """What Python says instead; it answers only what has been answered here, of builtin names and references alone."""
    if not (value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))):
        plain = isinstance(value, (np.ndarray, torch.dtype, torch.Tensor)) or any(
            value is c for c in CONSTANTS.values()
        )
        return "" if plain else f"a value of {type(value)}"
    if re.search(r"torch|np|numpy|monai|os\.|copy|\.to|lambda|CommonKeys", text):
        return ""
    names = {name: _resolve(place) for name, place in expression.references.items()}
    with unwatched(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(ast.Expression(expression.body), "<case>", "eval")
        python = eval(code, {"__builtins__": _BUILTINS}, names)
    same = type(python) is type(value) and repr(python) == repr(value)
    return "" if same else f"{text!r} gives {value!r}, Python's {python!r}"


def maker() -> Maker:
    """The language of expressions."""
    return Maker("expressions", make, answer, (NotRun,), told=False)
