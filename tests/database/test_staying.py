"""A thread that stays for the next work."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from gotsurge_async.database import writer
from gotsurge_async.database.writer import Staying


def test_what_comes_while_the_thread_stays_is_done_in_order_and_what_is_submitted_after_it() -> None:
    """The pool is asked once."""
    done: list[int] = []
    threads: set[int] = set()

    def work(number: int) -> None:
        done.append(number)
        threads.add(threading.get_ident())

    with ThreadPoolExecutor(1) as pool:
        thread = Staying(pool)
        for number in range(100):
            thread.do(work, number)
        thread.leave()
        pool.submit(work, 100).result(60)
    assert done == [*range(101)]
    assert len(threads) == 1


@pytest.mark.parametrize("stay", [0.0, 0.000_01, 0.001])
def test_no_work_is_lost_when_the_thread_leaves_at_the_same_moment(
    stay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short it stays, each work is done."""
    monkeypatch.setattr(writer, "STAY", stay)
    with ThreadPoolExecutor(1) as pool:
        thread = Staying(pool)
        for number in range(2000):
            done = threading.Event()
            thread.do(done.set)
            if number % 3 == 0:
                thread.leave()
            assert done.wait(60), number


def test_work_for_a_thread_that_could_not_be_started_is_done_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked got the error, and knows whether it still matters."""
    done: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        thread = Staying(pool)
        with monkeypatch.context() as patch:

            def refuse(_: object) -> None:
                raise RuntimeError("can't start new thread")

            patch.setattr(pool, "submit", refuse)
            with pytest.raises(RuntimeError):
                thread.do(partial(done.append, 1))
        thread.do(partial(done.append, 2))
        thread.leave()
        pool.submit(lambda: None).result(60)
    assert done == [1, 2]
