"""Tasks: long operations that go on without their caller."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cowshed.errors import Busy, CowshedError, Interrupted, NotFound
from cowshed.serve.bell import Bell
from cowshed.serve.principal import Principal
from cowshed.store.progress import Progress
from cowshed.wire import errors
from cowshed.wire.answers import TaskInfo

KEPT_SECONDS = 3600.0
"""How long the result of a task can be asked for."""
KEPT = 1000
RUNNING = 16
LONGEST_WAIT = 60.0
"""Seconds of one long poll."""
_REPORT_SECONDS = 0.1
"""Progress is told at most so often, unless someone attends to every step."""
_ATTENDANCE_SECONDS = 2.0
"""How long a task waits for whoever follows it closely; then no longer."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a task is about."""

    operation: str
    client: str
    principal: Principal
    specs: tuple[str, ...]
    pools: tuple[str, ...]


class Task:
    """One run of an operation, in a thread of its own."""

    def __init__(self, subject: Subject, attended: bool) -> None:
        self.id = os.urandom(8).hex()
        self.subject = subject
        self.thread: threading.Thread | None = None
        self._attended = attended
        self._state = threading.Condition()
        self._bell = Bell()
        self._cancelled: str | None = None
        self._reported = 0.0
        self._seen = 0
        self._changes = 0
        self._done = self._total = 0
        self._started = time.time()
        self._ended: float | None = None
        self._result: Any = None
        self._error: CowshedError | None = None

    @property
    def ended(self) -> float | None:
        """When it came to its end, in seconds since 1970."""
        return self._ended

    def info(self) -> TaskInfo:
        """How far it is."""
        with self._state:
            if self._ended is None:
                state = "running"
            elif self._error is None:
                state = "done"
            else:
                state = "cancelled" if isinstance(self._error, Interrupted) else "failed"
            return TaskInfo(
                id=self.id,
                operation=self.subject.operation,
                state=state,
                changes=self._changes,
                done=self._done,
                total=self._total,
                started=self._started,
                ended=self._ended,
                client=self.subject.client,
                specs=self.subject.specs,
                result=self._result,
                error=errors.encode(self._error) if self._error else None,
            )

    async def wait(self, seen: int, seconds: float) -> TaskInfo:
        """How far it is, once `changes` is beyond `seen`, it has ended, or `seconds` are over."""
        deadline = time.monotonic() + min(seconds, LONGEST_WAIT)
        with self._bell.listen() as ear:
            self._mark_seen(seen)
            while True:
                info = self.info()
                rest = deadline - time.monotonic()
                if info.changes > seen or info.ended is not None or rest <= 0:
                    return info
                await ear.wait(rest)

    def _mark_seen(self, seen: int) -> None:
        with self._state:
            self._seen = max(self._seen, seen)
            self._state.notify_all()

    def cancel(self, why: str) -> None:
        """Have it stop where it next tells its progress. One that tells none goes on to its end."""
        with self._state:
            self._cancelled = self._cancelled or why
            self._state.notify_all()

    def progress(self, done: int, total: int, /) -> None:
        """The operation's `Progress`."""
        with self._state:
            self._done, self._total = done, total
            now = time.monotonic()
            if self._attended or now - self._reported >= _REPORT_SECONDS:
                self._reported = now
                self._changes += 1
                self._bell.ring()
                if self._attended:
                    mine = self._changes
                    self._attended = self._state.wait_for(
                        lambda: self._seen >= mine or self._cancelled is not None, _ATTENDANCE_SECONDS
                    )
            if self._cancelled is not None:
                raise Interrupted(self._cancelled)

    def end(self, result: Any, error: CowshedError | None) -> None:
        """It came to its end."""
        with self._state:
            self._result, self._error = result, error
            self._ended = time.time()
            self._changes += 1
        self._bell.ring()


class Tasks:
    """All tasks of a daemon: those that run, and for a while those that have ended."""

    def __init__(self, *, report: Callable[[BaseException], None] | None = None) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._refusing: str | None = None

    def start(self, subject: Subject, work: Callable[[Progress], Any], *, attended: bool = False) -> Task:
        """Run `work`, whose result is a JSON value. Raises Busy when too many run."""
        with self._lock:
            if self._refusing is not None:
                raise Busy(self._refusing, hint="try again later")
            self._forget()
            if sum(task.ended is None for task in self._tasks.values()) >= RUNNING:
                raise Busy(f"{RUNNING} tasks run already", hint="wait for one of them, or cancel it")
            task = Task(subject, attended)
            task.thread = threading.Thread(
                target=self._run, args=(task, work), name=f"task {task.id}", daemon=True
            )
            self._tasks[task.id] = task
            task.thread.start()
        return task

    def _run(self, task: Task, work: Callable[[Progress], Any]) -> None:
        try:
            result = work(task.progress)
        except CowshedError as error:
            task.end(None, error)
        except BaseException as error:
            if self._report:
                self._report(error)
            task.end(None, unexpected())
        else:
            task.end(result, None)

    def get(self, task_id: str, principal: Principal) -> Task:
        """Raises NotFound, also for a task in pools that the principal may not see."""
        with self._lock:
            task = self._tasks.get(task_id)
        if task is None or not principal.sees(task.subject.pools):
            raise NotFound(f"no task {task_id!r}", hint="what has ended is kept for an hour")
        return task

    def all(self, principal: Principal) -> list[Task]:
        """Those that the principal may see, in the order of their start."""
        with self._lock:
            self._forget()
            return [task for task in self._tasks.values() if principal.sees(task.subject.pools)]

    def _forget(self) -> None:
        """Let go what ended long ago, and the oldest of what ended if there is too much."""
        ended = [task for task in self._tasks.values() if task.ended is not None]
        ended.sort(key=lambda task: task.ended or 0.0)
        before = time.time() - KEPT_SECONDS
        surplus = len(self._tasks) - KEPT
        for number, task in enumerate(ended):
            if number < surplus or (task.ended or 0.0) < before:
                del self._tasks[task.id]

    def running(self) -> list[Task]:
        """Those that have not ended."""
        with self._lock:
            return [task for task in self._tasks.values() if task.ended is None]

    def stop(self, why: str, seconds: float) -> bool:
        """Start none any more, cancel those that run, and wait for them; False if some still do."""
        with self._lock:
            self._refusing = why
        for task in self.running():
            task.cancel(why)
        deadline = time.monotonic() + seconds
        for task in self.running():
            if task.thread:
                task.thread.join(max(0.0, deadline - time.monotonic()))
        return not self.running()

    async def wait_all(self, seconds: float) -> bool:
        """Until none runs; False if some still do after `seconds`."""
        deadline = time.monotonic() + seconds
        for task in self.running():
            while task.ended is None and time.monotonic() < deadline:
                info = task.info()
                await task.wait(info.changes, deadline - time.monotonic())
                await asyncio.sleep(0)
        return not self.running()


def unexpected() -> CowshedError:
    """What a client is told of a fault of the daemon's own."""
    return CowshedError("the daemon met an error that it did not expect", hint="its log says more")
