"""Log lines: one for each event, readable by machines, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime

import pytest

from cowshed.serve import logs
from cowshed.serve.settings import LogFormat
from cowshed.serve.tokens import Tokens


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """The process's logging, as it was."""
    names = ("cowshed", "uvicorn", "asyncio", "py.warnings")
    loggers = [logging.getLogger(name) for name in names]
    before = [(list(each.handlers), each.level, each.propagate) for each in loggers]
    raising = logging.raiseExceptions
    yield
    logging.captureWarnings(False)
    logging.raiseExceptions = raising
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


def written(form: LogFormat, *, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(form, level, stream=stream)  # type: ignore[arg-type]
    return stream


def test_an_event_as_json() -> None:
    stream = written("json")
    logs.event("nbd.connected", "a client came", export="rbd/ä\u2028b\n", tls=True, seconds=1.5, nothing=None)
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    assert found == {
        "level": "info",
        "event": "nbd.connected",
        "message": "a client came",
        "export": "rbd/ä\u2028b\n",
        "tls": True,
        "seconds": 1.5,
    }


def test_an_event_as_text() -> None:
    stream = written("text")
    logs.event("request", "it was answered", ms=1.5, client="a b", odd="x\ny", empty="", yes=True)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(
        'info    request: it was answered; ms=1.5 client="a b" odd="x\\ny" empty="" yes=true'
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_event_is_one_line(form: LogFormat) -> None:
    stream = written(form)
    try:
        raise ValueError("odd\nlines")
    except ValueError as error:
        logs.event("broken", "two\nlines\x1b[31m\u0085", level=logging.ERROR, error=error, field="\r\n\x0b")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError" in line
    assert line.isprintable() or form == "json"
    if form == "json":
        assert "odd\nlines" in json.loads(line)["traceback"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_holds_a_secret(form: LogFormat, tmp_path: object) -> None:
    stream = written(form)
    text = Tokens(str(tmp_path)).create("a", "read")
    handle = "00112233445566778899aabbccddeeff"
    logs.event(
        "x", f"words {text}", field=f"Bearer {text}", path=f"/.handle/{handle}?x", header="bearer abcdef"
    )
    try:
        raise ValueError(f"no {text}")
    except ValueError as error:
        logs.event("y", "z", error=error, token=text, export=f".handle/{handle}")
    said = stream.getvalue()
    assert text not in said
    assert text.removeprefix("cowshed_") not in said
    assert handle not in said
    assert "abcdef" not in said
    assert "cowshed_***" in said
    assert ".handle/***" in said


def test_levels() -> None:
    stream = written("text", level="warning")
    logs.event("a", "no")
    logs.event("b", "yes", level=logging.WARNING)
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["b:"]


def test_what_libraries_say_has_the_same_shape() -> None:
    stream = written("json")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.error").error("failed %s", "x")
    logging.getLogger("asyncio").warning("slow")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["event"], each["level"]) for each in found] == [
        ("uvicorn.error", "error"),
        ("asyncio", "warning"),
        ("py.warnings", "warning"),
    ]
    assert found[0]["message"] == "failed x"


def test_a_reader_that_is_gone_does_no_harm() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    logs.configure("text", "info", stream=Gone())
    logs.event("x", "y")
