"""Lambdas of a bundle's config over tensors, interpreted node by node."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from medseg.bundle.functions import CONSTANTS, METHODS, PURE, TENSOR_FUNCTIONS, NotRun

if TYPE_CHECKING:
    from medseg.bundle.expressions import Interpreter

_EVERYWHERE_THE_SAME = ("torch.where", "torch.nan_to_num", "torch.logical_and", "torch.logical_or", "torch.logical_not")
_POINTWISE = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.operator, ast.unaryop, ast.cmpop, ast.Load)


class Lambda:
    """A callable of as many tensors as the lambda has arguments; it can do what the interpreter does and no more."""

    def __init__(self, node: ast.Lambda, interpreter: Interpreter):
        """Raises: NotRun for other than plain arguments, or names in the body that are no arguments."""
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs or arguments.defaults:
            raise NotRun("a lambda with other than plain arguments is not run")
        self.names = [argument.arg for argument in arguments.args]
        if set(self.names) & {"torch", "np", "numpy", "monai", "os", "copy", *interpreter.references}:
            raise NotRun("a lambda whose argument hides a module is not run")
        _require_known(node.body, {*self.names, *interpreter.references})
        self.body, self._interpreter = node.body, interpreter
        self.__name__ = f"lambda {', '.join(self.names)}"

    def __call__(self, *values: Any) -> Any:
        """The value of the body, in the bounds of the interpreter."""
        if len(values) != len(self.names):
            raise NotRun(f"a lambda of {len(self.names)} arguments got {len(values)}")
        return self._interpreter.value(self.body, dict(zip(self.names, values, strict=True)))

    @property
    def is_pointwise(self) -> bool:
        """Whether a voxel's result follows from that voxel's channels alone, so that parts of a scan will do."""
        return len(self.names) == 1 and _is_pointwise(self.body)


def _require_known(node: ast.AST, names: set[str]) -> None:
    """Raises: NotRun for a name, an attribute or a call that no table has; asked before the lambda meets an image."""
    if isinstance(node, ast.Lambda):
        raise NotRun("a lambda inside a lambda is not run")
    if isinstance(node, (ast.Name, ast.Attribute)):
        text = ast.unparse(node)
        if text in names or text in (*CONSTANTS, *PURE, *TENSOR_FUNCTIONS):
            return
        if not (isinstance(node, ast.Attribute) and (node.attr in METHODS or node.attr == "shape")):
            raise NotRun(f"{text} is not run")
        _require_known(node.value, names)
        return
    for child in ast.iter_child_nodes(node):
        _require_known(child, names)


def _is_pointwise(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return True
    if isinstance(node, ast.Subscript):
        return _is_pointwise(node.value) and _keeps_axes(node.slice)
    if isinstance(node, ast.Call):
        return (
            ast.unparse(node.func) in _EVERYWHERE_THE_SAME
            and all(map(_is_pointwise, node.args))
            and all(isinstance(k.value, ast.Constant) for k in node.keywords)
        )
    return isinstance(node, _POINTWISE) and all(map(_is_pointwise, ast.iter_child_nodes(node)))


def _keeps_axes(at: ast.AST) -> bool:
    """`[[2]]` and `[1:3]` choose channels and keep the axis."""
    if isinstance(at, ast.List):
        return all(isinstance(item, ast.Constant) and type(item.value) is int for item in at.elts)
    if isinstance(at, ast.Slice):
        return all(p is None or (isinstance(p, ast.Constant) and type(p.value) is int) for p in (at.lower, at.upper))
    return False
