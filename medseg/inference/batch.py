"""Many cases, one after the other: the next one is read and the last one is written while the network works."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from medseg.domain.errors import InputError, MedsegError, ResourceError, UsageError
from medseg.inference.result import NotFiniteError

Case = TypeVar("Case")
Read = TypeVar("Read")
Made = TypeVar("Made")
Kept = TypeVar("Kept")

REFUSALS = (InputError, NotFiniteError, UsageError)  # of this case; the next one may do


@dataclass(frozen=True)
class Outcome(Generic[Case, Kept]):
    """What became of a case: what writing gave, or why it was refused."""

    case: Case
    kept: Kept | None = None
    refusal: MedsegError | None = None


def run_batch(
    cases: Sequence[Case],
    read: Callable[[Case, Read | None], Read],
    work: Callable[[Case, Read], Made],
    write: Callable[[Case, Made], Kept],
) -> Generator[Outcome[Case, Kept], None, None]:
    """The outcomes in the order of the cases, each when it is written.

    read:  in a thread, at most one case ahead; told what else is held in memory. What does not fit beside that is read
           again when nothing else is held, and refused only if it does not fit then.
    work:  in this thread.
    write: in another thread, at most one case behind.

    Any other error than a refusal ends the batch; what was begun to be written is finished first, also where the user
    interrupts, once or several times.
    """
    if len(cases) == 1:
        yield _alone(cases[0], read, work, write)
        return
    reader, writer = ThreadPoolExecutor(1, "medseg-read"), ThreadPoolExecutor(1, "medseg-write")
    writing: tuple[Case, Future[Kept]] | None = None
    try:
        # An executor does not know a thread whose start was interrupted, and would not wait for it at the end: so the
        # threads are started while there is nothing to do.
        for executor in (reader, writer):
            executor.submit(_nothing).result()
        coming = reader.submit(read, cases[0], None)
        for place, case in enumerate(cases):
            refusal, ready = None, None
            try:
                ready = coming.result()
            except ResourceError:
                if writing is not None:
                    yield _outcome(*writing)
                    writing = None
                try:
                    ready = read(case, None)
                except (*REFUSALS, ResourceError) as error:
                    refusal = error
            except REFUSALS as error:
                refusal = error
            if place + 1 < len(cases):
                coming = reader.submit(read, cases[place + 1], ready)
            made = None
            if ready is not None:
                try:
                    made = work(case, ready)
                except REFUSALS as error:
                    refusal = error
            ready = None
            if writing is not None:
                yield _outcome(*writing)
                writing = None
            if refusal is not None:
                yield Outcome(case, refusal=refusal.with_traceback(None))  # which would keep the image
            elif made is not None:
                writing = case, writer.submit(write, case, made)
        if writing is not None:
            yield _outcome(*writing)
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
        _wait_for(writer)


def _nothing() -> None:
    """Start an executor's thread."""


def _wait_for(executor: ThreadPoolExecutor) -> None:
    """Wait until nothing runs; an interruption is raised again when the wait is over."""
    interruption: BaseException | None = None
    while True:
        try:
            executor.shutdown(wait=True)
            break
        except (KeyboardInterrupt, SystemExit) as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _alone(
    case: Case,
    read: Callable[[Case, Read | None], Read],
    work: Callable[[Case, Read], Made],
    write: Callable[[Case, Made], Kept],
) -> Outcome[Case, Kept]:
    try:
        return Outcome(case, write(case, work(case, read(case, None))))
    except REFUSALS as error:
        return Outcome(case, refusal=error)


def _outcome(case: Case, writing: Future[Kept]) -> Outcome[Case, Kept]:
    try:
        return Outcome(case, writing.result())
    except REFUSALS as error:
        return Outcome(case, refusal=error)
