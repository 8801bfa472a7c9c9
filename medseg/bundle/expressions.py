"""The `$` expressions of a bundle's config, interpreted over their syntax tree: no eval, no import, no attribute of
an object that is not in a table.

T0: constants, references, arithmetic, comparison, if/else, subscripts of plain data. T1: some pure functions and
constants (`functions.py`). T2: `torch.load` of a file inside the bundle folder, tensors only. T3: lambdas over
tensors (`lambdas.py`).
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from medseg.bundle.functions import CONSTANTS, METHODS, PURE, TENSOR_FUNCTIONS, NotRun, bounded

LONGEST, MOST_NODES, DEEPEST = 2000, 400, 40
_REFERENCE = re.compile(r"@(\w*(?:(?:#|::)\w*)*)")
_PLACE = "ref{}_of_config"
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_BITS: dict[type, Callable[[Any, Any], Any]] = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_NODES = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.USub, ast.UAdd, ast.Not),
    *(ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.IfExp, ast.Subscript, ast.Slice, ast.List, ast.Tuple, ast.Dict),
    *(ast.Call, ast.keyword, ast.Attribute, ast.Lambda, ast.arguments, ast.arg, ast.Invert, *_BINARY, *_BITS),
    *_COMPARE,
)


class Expression:
    """A parsed expression; `references` maps the names that stand for them to config ids."""

    def __init__(self, text: str):
        """Raises: NotRun if the text is too long, no Python expression, or of another form than those above."""
        if len(text) > LONGEST or "__" in text:
            raise NotRun(f"longer than {LONGEST} characters or with a double underscore")
        self.references: dict[str, str] = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes and of numbers that run into words; one line is told
                self.body = ast.parse(_REFERENCE.sub(self._name, text.strip()), mode="eval").body
            nodes = list(ast.walk(self.body))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise NotRun(f"no expression ({error})") from error
        if len(nodes) > MOST_NODES or _depth(self.body) > DEEPEST:
            raise NotRun(f"more than {MOST_NODES} parts, or nested deeper than {DEEPEST}")
        for node in nodes:
            if not isinstance(node, _NODES):
                raise NotRun(f"{type(node).__name__} is not run")

    def _name(self, match: re.Match[str]) -> str:
        name = _PLACE.format(len(self.references))
        self.references[name] = match.group(1)
        return name


def _depth(node: ast.AST) -> int:
    deepest, pending = 0, [(node, 1)]
    while pending:
        here, depth = pending.pop()
        deepest = max(deepest, depth)
        pending += [(child, depth + 1) for child in ast.iter_child_nodes(here)]
    return deepest


def evaluate(expression: Expression, resolve: Callable[[str], Any], load: Callable[[Any], Any]) -> Any:
    """The value of an expression.

    resolve: gives the value of a config id; load: what `torch.load` gives for a path.
    Raises: NotRun for names, calls, types and sizes that are not run.
    """
    return bounded(Interpreter(expression, resolve, load).value(expression.body, {}))


class Interpreter:
    """Evaluates nodes; one for each expression. Variables are the arguments of the lambda around a node."""

    def __init__(self, expression: Expression, resolve: Callable[[str], Any], load: Callable[[Any], Any]):
        self.references, self.resolve, self.load = expression.references, resolve, load

    def value(self, node: ast.AST, variables: dict[str, Any]) -> Any:
        """The value of a node, within the bounds."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise NotRun(f"{type(node).__name__} is not run here")
        try:
            return bounded(method(node, variables))
        except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError, AttributeError) as error:
            raise NotRun(f"{ast.unparse(node)}: {' '.join(str(error).split())}") from error

    def _constant(self, node: ast.Constant, variables: dict[str, Any]) -> Any:
        if not (node.value is None or type(node.value) in (bool, int, float, str)):
            raise NotRun(f"a constant of type {type(node.value).__name__} is not run")
        return node.value

    def _name(self, node: ast.Name, variables: dict[str, Any]) -> Any:
        if node.id in variables:
            return variables[node.id]
        if node.id in self.references:
            return self.resolve(self.references[node.id])
        raise NotRun(f"the name {node.id} is not known here")

    def _list(self, node: ast.List, variables: dict[str, Any]) -> list[Any]:
        return [self.value(item, variables) for item in node.elts]

    def _tuple(self, node: ast.Tuple, variables: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.value(item, variables) for item in node.elts)

    def _dict(self, node: ast.Dict, variables: dict[str, Any]) -> dict[str, Any]:
        if not all(isinstance(key, ast.Constant) and isinstance(key.value, str) for key in node.keys):
            raise NotRun("a dict with other keys than texts is not run")
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        if "_target_" in keys:
            raise NotRun("a _target_ made by an expression is not run")
        return {str(key): self.value(item, variables) for key, item in zip(keys, node.values, strict=True)}

    def _unaryop(self, node: ast.UnaryOp, variables: dict[str, Any]) -> Any:
        value = self.value(node.operand, variables)
        if isinstance(node.op, ast.Not):
            return not _data(value)
        if isinstance(node.op, ast.Invert):
            return ~_tensor(value)
        return -_number(value) if isinstance(node.op, ast.USub) else +_number(value)

    def _binop(self, node: ast.BinOp, variables: dict[str, Any]) -> Any:
        left, right = self.value(node.left, variables), self.value(node.right, variables)
        if type(node.op) in _BITS:
            return _BITS[type(node.op)](*_broadcastable(_tensor(left), _tensor(right)))
        if isinstance(left, torch.Tensor) or isinstance(right, torch.Tensor):
            return _BINARY[type(node.op)](*_broadcastable(_number(left), _number(right)))
        if isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, (str, list, tuple)):
            return left + right
        if isinstance(node.op, ast.Mult) and isinstance(left, (str, list, tuple)) and type(right) is int:
            bounded(range(max(right, 0) * len(left)))
            return left * right
        if isinstance(node.op, ast.Mult) and isinstance(right, (str, list, tuple)) and type(left) is int:
            bounded(range(max(left, 0) * len(right)))
            return left * right
        return _BINARY[type(node.op)](_number(left), _number(right))

    def _boolop(self, node: ast.BoolOp, variables: dict[str, Any]) -> Any:
        value: Any = None
        for item in node.values:
            value = _data(self.value(item, variables))
            if bool(value) != isinstance(node.op, ast.And):
                break
        return value

    def _compare(self, node: ast.Compare, variables: dict[str, Any]) -> Any:
        left = self.value(node.left, variables)
        result: Any = True
        for op, item in zip(node.ops, node.comparators, strict=True):
            right = self.value(item, variables)
            if isinstance(left, torch.Tensor) or isinstance(right, torch.Tensor):
                if len(node.ops) > 1 or isinstance(op, (ast.In, ast.NotIn, ast.Is, ast.IsNot)):
                    raise NotRun("a chained comparison of tensors is not run")
                return _COMPARE[type(op)](*_broadcastable(_number(left), _number(right)))
            if isinstance(op, (ast.Is, ast.IsNot)) and not any(v is None or isinstance(v, bool) for v in (left, right)):
                raise NotRun("`is` of other than None, True and False is not run")
            result = _COMPARE[type(op)](_data(left), _data(right))
            if not result:
                return result
            left = right
        return result

    def _ifexp(self, node: ast.IfExp, variables: dict[str, Any]) -> Any:
        return self.value(node.body if _data(self.value(node.test, variables)) else node.orelse, variables)

    def _slice(self, node: ast.Slice, variables: dict[str, Any]) -> slice:
        parts = [None if p is None else self.value(p, variables) for p in (node.lower, node.upper, node.step)]
        if not all(p is None or type(p) is int for p in parts):
            raise NotRun("a slice of other than integers is not run")
        return slice(*parts)

    def _subscript(self, node: ast.Subscript, variables: dict[str, Any]) -> Any:
        value, at = self.value(node.value, variables), self.value(node.slice, variables)
        if not isinstance(value, (list, tuple, dict, str, torch.Tensor)):
            raise NotRun(f"a subscript of {type(value).__name__} is not run")
        if isinstance(value, torch.Tensor):
            _require_places(at)
        elif not isinstance(at, (int, str, slice)):
            raise NotRun(f"a subscript by {type(at).__name__} is not run")
        return value[at]

    def _lambda(self, node: ast.Lambda, variables: dict[str, Any]) -> Any:
        from medseg.bundle.lambdas import Lambda

        if variables:
            raise NotRun("a lambda inside a lambda is not run")
        return Lambda(node, self)

    def _attribute(self, node: ast.Attribute, variables: dict[str, Any]) -> Any:
        name = _dotted(node)
        if name in CONSTANTS:
            return CONSTANTS[name]
        if node.attr == "shape" and name is not None and name.split(".")[0] in variables:
            return tuple(_tensor(self.value(node.value, variables)).shape)
        raise NotRun(f"{ast.unparse(node)} is not run")

    def _call(self, node: ast.Call, variables: dict[str, Any]) -> Any:
        name = _dotted(node.func)
        if any(isinstance(item, ast.Starred) for item in node.args) or any(k.arg is None for k in node.keywords):
            raise NotRun("a call with * or ** is not run")
        arguments = [self.value(item, variables) for item in node.args]
        options = {str(k.arg): self.value(k.value, variables) for k in node.keywords}
        if name == "torch.load":
            if set(options) - {"map_location", "weights_only"} or len(arguments) not in (1, 2):
                raise NotRun("torch.load takes a path, map_location and weights_only here")
            return self.load(arguments[0])
        if name in PURE and not options:
            return PURE[name](*arguments)
        if name in TENSOR_FUNCTIONS and variables:
            _broadcastable(*[a for a in arguments if isinstance(a, torch.Tensor)])
            return TENSOR_FUNCTIONS[name](*arguments, **options)
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            owner = self.value(node.func.value, variables)
            return METHODS[node.func.attr](owner, *arguments, **options)
        raise NotRun(f"{ast.unparse(node.func)}(...) is not run")


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _data(value: Any) -> Any:
    if not (value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))):
        raise NotRun(f"a decision on {type(value).__name__} is not run")
    return value


