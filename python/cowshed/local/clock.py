"""The time that is written into records."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds since 1970 (UTC), to the millisecond."""
    return round(time.time(), 3)
