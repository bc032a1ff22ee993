"""Jobs in other processes: what they give, what they tell, and what ends them."""

import contextlib
import functools
import queue

import pytest
from listeners import Listener

from emogram.errors import EmogramError
from emogram.jobs import run_jobs
from emogram.progress import Task
from emogram.relay import relaying


def double(factor, progress, job):
    progress.say(f"job {job}")
    if job < 0:
        raise EmogramError(f"job {job} failed")
    return factor * job


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_job_comes_with_its_result_and_what_it_said(jobs):
    progress = Listener()
    done = dict(
        run_jobs(functools.partial(double, 2), [1, 2, 3], what="doubling", unit="jobs", jobs=jobs, progress=progress)
    )
    assert done == {1: 2, 2: 4, 3: 6}
    assert sorted(progress.lines) == ["job 1", "job 2", "job 3"]
    assert progress.totals["doubling"] == progress.steps["doubling"] == 3


def test_the_first_job_that_fails_is_told_and_those_before_it_are_given():
    seen = []
    with pytest.raises(EmogramError, match="job -2 failed"):
        seen += run_jobs(functools.partial(double, 2), [1, -2, 3], what="", unit="", jobs=1, progress=Listener())
    progress = Listener()
    running = run_jobs(functools.partial(double, 2), [1, -2, 3], what="", unit="", jobs=1, progress=progress)
    assert next(running) == (1, 2)
    running.close()
    assert progress.lines == ["job 1"]


def test_what_other_processes_report_comes_through_whole():
    progress = Listener()
    with relaying(progress, queue.SimpleQueue()) as relay:
        relay.say("a line")
        with relay.task("reading", 10) as task:
            for _ in range(10):
                task.advance()
        relay.say("another")
    assert progress.lines == ["a line", "another"]
    assert (progress.totals["reading"], progress.steps["reading"]) == (10, 10)


def test_jobs_that_do_the_same_are_told_apart_and_one_that_died_begins_anew():
    opened = []

    class Shows(Listener):
        @contextlib.contextmanager
        def task(self, what, total, *, unit="clips"):
            steps = []
            opened.append(steps)

            class Count(Task):
                def advance(self, steps_=1, *, note=""):
                    steps.append(steps_)

            yield Count()
            steps.append("closed")

    progress = Shows()
    with relaying(progress, queue.SimpleQueue()) as relay:
        with relay.of(0).task("training", 10) as first, relay.of(1).task("training", 10) as second:
            first.advance(1)
            second.advance(2)
        died = relay.of(1).task("training", 10)
        died.__enter__().advance(3)  # and no more is heard of it
        with relay.of(1).task("training", 10) as again:
            again.advance(4)
    numbers = [sum(one for one in steps if one != "closed") for steps in opened]
    assert numbers == [1, 2, 3, 4]
    assert all(steps[-1] == "closed" and steps.count("closed") == 1 for steps in opened)
