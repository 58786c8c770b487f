"""REST's side of tasks and events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cowshed.serve.answering import ok
from cowshed.serve.callers import caller_of, services_of
from cowshed.serve.describing import refusals
from cowshed.serve.tasks import LONGEST_WAIT
from cowshed.wire.answers import TaskInfo
from cowshed.wire.http import API, EVENT_HEADER, PROTOCOL, PROTOCOL_HEADER
from cowshed.wire.operations import OPERATIONS
from cowshed.wire.records import encode

_Id = Annotated[str, Path(description="The task's id", max_length=64)]


class WaitArguments(BaseModel):
    """A long poll."""

    model_config = ConfigDict(extra="forbid")

    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT)] = 0.0
    """Answer when something has changed or it has ended, after so many seconds at the latest."""
    seen: Annotated[int, Field(ge=-1, le=1 << 62)] = -1
    """`changes` of the answer that is known already."""


def routes() -> APIRouter:
    """The routes `/v1/tasks` and `/v1/events`."""
    router = APIRouter(prefix=API, responses=refusals())

    @router.get("/tasks", operation_id="tasks", response_model=list[TaskInfo], tags=["tasks"])
    async def listed(request: Request) -> Response:
        """What runs, and what has ended within the last hour."""
        found = services_of(request).tasks.all(caller_of(request).principal)
        return ok([encode(TaskInfo, task.info()) for task in found])

    @router.get("/tasks/{task_id}", operation_id="task", response_model=TaskInfo, tags=["tasks"])
    async def shown(request: Request, task_id: _Id, arguments: Annotated[WaitArguments, Query()]) -> Response:
        """How far it is; when it has ended, with its result or its error."""
        task = services_of(request).tasks.get(task_id, caller_of(request).principal)
        return ok(encode(TaskInfo, await task.wait(arguments.seen, arguments.wait)))

    @router.delete("/tasks/{task_id}", operation_id="cancel", response_model=TaskInfo, tags=["tasks"])
    async def cancelled(request: Request, task_id: _Id) -> Response:
        """Have it stop at the next safe place; it may come to its end before that."""
        principal = caller_of(request).principal
        task = services_of(request).tasks.get(task_id, principal)
        principal.check(OPERATIONS[task.subject.operation].role, task.subject.pools, "cancel")
        task.cancel("cancelled on request")
        return ok(encode(TaskInfo, task.info()))

    @router.get(
        "/events",
        operation_id="events",
        tags=["events"],
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events; the data of each is an `Event`",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )
    async def events(
        request: Request, last_id: Annotated[str | None, Header(alias=EVENT_HEADER)] = None
    ) -> Response:
        """What is changed through the daemon from now on, or behind the event with that id."""
        stream = services_of(request).events.follow(caller_of(request).principal, last_id)
        headers = {PROTOCOL_HEADER: str(PROTOCOL), "Cache-Control": "no-store"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    return router
