"""A daemon in this process: a real store, real sockets, the real application; in threads of its own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from cowshed._kernel import NbdServer
from cowshed.opening import open_directly
from cowshed.serve.app import make_app
from cowshed.serve.exports import Exports
from cowshed.serve.services import Services
from cowshed.wire import sockets
from cowshed.wire.http import SOCKET_NAME


class ServedStore:
    """The store at `path`, served at its control socket until `stop`. It is made where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = open_directly(path, create=True)
        nbd = path / "nbd.sock"
        self.services = Services(self.store, nbd=lambda: (f"unix:{nbd}",))
        self.nbd = NbdServer(self.store._kernel, Exports(self.store, self.services.handles))
        self.nbd.listen_unix(nbd)
        self._sockets = [path / SOCKET_NAME, nbd]
        self._listener = sockets.bind(str(path / SOCKET_NAME))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daemon")
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        """Not uvicorn's own `serve`, which looks ten times a second whether it is to end."""
        config = uvicorn.Config(make_app(self.services), lifespan="off", log_config=None, http="h11")
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        await server.startup(sockets=[self._listener])
        self._ready.set()
        await self._end.wait()
        await server.shutdown(sockets=[self._listener])

    def stop(self, *, tidy: bool = True) -> None:
        """End as on SIGTERM: clients are cut off, the sockets go, the store is closed.

        Not `tidy`: the sockets' files stay, as when it is killed.
        """
        if not self._thread.is_alive():
            return
        assert self.nbd.stop()
        self.services.stop(10)
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        for socket in self._sockets if tidy else []:
            socket.unlink()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
