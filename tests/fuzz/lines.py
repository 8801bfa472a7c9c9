"""Which lines of some files are run: a counter of 30 lines, slow, for a sample of cases."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


@contextmanager
def lines_run(files: Sequence[Path]) -> Iterator[dict[str, set[int]]]:
    """By file name the numbers of the lines that ran, of those in functions."""
    seen: dict[str, set[int]] = {str(path): set() for path in files}

    def inside(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen[frame.f_code.co_filename].add(frame.f_lineno)
        return inside

    def called(frame: FrameType, event: str, _: Any) -> Any:
        return inside if frame.f_code.co_filename in seen else None

    sys.settrace(called)
    try:
        yield seen
    finally:
        sys.settrace(None)


def lines_of(path: Path) -> set[int]:
    """The lines in functions that can run."""

    def walk(code: CodeType, in_function: bool) -> Iterator[int]:
        if in_function:
            yield from (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from walk(constant, bool(constant.co_flags & 1))  # CO_OPTIMIZED: no class body

    return set(walk(compile(path.read_text(encoding="utf-8"), str(path), "exec"), False))
