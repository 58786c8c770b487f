"""The figures of a daemon, as Prometheus reads them.

What others count already (the NBD server, the space account) is asked for when someone looks, and not
counted again here. Only requests to the API are counted here, as they end.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cowshed import __version__
from cowshed.errors import CowshedError
from cowshed.store.records import StoreUsage

if TYPE_CHECKING:
    from cowshed._kernel import NbdConnection, NbdStatistics, SpaceInfo

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_USAGE_SECONDS: Final = 5.0
"""How old the space account may be, at least."""
_USAGE_SHARE: Final = 20
"""It is made anew only after this many times the time that it took: at most 5 % of one CPU goes there."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom to ask for what. Each is called from the thread that collects."""

    usage: Callable[[], StoreUsage]
    space: Callable[[], SpaceInfo]
    nbd_statistics: Callable[[], Iterable[tuple[str, Sequence[NbdStatistics]]]]
    """By way in: `unix` or `tcp`."""
    nbd_connections: Callable[[], Iterable[tuple[str, Sequence[NbdConnection]]]]
    ready: Callable[[], bool]
    tasks: Callable[[], Mapping[str, int]] = field(default=dict)
    """How many, by state."""
    handles: Callable[[], int] = field(default=lambda: 0)


class Metrics:
    """All figures of one daemon, in a registry of their own."""

    def __init__(self, directory: str, sources: Sources) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "cowshed_api_requests",
            "Requests to the API that have ended.",
            ["operation", "status"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "cowshed_api_request_duration_seconds",
            "Time from a request's head to its answer's end, without streams of events.",
            ["operation"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_Figures(directory, sources))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def request_ended(self, operation: str, status: int, seconds: float | None) -> None:
        """Count a request; `seconds` is None for a stream, whose length is its reader's choice."""
        self._requests.labels(operation, str(status)).inc()
        if seconds is not None:
            self._durations.labels(operation).observe(seconds)

    def text(self, accept: str | None) -> tuple[bytes, str]:
        """All figures and their media type, in the format that an `Accept` header asks for."""
        encode, media_type = choose_encoder(accept or "")
        return encode(self.registry), media_type


class _Figures(Collector):
    """What is asked for anew at each look."""

    def __init__(self, directory: str, sources: Sources) -> None:
        self._directory = directory
        self._sources = sources
        self._usage = _Aging(sources.usage)

    def describe(self) -> list[Metric]:
        # Nothing: registering must not ask a store that is not open yet.
        return []

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("cowshed", "The version that runs.", {"version": __version__})
        yield _gauge("ready", "Whether the daemon takes work.", float(self._sources.ready()))
        yield from self._nbd()
        yield from self._work()
        yield from self._file_system()
        try:
            usage, space = self._usage(), self._sources.space()
        except CowshedError:
            # A store that has failed: cowshed_ready says so, and everything else goes on being told.
            return
        yield from _store(usage)
        yield _gauge("cache_bytes", "Metadata pages in memory.", space.cache_bytes)
        yield _gauge("metadata_pages", "Tree pages in the catalogue.", space.pages)
        yield _gauge(
            "dying_versions", "Dropped versions whose space is still being freed.", space.dying_versions
        )
        yield _gauge(
            "unpunched_chunks",
            "Chunks of freed space that are not yet back with the file system.",
            space.unpunched_chunks,
        )

    def _nbd(self) -> Iterator[Metric]:
        labels = ["export", "operation", "way"]
        requests = CounterMetricFamily("cowshed_nbd_requests", "NBD requests that have ended.", labels=labels)
        transferred = CounterMetricFamily(
            "cowshed_nbd_bytes", "Bytes that NBD requests which succeeded were about.", labels=labels
        )
        errors = CounterMetricFamily(
            "cowshed_nbd_errors", "NBD requests that ended with an error.", labels=labels
        )
        seconds = HistogramMetricFamily(
            "cowshed_nbd_request_duration_seconds", "Time that NBD requests took.", labels=labels
        )
        for way, all_of_it in self._sources.nbd_statistics():
            for one in all_of_it:
                names = [one.label, one.operation, way]
                requests.add_metric(names, one.requests)
                transferred.add_metric(names, one.bytes)
                errors.add_metric(names, one.errors)
                seconds.add_metric(names, cumulative(one.buckets), one.seconds)
        yield from (requests, transferred, errors, seconds)
        connections = GaugeMetricFamily(
            "cowshed_nbd_connections", "NBD connections that are open.", labels=["export", "way", "tls"]
        )
        count = Tally(
            (one.label, way, "yes" if one.tls else "no")
            for way, all_of_it in self._sources.nbd_connections()
            for one in all_of_it
        )
        for names_of_it, number in count.items():
            connections.add_metric(names_of_it, number)
        yield connections

    def _work(self) -> Iterator[Metric]:
        tasks = GaugeMetricFamily("cowshed_tasks", "Tasks, by state.", labels=["state"])
        for state, number in self._sources.tasks().items():
            tasks.add_metric([state], number)
        yield tasks
        yield _gauge("handles", "Images and snapshots that clients have open.", self._sources.handles())

    def _file_system(self) -> Iterator[Metric]:
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return
        size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        yield _gauge("filesystem_size_bytes", "Size of the file system that holds the store.", size)
        yield _gauge("filesystem_free_bytes", "What is free there for this user.", free)


_STORE = {
    "pools": "Pools.",
    "images": "Images.",
    "snapshots": "Snapshots.",
    "provisioned_bytes": "Sum of the images' sizes.",
    "used_bytes": "Data that some version references.",
    "hidden_bytes": "Data that only removed snapshots with several clones hold.",
    "free_bytes": "Room inside the blocks file that the next writes may take.",
    "pending_bytes": "Freed data that waits for a commit.",
    "metadata_bytes": "Live metadata: keys and values of the catalogue.",
    "catalog_bytes": "Length of the catalogue file.",
    "blocks_file_bytes": "What the blocks file takes on its file system.",
    "versions": "Versions: heads and snapshots, hidden ones included.",
    "hidden_versions": "Removed snapshots that several clones still derive from.",
    "reclaim_pending": "Whether removed things still have space to give back.",
}
"""What `StoreUsage` says, by the name of its figure."""


def _store(usage: StoreUsage) -> Iterator[Metric]:
    for name, words in _STORE.items():
        value = getattr(usage, name, None)
        if value is None:
            value = getattr(usage, name.removesuffix("_bytes"))
        yield _gauge(f"store_{name}", words, float(value))


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"cowshed_{name}", words, value=value)


def cumulative(buckets: Sequence[tuple[float, int]]) -> list[tuple[str, float]]:
    """Buckets as `(upper bound in seconds, count)`, the last without bound: summed up for Prometheus."""
    sums, so_far = [], 0
    for bound, count in buckets:
        so_far += count
        sums.append(("+Inf" if bound == math.inf else str(bound), float(so_far)))
    return sums


class _Aging:
    """The space account, which walks the catalogue: kept for a while, the longer the more it cost."""

    def __init__(self, make: Callable[[], StoreUsage]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: StoreUsage | None = None
        self._good_until = 0.0

    def __call__(self) -> StoreUsage:
        with self._lock:
            if self._made is None or time.monotonic() >= self._good_until:
                start = time.monotonic()
                self._made = self._make()
                end = time.monotonic()
                self._good_until = end + max(_USAGE_SECONDS, _USAGE_SHARE * (end - start))
            return self._made
