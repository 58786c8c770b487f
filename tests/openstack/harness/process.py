"""The parent's end: starts a service, calls it, hears its answer."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .target import Target

FOLDER = Path(__file__).resolve().parent.parent


class DriverError(Exception):
    """What the driver raised: the name of its class, and what it says."""

    def __init__(self, kind: str, text: str, trace: str) -> None:
        super().__init__(f"{kind}: {text}\n{trace}")
        self.kind = kind
        self.text = text


class Service:
    """A service in a process of its own; its calls are those of the child's room (`glance`, `nova`, …)."""

    def __init__(self, target: Target, room: str, work: Path, **settings: Any) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.target = target
        self.log = work / f"{room}.log"
        said = {"conf": str(target.conf), "keyrings": str(target.keyrings), "work": str(work), **settings}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "harness.service", room, json.dumps(said)],
                cwd=FOLDER,
                env=target.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """The value that the call returned. Raises DriverError for what it raised."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([name, arguments, keywords]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the service ended in {name}:\n{self.log.read_text(errors='replace')[-4000:]}"
        answer = json.loads(line)
        if "error" in answer:
            raise DriverError(answer["error"], answer["text"], answer["trace"])
        return answer["value"]

    def hang_up(self) -> None:
        """Have it end, without waiting for that."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdout
        self.hang_up()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
