"""Threads for the kernels: every part is done once, errors come back, and nothing hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref.backends import thread_pool
from compressae_ref.backends.thread_pool import set_threads, thread_count


@pytest.fixture(autouse=True)
def _three_threads(monkeypatch):
    monkeypatch.setattr(thread_pool, "MAX_SPLIT", 1 << 30)
    set_threads(3)
    yield
    set_threads(None)


def parallel_for(*arguments):
    """As `thread_pool.parallel_for`; not to end is an error."""
    outcome = Future()

    def call():
        try:
            outcome.set_result(thread_pool.parallel_for(*arguments))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, name="caller", daemon=True).start()
    return outcome.result(timeout=90)


@given(n=st.integers(0, 300), chunk=st.integers(1, 400), max_split=st.integers(1, 400), count=st.integers(1, 5))
def test_every_part_is_done_once(monkeypatch_module, n, chunk, max_split, count):
    monkeypatch_module.setattr(thread_pool, "MAX_SPLIT", max_split)
    set_threads(count)
    done = []
    parallel_for(n, chunk, lambda name, *part: done.append((*part, name, threading.get_ident())), "argument")
    done.sort()
    assert [number for start, stop, *_ in done for number in range(start, stop)] == list(range(n))
    assert all(0 < stop - start <= chunk and name == "argument" for start, stop, name, _ in done)
    assert len({ident for *_, ident in done}) <= count


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize(
    ("n", "chunk", "max_split", "count", "sizes"),
    [
        (100, 64, 64, 3, [34, 34, 32]),  # as many parts for each thread
        (100, 20, 20, 3, [17, 17, 17, 17, 17, 15]),
        (100, 20, 20, 1, [20, 20, 20, 20, 20]),
        (7, 64, 8, 3, [7]),  # what is little is not divided
        (20, 64, 8, 3, [8, 8, 4]),
        (3, 4, 8, 5, [1, 1, 1]),
        (0, 4, 8, 3, []),
    ],
)
def test_how_a_range_is_divided(monkeypatch, n, chunk, max_split, count, sizes):
    monkeypatch.setattr(thread_pool, "MAX_SPLIT", max_split)
    set_threads(count)
    parts = []
    parallel_for(n, chunk, lambda start, stop: parts.append((start, stop - start)))
    assert [size for _, size in sorted(parts)] == sizes


@pytest.mark.parametrize(("n", "count"), [(0, 3), (1, 3), (7, 1)])
def test_no_thread_is_woken_for_nothing(monkeypatch, n, count):
    monkeypatch.delattr(thread_pool, "_waiting")
    set_threads(count)
    parallel_for(n, 1, lambda start, stop: None)


def test_threads_work_side_by_side():
    """Each part waits until three are under way."""
    barrier = threading.Barrier(3)
    parallel_for(3, 1, lambda start, stop: barrier.wait(timeout=60))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("bad", ["the caller", "a helper", "all"])
def test_an_error_in_any_thread_is_raised_when_all_have_ended(bad, error):
    barrier, ended = threading.Barrier(3), []

    def part(start, stop):
        barrier.wait(timeout=60)  # so each thread has one
        role = "the caller" if threading.current_thread().name == "caller" else next(roles)
        if bad in (role, "all"):
            raise error("here")
        time.sleep(0.05)  # the error is there first
        ended.append(role)

    for times in (1, 2):  # and the threads are still there afterwards
        roles = iter(["a helper", "another helper"])
        with pytest.raises(error, match="here"):
            parallel_for(3, 1, part)
        assert len(ended) == times * (0 if bad == "all" else 2)
    parallel_for(3, 1, lambda start, stop: barrier.wait(timeout=60))


def test_arrays_live_no_longer_than_the_work():
    class Array:
        """Something that can be watched."""

    array, barrier = Array(), threading.Barrier(3)
    alive = weakref.ref(array)
    parallel_for(3, 1, lambda array, start, stop: barrier.wait(timeout=60), array)
    del array
    until = time.monotonic() + 60
    while alive() is not None and time.monotonic() < until:
        time.sleep(0.001)  # a helper may be about to forget it
    assert alive() is None


def test_callers_in_several_threads_do_not_disturb_each_other():
    """Each comes back when its own work has ended, with its own errors."""
    outcomes = {}

    def part(seen, bad, start, stop):
        time.sleep(0.001)
        seen.append(start)
        if start == bad:
            raise ZeroDivisionError

    def call(caller):
        for _ in range(20):
            seen, raised = [], False
            try:
                thread_pool.parallel_for(7, 1, part, seen, caller)
            except ZeroDivisionError:
                raised = True
            outcomes.setdefault(caller, set()).add((*sorted(seen), raised))

    callers = [threading.Thread(target=call, args=(caller,), daemon=True) for caller in (-1, 3, -2, -3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert outcomes == {caller: {(*range(7), caller == 3)} for caller in (-1, 3, -2, -3)}


@pytest.mark.parametrize(
    ("told", "count"), [("1", 1), ("5", 5), *((told, None) for told in ("0", "-2", "1.5", "²", "many", ""))]
)
def test_the_environment_says_how_many(monkeypatch, told, count):
    set_threads(None)
    monkeypatch.setenv("NUMBA_NUM_THREADS", told)
    thread_pool._default_threads.cache_clear()
    try:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        assert thread_count() == (count or available)
        set_threads(2)
        assert thread_count() == 2
        set_threads(None)
        assert thread_count() == (count or available)
    finally:
        thread_pool._default_threads.cache_clear()


@pytest.mark.parametrize(("allowed", "there", "count"), [({1, 5, 6}, 8, 3), (None, 8, 8), (None, None, 1)])
def test_one_thread_for_each_processor_that_may_be_used(monkeypatch, allowed, there, count):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: there)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    if allowed is None:
        monkeypatch.delattr(os, "sched_getaffinity")
    assert thread_pool._default_threads.__wrapped__() == count


WORK = """
import os, sys
from compressae_ref.backends.thread_pool import parallel_for, set_threads
set_threads(3)
def work():
    seen = []
    parallel_for(6, 1, lambda start, stop: seen.append(start))
    assert sorted(seen) == list(range(6))
work()
"""
FORK = f"""{WORK}
child = os.fork()
work()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def ends_well(program):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    return subprocess.run(command, timeout=60, check=False).returncode == 0


def test_a_process_does_not_wait_for_threads_that_wait_for_work():
    assert ends_well(WORK)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own_and_ends():
    """Without that it would wait for ever for its parent's thread_pool."""
    assert ends_well(FORK)
