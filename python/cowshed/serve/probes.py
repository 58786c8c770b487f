"""`/healthz`, `/readyz` and `/metrics`: what machines ask a daemon every few seconds."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from cowshed.serve.callers import caller_of
from cowshed.serve.health import Health
from cowshed.serve.metrics import Metrics


def probes(health: Health, metrics: Metrics) -> APIRouter:
    """The routes. The first two tell nothing of the store, and ask for no token."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz", operation_id="healthz")
    async def healthz() -> JSONResponse:
        """The process is alive and answers."""
        return JSONResponse({"status": "alive"})

    # Not in the pool of the operations' threads, which may all be waiting for the store.
    @router.get("/readyz", operation_id="readyz")
    async def readyz() -> JSONResponse:
        """200 if the daemon takes work, else 503 and why."""
        trouble = await asyncio.to_thread(health.trouble)
        if trouble is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "why": trouble}, status_code=503)

    @router.get("/metrics", operation_id="metrics")
    async def exposition(request: Request) -> Response:
        """All figures, for those who may see the whole store."""
        caller_of(request).principal.check("read", (), "read the metrics")
        accept = request.headers.get("accept")
        text, media_type = await asyncio.to_thread(metrics.text, accept)
        return Response(text, headers={"Content-Type": media_type})

    return router