def _number(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, torch.Tensor)):
        raise NotRun(f"arithmetic with {type(value).__name__} is not run")
    return value


def _tensor(value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise NotRun(f"{type(value).__name__} for a tensor is not run")
    return value


def _require_places(at: Any) -> None:
    """Raises: NotRun for an index of other than numbers, slices, None, tensors and lists of up to 64 whole numbers.

    Other sequences torch reads in two ways, and warns.
    """
    for item in at if isinstance(at, tuple) else (at,):
        if isinstance(item, list):
            if len(item) > 64 or not all(type(n) is int for n in item):
                raise NotRun("a subscript of a list of other than up to 64 whole numbers is not run")
        elif not (item is None or isinstance(item, (int, slice, torch.Tensor))):
            raise NotRun(f"a subscript by {type(item).__name__} is not run")


def _broadcastable(*values: Any) -> tuple[Any, ...]:
    """The values, if their joint shape is not larger than the bound allows; asked before memory is taken."""
    shapes = [v.shape for v in values if isinstance(v, torch.Tensor)]
    if shapes:
        largest = max(shape.numel() for shape in shapes)
        joint = np.broadcast_shapes(*map(tuple, shapes))  # torch's own imports sympy
        if math.prod(joint) > 64 * max(largest, 1):
            raise NotRun("a tensor that grows more than 64 times is not run")
    return values
