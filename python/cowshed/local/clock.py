"""The time that is written into records."""

from __future__ import annotations

import math
import time


def now() -> float:
    """Seconds since 1970 (UTC), to the millisecond before: never ahead of the clock."""
    return math.floor(time.time() * 1000) / 1000
