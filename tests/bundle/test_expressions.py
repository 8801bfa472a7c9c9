"""The interpreter of `$` expressions agrees with Python where it answers, and answers nothing else."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.bundle.expressions import Expression, evaluate
from medseg.bundle.functions import NotRun
from medseg.bundle.lambdas import Lambda

VALUES = {"a": 3, "b": [1, 2, 3], "c#d": {"x": [4, 5]}, "name": "model.pt", "flag": True, "none": None}


def run(text):
    return evaluate(
        Expression(text),
        lambda name: VALUES[name.replace("::", "#")],
        lambda path: {"code": np.arange(3), "path": path},
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("@a // 2 - 1", 0),
        ("-7 % 3", 2),
        ("7 / 2", 3.5),
        ("[@a] * 2 + @b", [3, 3, 1, 2, 3]),
        ("2 * (1, 'x')", (1, "x", 1, "x")),
        ("@b[1:] if @flag else @b", [2, 3]),
        ("@c::d['x'][-1]", 5),
        ("@c#d", {"x": [4, 5]}),
        ("'/models/' + @name", "/models/model.pt"),
        ("os.path.join('a', @name)", "a/model.pt"),
        ("len(@b) == 3 and not @none", True),
        ("@none is None or 1 / 0", True),
        ("1 < @a <= 3", True),
        ("2 in @b", True),
        ("{'k': @a}['k']", 3),
        ("list(range(3))", [0, 1, 2]),
        ("max(1, 2) + min(3, 4) + round(2.6) + abs(-1) + int('4')", 13),
        ("torch.float32", torch.float32),
        ("np.uint8", np.uint8),
        ("monai.utils.CommonKeys.PRED", "pred"),
        ("torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')", "cpu"),
        ("torch.load('f', map_location=torch.device('cuda'))['path']", "f"),
        ("@a.to('cuda')", 3),
    ],
)
def test_it_gives_what_python_gives(text, value):
    assert run(text) == value


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("lambda x: torch.where(x[[1]] > 0.5, 4, torch.where(x[[0]] > 0.5, 1, 0))", True),
        ("lambda x: torch.nan_to_num(x)", True),
        ("lambda x: (x[0:2] * 2 - 1) / 3", True),
        ("lambda y: torch.cat([y[[1]], y[[0]]])", False),
        ("lambda x: x[0]", False),
        ("lambda x: torch.where(x > @a, 1, x).argmax(dim=0, keepdim=True)", False),
        ("lambda x: (x > 0.5) & (x < 0.9) | (x == 0)", False),
        ("lambda x: x.softmax(0).float()", False),
        ("lambda x: x / x.shape[1]", False),
    ],
)
def test_lambdas_give_what_python_gives(text, same):
    function = run(text)
    assert isinstance(function, Lambda)
    x = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1))
    mine, python = function(x), eval(text.replace("@a", "3"))(x)
    assert torch.equal(mine, python)
    assert mine.dtype == python.dtype
    if function.is_pointwise:  # then halves of the image give halves of the result
        assert torch.equal(torch.cat([function(x[:, :2]), function(x[:, 2:])], 1), mine)
    if same:
        assert function.is_pointwise


@pytest.mark.parametrize("text", ["lambda x: x[:, :1]", "lambda x: x.softmax(0)", "lambda x: torch.cat([x, x], 1)",
                                  "lambda x: x - torch.amax(x)", "lambda x: x[0]", "lambda x, y: x"])  # fmt: skip
def test_what_looks_beyond_a_voxel_is_not_called_pointwise(text):
    assert not run(text).is_pointwise


@pytest.mark.parametrize(
    "text",
    [
        *("lambda x: x * torch.ones_like(x)[:, :, None] * x[:, None, None, None]", "lambda x: y", "lambda *x: x"),
        *("lambda x=1: x", "lambda torch: torch", "lambda x: lambda y: y", "lambda x: x.tofile('f')"),
        *("lambda x: torch.save(x)", "lambda x: x.data", "lambda x: torch.ops", "lambda x: open(x)"),
    ],
)
def test_lambdas_that_do_more_are_refused(text):
    with pytest.raises(NotRun):
        run(text)(torch.rand(70, 70, 70))


@pytest.mark.parametrize(
    "text",
    [
        *("2 ** 3", "1 << 3", "x", "print(1)", "'a'.upper()", "@b.append(1)", "f'{@a}'", "[i for i in @b]", "(y := 1)"),
        *("...", "1j", "b'x'", "not torch.float32", "torch.zeros(3)", "torch.nn", "@a.real", "len(*@b)", "dict(a=1)"),
        *("'%s' % 1", "9007199254740993", "'x' * 5000", "[0] * 5000", "1e308 * 10", "{1: 2}", "await x", "lambda: 1 +"),
        *("{'_target_': 'os.system'}", "max(@b, key=len)", "@b < 1", "os.environ", "__import__('os')", ""),
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(NotRun):
        run(text)


WORDS = ["@a", "@b", "@c#d", "@name", "@flag", "lambda", "x", ":", "torch.where", "torch.load(", "len(", "[", "]"]
WORDS += ["(", ")", "{", "}", ",", ".", "+", "-", "*", "/", "//", "%", "==", "if", "else", "1", "2.5", "'t'", "None"]
WORDS += ["x", "[0]", " and ", " not ", "__class__", "open(", ".shape", "range(", "9" * 20]


def survives(text):
    """Any text gives a value within the bounds or is refused, quickly, and nothing else happens."""
    with suppress(NotRun):
        run(text)


@settings(max_examples=150)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)))
def test_any_text_is_refused_or_answered(text):
    survives(text)
