"""The `medseg` command in this process: quicker than a new one, with the same strings in and out."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from medseg.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines on standard error."""
        return self.err.splitlines()

    @property
    def json(self) -> Any:
        """Standard output as JSON; NaN and infinity, which are none, are refused."""
        return json.loads(self.out, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))


def medseg(*arguments: object) -> Outcome:
    """`medseg ARGUMENTS`; its allocator and signals stay those of the tests."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch("sys.argv", ["medseg", *map(str, arguments)]),
        patch("medseg.cli.memory.keep_freed_memory"),
        patch("signal.signal"),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Outcome(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())
