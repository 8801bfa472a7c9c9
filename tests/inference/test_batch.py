"""The loop over many cases: order, overlap, bounds, and who is to blame."""

import threading
import time

import pytest

from medseg.domain.errors import InputError, OutputError, ResourceError
from medseg.inference.batch import run_batch


def same(case, value):
    return value


def outcomes(cases, read=lambda case, beside: case, work=same, write=same):
    return [(o.case, o.kept, str(o.refusal or "")) for o in run_batch(cases, read, work, write)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_case_has_its_outcome_in_order(count):
    done = outcomes(range(count), lambda case, beside: case * 10, lambda case, r: r + 1, lambda case, m: m * 2)
    assert done == [(case, (case * 10 + 1) * 2, "") for case in range(count)]


@pytest.mark.parametrize("step", ["read", "work", "write"])
@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_refused_case_does_not_stop_the_others(step, bad):
    def refuse(case, value):
        if case == bad:
            raise InputError(f"{case} is bad")
        return case

    done = outcomes(range(5), **{step: refuse})
    assert [case for case, _, _ in done] == [0, 1, 2, 3, 4]
    assert [(case, why) for case, _, why in done if why] == [(bad, f"{bad} is bad")]


def test_reading_goes_one_case_ahead_and_writing_one_behind():
    """Each step of case 1 waits for what only overlaps: were they one after the other, this would not end."""
    read_2, written_0 = threading.Event(), threading.Event()
    at_work = threading.Event()

    def read(case, beside):
        if case == 2:
            assert at_work.wait(20)
            read_2.set()
        return case

    def work(case, value):
        if case == 1:
            at_work.set()
            assert read_2.wait(20)
            assert written_0.wait(20)
        return value

    def write(case, value):
        if case == 0:
            assert at_work.wait(20)
            written_0.set()
        return value

    assert [case for case, _, _ in outcomes(range(3), read, work, write)] == [0, 1, 2]


def test_no_more_than_one_case_is_read_ahead():
    done_with, read_at = [], {}

    def read(case, beside):
        read_at[case] = len(done_with)
        return case

    def work(case, value):
        done_with.append(case)
        return value

    outcomes(range(6), read, work)
    assert all(finished >= case - 2 for case, finished in read_at.items())


def test_what_does_not_fit_beside_another_case_is_read_again_alone():
    asked = []

    def read(case, beside):
        asked.append((case, beside))
        if case == 1 and beside is not None:
            raise ResourceError("no room beside another")
        return f"case {case}"

    assert [kept for _, kept, _ in outcomes(range(3), read)] == ["case 0", "case 1", "case 2"]
    assert asked.count((1, None)) == 1
    assert (1, "case 0") in asked


def test_what_never_fits_is_refused_and_the_others_go_on():
    def read(case, beside):
        if case == 1:
            raise ResourceError("too large")
        return case

    assert [why for _, _, why in outcomes(range(3), read)] == ["", "too large", ""]


@pytest.mark.parametrize(("step", "error"), [("work", ResourceError), ("write", ResourceError), ("write", OutputError),
                                             ("work", KeyboardInterrupt), ("work", SystemExit)])  # fmt: skip
def test_what_ends_the_batch_lets_the_last_case_be_written(step, error):
    written, seen = [], []

    def fail(case, value):
        if case == 2:
            raise error("over")
        if step == "write":
            written.append(case)
        return value

    def write(case, value):
        written.append(case)
        return value

    def see(outcomes):
        seen.extend(outcome.case for outcome in outcomes)

    steps = {"write": write, step: fail}
    with pytest.raises(error, match="over"):
        see(run_batch(range(5), lambda case, beside: case, steps.get("work", same), steps["write"]))
    assert written == [0, 1]
    assert set(seen) <= {0, 1}


def interrupt_while_writing(begun):
    """A batch interrupted in its second case, while the first is being written, which has to end."""
    whole = threading.Event()

    def work(case, value):
        if case == 1:
            assert begun.wait(20)
            raise KeyboardInterrupt
        return value

    def write(case, value):
        begun.set()
        time.sleep(0.3)
        whole.set()

    with pytest.raises(KeyboardInterrupt):
        list(run_batch(range(3), lambda case, beside: case, work, write))
    assert whole.is_set()


def test_an_interruption_while_the_writing_thread_starts_leaves_nothing_half_written(monkeypatch):
    """On a busy machine `Thread.start` returns late; interrupted there, the executor did not know its thread, and the
    process ended before what the thread was writing was whole.
    """
    start, begun = threading.Thread.start, threading.Event()

    def linger(thread):
        start(thread)
        if thread.name.startswith("medseg-write") and begun.wait(0.5):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", linger)
    interrupt_while_writing(begun)


def test_a_second_interruption_does_not_stop_the_waiting(monkeypatch):
    join, begun, interruptions = threading.Thread.join, threading.Event(), [1, 1]

    def interrupted(thread, timeout=None):
        if thread.name.startswith("medseg-write") and interruptions:
            interruptions.pop()
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    interrupt_while_writing(begun)
    assert interruptions == []
