"""What the daemon writes down: one line for each event, to stderr, as text or as JSON.

Below is the standard library's `logging`, so an operator's or a library's own settings go on working. An
event has a short name (`nbd.connected`), a sentence, and fields. No line ever holds a token or the name of a
handle's export, which opens a disk to whoever knows it: both are blotted out of the finished line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO, Final

from cowshed.serve.settings import LogFormat, LogLevel

_ROOT = "cowshed"
_SECRETS = re.compile(r"(cowshed_|\.handle/|[Bb]earer )[A-Za-z0-9_\-.~+/=%]{4,}")
_BLOT: Final = r"\1***"


def configure(form: LogFormat, level: LogLevel, *, stream: IO[str] | None = None) -> None:
    """Send cowshed's events, and the warnings of the libraries below it, to `stream` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name, least in (
        (_ROOT, level.upper()),
        ("uvicorn", "WARNING"),
        ("asyncio", "WARNING"),
        ("py.warnings", "WARNING"),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False
    logging.captureWarnings(True)
    # A reader of stderr that has gone away must not fill what is left with complaints about it.
    logging.raiseExceptions = False


def event(
    name: str,
    words: str,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **fields: object,
) -> None:
    """Write an event. `error` adds its traceback, for what is a mistake in cowshed."""
    logger = logging.getLogger(_ROOT)
    if logger.isEnabledFor(level):
        logger.log(level, "%s", words, exc_info=error, extra={"event": name, "fields": fields})


def blotted(text: str) -> str:
    """`text` without what must stay secret."""
    return _SECRETS.sub(_BLOT, text)


class _Json(logging.Formatter):
    """An object for each event: time (ISO 8601, UTC), level, event, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": blotted(record.getMessage()),
        }
        for key, value in getattr(record, "fields", {}).items():
            if value is not None:
                plain = isinstance(value, bool | int | float)
                line[key] = value if plain else blotted(str(value))
        if record.exc_info:
            line["traceback"] = blotted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, allow_nan=False, default=str).translate(_LINE_ENDS)


class _Text(logging.Formatter):
    """The same as a line for people: `TIME LEVEL EVENT: WORDS; key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        name = getattr(record, "event", record.name)
        line = f"{_time(record)} {record.levelname.lower():7} {name}: {record.getMessage()}"
        fields = getattr(record, "fields", {})
        shown = [f"{key}={_shown(value)}" for key, value in fields.items() if value is not None]
        if shown:
            line += "; " + " ".join(shown)
        if record.exc_info:
            line += "; traceback=" + json.dumps(self.formatException(record.exc_info))
        if not line.isprintable():
            line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        return blotted(line)


_LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}
"""JSON lets these stand in a text; some readers of lines take them for the end of one."""


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return text if text and not re.search(r'[\s"=;]', text) else json.dumps(text, ensure_ascii=False)
