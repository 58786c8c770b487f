"""Following a task: what is told and when, and that it is stopped when someone here says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cowshed.errors import Busy, CowshedError, Interrupted, IOFailure, NotFound
from cowshed.remote.following import follow
from cowshed.store import Progress
from cowshed.wire import errors
from cowshed.wire.answers import TaskInfo

START = TaskInfo(
    id="t",
    operation="o",
    state="running",
    changes=0,
    done=0,
    total=0,
    started=0.0,
    ended=None,
    client="c",
    specs=(),
)


class Daemon:
    """A task that takes these steps, one for each look; a cancelled one ends with the next."""

    def __init__(self, *steps: TaskInfo | CowshedError) -> None:
        self.steps = [replace(s, changes=i) if isinstance(s, TaskInfo) else s for i, s in enumerate(steps, 1)]
        self.at = 0
        self.asked: list[int] = []
        self.cancelled = 0

    def look(self, seen: int, seconds: int) -> TaskInfo:
        assert seconds > 0
        self.asked.append(seen)
        step = self.steps[self.at]
        if isinstance(step, CowshedError):
            raise step
        if self.cancelled:
            return replace(step, state="cancelled", error=errors.encode(Interrupted("stopped")))
        self.at += 1
        return step

    def cancel(self) -> None:
        self.cancelled += 1

    def follow(self, progress: Progress) -> object:
        return follow(self.look, self.cancel, progress)


def running(done: int, total: int) -> TaskInfo:
    return replace(START, done=done, total=total)


def ended(
    state: str, done: int, total: int, result: object = None, error: CowshedError | None = None
) -> TaskInfo:
    return replace(
        START,
        state=state,
        done=done,
        total=total,
        result=result,
        error=errors.encode(error) if error else None,
    )


def test_every_change_is_told_once_and_asked_for_with_what_was_seen() -> None:
    daemon = Daemon(running(0, 0), running(1, 3), running(1, 3), running(2, 3), ended("done", 3, 3, result=7))
    told: list[tuple[int, int]] = []
    assert daemon.follow(lambda done, total: told.append((done, total))) == 7
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert daemon.asked == [0, 1, 2, 3, 4]
    assert daemon.cancelled == 0


def test_a_task_that_has_ended_at_once_tells_its_end() -> None:
    told: list[tuple[int, int]] = []
    Daemon(ended("done", 1, 1)).follow(lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]


def test_a_failure_is_raised_as_it_was() -> None:
    with pytest.raises(Busy, match=r"^so busy \(wait\)$") as raised:
        Daemon(ended("failed", 1, 3, error=Busy("so busy", hint="wait"))).follow(lambda *_: None)
    assert raised.value.hint == "wait"


def test_cancelled_by_another() -> None:
    daemon = Daemon(running(1, 3), ended("cancelled", 1, 3, error=Interrupted("cancelled by root")))
    with pytest.raises(Interrupted, match="cancelled by root"):
        daemon.follow(lambda *_: None)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), ValueError("own")])
def test_what_progress_raises_cancels_and_passes_through_when_the_task_has_ended(
    raised: BaseException,
) -> None:
    daemon = Daemon(running(1, 3), running(2, 3), ended("done", 3, 3))
    looks: list[int] = []

    def stop(done: int, total: int) -> None:
        looks.append(len(daemon.asked))
        raise raised

    with pytest.raises(type(raised)) as seen:
        daemon.follow(stop)
    assert seen.value is raised
    assert daemon.cancelled == 1
    assert looks == [1]
    assert len(daemon.asked) == 2  # it was seen to be over


def test_an_interrupted_look_cancels_too() -> None:
    daemon = Daemon(running(1, 3), running(2, 3))
    looked = daemon.look

    def interrupted(seen: int, seconds: int) -> TaskInfo:
        if seen == 1 and not daemon.cancelled:
            raise KeyboardInterrupt
        return looked(seen, seconds)

    with pytest.raises(KeyboardInterrupt):
        follow(interrupted, daemon.cancel, lambda *_: None)
    assert daemon.cancelled == 1


def test_a_lost_daemon_is_what_is_raised() -> None:
    lost = IOFailure("lost the connection")
    with pytest.raises(IOFailure) as raised:
        Daemon(running(1, 3), lost).follow(lambda *_: None)
    assert raised.value is lost


def test_a_task_that_nobody_knows_any_more() -> None:
    with pytest.raises(IOFailure, match="started anew"):
        Daemon(running(1, 3), NotFound("no task")).follow(lambda *_: None)
