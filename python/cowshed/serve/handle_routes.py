"""REST's side of handles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from cowshed.serve.answering import ok, respond
from cowshed.serve.arguments import TEXT
from cowshed.serve.callers import caller_of, services_of
from cowshed.serve.describing import refusals
from cowshed.serve.handles import Handle
from cowshed.serve.idempotency import Answer
from cowshed.store.spec import SnapSpec, parse_spec
from cowshed.wire.answers import DiffPage, HandleInfo, HandleLock
from cowshed.wire.operations import Role
from cowshed.wire.records import encode

_MOST = 1 << 62
_Id = Annotated[str, Path(description="The handle's id", max_length=64)]


class OpenArguments(BaseModel):
    """As `Store.open` has them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    spec: TEXT
    read_only: bool = False
    snapshot_id: Annotated[int, Field(ge=0, le=_MOST)] | None = None
    cached: bool = True


class LockArguments(BaseModel):
    """As `Image.lock_acquire` has them."""

    model_config = ConfigDict(extra="forbid")

    automatic: bool = Field(False, description="Whether it goes over to whoever asks for it next")


class BreakArguments(BaseModel):
    """As `Image.lock_break` has them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cookie: TEXT


class EndArguments(BaseModel):
    """How it was used."""

    model_config = ConfigDict(extra="forbid")

    written: bool = Field(False, description="Whether the disk was written: then its times say so")


class DiffArguments(BaseModel):
    """As `Image.diff` has them."""

    model_config = ConfigDict(extra="forbid")

    from_snapshot: TEXT | None = None
    offset: Annotated[int, Field(ge=0, le=_MOST)] = 0
    length: Annotated[int, Field(ge=0, le=_MOST)] | None = None
    own: bool = False


def routes() -> APIRouter:
    """The routes below `/v1/handles`.

    What waits for no disk is answered where requests come in, as the look-ups of `operations` are.
    """
    router = APIRouter(prefix="/v1/handles", tags=["handles"], responses=refusals())

    def mine(request: Request, handle_id: str, role: Role, what: str) -> Handle:
        principal = caller_of(request).principal
        handle = services_of(request).handles.get(handle_id, principal)
        principal.check(role, [handle.image.spec.pool], what)
        return handle

    @router.post("", operation_id="open", response_model=HandleInfo, status_code=201)
    async def open_(request: Request, arguments: OpenArguments) -> Response:
        """Open an image or snapshot; the data is at the NBD export that is told here and never again."""
        caller = caller_of(request)
        spec = parse_spec(arguments.spec)
        reads = arguments.read_only or arguments.snapshot_id is not None or isinstance(spec, SnapSpec)
        caller.principal.check("read" if reads else "operate", [spec.pool], "open")
        handle = services_of(request).handles.open(
            caller.store,
            caller.principal,
            arguments.spec,
            read_only=arguments.read_only,
            snapshot_id=arguments.snapshot_id,
            cached=arguments.cached,
        )
        return ok(encode(HandleInfo, handle.info(secret=True)), 201)

    @router.get("", operation_id="handles", response_model=list[HandleInfo])
    def listed(request: Request) -> Response:
        """What is open, as far as its pool may be seen."""
        seen = services_of(request).handles.listed(caller_of(request).principal)
        return ok(encode(list[HandleInfo], seen))

    @router.get("/{handle_id}", operation_id="handle", response_model=HandleInfo)
    async def shown(request: Request, handle_id: _Id) -> Response:
        """One of the caller's handles, with the size that it has now."""
        return ok(encode(HandleInfo, mine(request, handle_id, "read", "use the handle").info()))

    @router.delete("/{handle_id}", operation_id="close_handle", status_code=204)
    async def ended(
        request: Request, handle_id: _Id, arguments: Annotated[EndArguments, Query()]
    ) -> Response:
        """Close it, and let go its lock. Connections to its export should be over by then."""
        handle, handles = mine(request, handle_id, "read", "close the handle"), services_of(request).handles
        if arguments.written or handle.image.written:
            await run_in_threadpool(handles.end, handle, written=arguments.written)
        else:
            handles.end(handle)
        return respond(Answer(204))

    @router.get("/{handle_id}/lock", operation_id="lock_owner", response_model=HandleLock)
    async def lock(request: Request, handle_id: _Id) -> Response:
        """Who holds the exclusive lock of its image."""
        return ok(encode(HandleLock, mine(request, handle_id, "read", "see the lock").lock()))

    @router.post("/{handle_id}/lock", operation_id="lock_acquire", status_code=204)
    async def acquired(
        request: Request, handle_id: _Id, arguments: Annotated[LockArguments, Query()]
    ) -> Response:
        """Take the exclusive lock."""
        image = mine(request, handle_id, "operate", "lock").image
        image.lock_acquire(automatic=arguments.automatic)
        return respond(Answer(204))

    @router.delete("/{handle_id}/lock", operation_id="lock_release", status_code=204)
    async def released(request: Request, handle_id: _Id) -> Response:
        """Let it go."""
        mine(request, handle_id, "operate", "unlock").image.lock_release()
        return respond(Answer(204))

    @router.post("/{handle_id}/lock/break", operation_id="lock_break", status_code=204)
    async def broken(request: Request, handle_id: _Id, arguments: BreakArguments) -> Response:
        """Take it from the owner with that cookie."""
        mine(request, handle_id, "operate", "break the lock").image.lock_break(arguments.cookie)
        return respond(Answer(204))

    @router.get("/{handle_id}/diff", operation_id="diff", response_model=DiffPage)
    def diff(request: Request, handle_id: _Id, arguments: Annotated[DiffArguments, Query()]) -> Response:
        """Extents that differ from a snapshot, a page at a time; `next` is the offset to go on from."""
        handle = mine(request, handle_id, "read", "see the difference")
        page = handle.diff(arguments.from_snapshot, arguments.offset, arguments.length, arguments.own)
        return ok(encode(DiffPage, page))

    return router
