"""Inputs made from a random generator, read, and nothing accepted but an answer or a typed refusal."""

from __future__ import annotations

import random
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.audit import watched
from tests.fuzz.harness import Tally, TooSlow, alarm, less_memory

_SECONDS = 2.0
_WARM = 150


class Made(NamedTuple):
    """An input, the names of what was done to make it, and whether all of that is harmless."""

    value: Any
    names: list[str]
    harmless: bool


@dataclass(frozen=True)
class Maker:
    """One kind of input.

    make:     an input from a random generator; the same generator gives the same.
    answer:   reads it; the folder is for its files. Gives what is wrong with the answer, "" for nothing.
    refusals: the types that a refusal may have.
    told:     whether users see the refusal as it is, so that it has to be one line with the folder in it.
    """

    name: str
    make: Callable[[random.Random], Made]
    answer: Callable[[Any, Path], str]
    refusals: tuple[type[Exception], ...]
    told: bool = True


def fuzz_made(maker: Maker, count: int, folder: Path, seed: int = 0, first: int = 0) -> Tally:
    """`count` cases from the number `first` on; case n is the same in every run with that seed.

    Nothing may be run, imported or connected, no file opened outside the folder; a case has 2 s, all half a GiB.
    """
    tally = Tally()
    folder.mkdir(exist_ok=True)
    for number in range(-_WARM, 0):  # modules that are loaded late are loaded now
        with suppress(Exception):
            maker.answer(maker.make(random.Random(f"{maker.name} {number}")).value, folder)
    with less_memory(), alarm(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number in range(first, first + count):
            made = maker.make(random.Random(f"{maker.name} {seed} {number}"))
            where = f"{maker.name} case {number} of seed {seed} ({', '.join(made.names)})"
            with watched([folder]) as did:
                _case(maker, made, where, folder, tally)
            tally.failures += [f"{where}: {what}" for what in did]
            if warned:  # a user would see more than one line
                tally.failures.append(f"{where}: warned: {warned[0].message}")
                warned.clear()
    return tally


def _case(maker: Maker, made: Made, where: str, folder: Path, tally: Tally) -> None:
    tally.cases += 1
    tally.harmless += made.harmless
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        fault = maker.answer(made.value, folder)
    except maker.refusals as error:
        message = str(error)
        tally.refusals[type(error).__name__] += 1
        if maker.told and not (message.isprintable() and len(message) <= 1000):
            tally.failures.append(f"{where}: refused in other than one short line: {message[:2000]!r}")
        if maker.told and str(folder) not in message:
            tally.failures.append(f"{where}: refused without naming the file: {message}")
        if made.harmless:
            tally.failures.append(f"{where}: a harmless change was refused: {message}")
    except TooSlow:
        tally.failures.append(f"{where}: not done after {_SECONDS} s")
    except (Exception, RecursionError) as error:
        tally.failures.append(f"{where}: {type(error).__name__}: {error}")
    else:
        tally.accepted += 1
        if fault:
            tally.failures.append(f"{where}: {fault}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    tally.slowest_s = max(tally.slowest_s, time.perf_counter() - started)
