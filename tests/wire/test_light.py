"""A client's start pays for what it needs, and nothing of the daemon's."""

from __future__ import annotations

from test_package import loaded_by


def test_the_wire_is_light() -> None:
    modules = "operations records requests errors answers http sockets"
    loaded = loaded_by("import " + ", ".join(f"cowshed.wire.{name}" for name in modules.split()))
    heavy = {
        "asyncio",
        "fastapi",
        "pydantic",
        "starlette",
        "uvicorn",
        "http.client",
        "email",
        "ssl",
        "pathlib",
    }
    heavy |= {"concurrent.futures", "logging", "subprocess", "tempfile", "cowshed._kernel", "cowshed.local"}
    assert loaded & heavy == set()
    assert "cowshed.wire.requests" in loaded
