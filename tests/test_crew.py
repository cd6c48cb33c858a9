"""Threads that compute one thing together."""

import threading

import pytest

from engine.kernels.crew import Crew


@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_part_is_done_once_by_a_thread_of_its_own_and_all_at_a_time(size: int) -> None:
    crew, meeting = Crew(), threading.Barrier(size)
    for _ in range(20):
        done: dict[int, int] = {}

        def part(rank: int, done: dict[int, int] = done) -> None:
            meeting.wait(10.0)  # a part that began only when another had ended would wait in vain
            assert rank not in done
            done[rank] = threading.get_ident()

        crew.run(part, size)
        assert sorted(done) == list(range(size))
        assert done[0] == threading.get_ident()
        assert len(set(done.values())) == size


@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_error_is_the_callers_and_the_crew_goes_on(where: int) -> None:
    crew = Crew()

    def part(rank: int) -> None:
        if rank == where:
            raise ValueError(f"part {rank}")

    for _ in range(3):
        with pytest.raises(ValueError, match=f"part {where}"):
            crew.run(part, 3)
    done: list[int] = []
    crew.run(done.append, 3)
    assert sorted(done) == [0, 1, 2]


def test_a_smaller_size_leaves_the_others_out() -> None:
    crew = Crew()
    for size in (3, 1, 2, 4):
        done: list[int] = []
        crew.run(done.append, size)
        assert sorted(done) == list(range(size))


def test_threads_end_with_their_crew() -> None:
    before = set(threading.enumerate())
    crew = Crew()
    crew.run(lambda rank: None, 4)
    mine = set(threading.enumerate()) - before
    assert len(mine) == 3
    del crew
    for thread in mine:
        thread.join(10.0)
        assert not thread.is_alive()
