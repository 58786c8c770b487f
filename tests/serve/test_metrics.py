"""The figures: as Prometheus reads them, and equal to what was done."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

import cowshed
from cowshed.errors import IOFailure
from cowshed.serve.metrics import Metrics, Sources, cumulative
from cowshed.store.records import StoreUsage
from serve.daemons import Daemon, serving, until

USAGE = StoreUsage(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, True)


class Space:
    cache_bytes, pages, dying_versions, unpunched_chunks = 20, 21, 22, 23


class Statistics:
    label, operation, requests, errors, bytes, seconds = 'rbd/a"\\\n', "read", 6, 1, 4096, 0.5
    buckets = ((0.001, 3), (0.1, 2), (math.inf, 1))


class Connection:
    def __init__(self, label: str, tls: bool) -> None:
        self.label, self.tls = label, tls


def sources(**changed: Any) -> Sources:
    return Sources(
        **{
            "usage": lambda: USAGE,
            "space": Space,
            "nbd_statistics": lambda: [("unix", [Statistics()])],
            "nbd_connections": lambda: [
                ("unix", [Connection("rbd/a", False), Connection("rbd/a", False)]),
                ("tcp", [Connection("rbd/a", True)]),
            ],
            "ready": lambda: True,
            "tasks": lambda: {"running": 2},
            "handles": lambda: 3,
            **changed,
        }
    )


def samples(
    text: bytes, *, openmetrics: bool = False
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = (parse_openmetrics if openmetrics else parse)(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def one(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[(name, tuple(sorted(labels.items())))]


@pytest.mark.parametrize("accept", [None, "application/openmetrics-text; version=1.0.0"])
def test_what_is_told(tmp_path: Path, accept: str | None) -> None:
    metrics = Metrics(str(tmp_path), sources())
    metrics.request_ended("create", 204, 0.02)
    metrics.request_ended("events", 200, None)
    text, media_type = metrics.text(accept)
    assert media_type.startswith("application/openmetrics-text" if accept else "text/plain")
    found = samples(text, openmetrics=bool(accept))
    read = {"export": 'rbd/a"\\\n', "operation": "read", "way": "unix"}
    assert one(found, "cowshed_nbd_requests_total", **read) == 6
    assert one(found, "cowshed_nbd_errors_total", **read) == 1
    assert one(found, "cowshed_nbd_bytes_total", **read) == 4096
    assert one(found, "cowshed_nbd_request_duration_seconds_sum", **read) == 0.5
    assert one(found, "cowshed_nbd_request_duration_seconds_count", **read) == 6
    assert one(found, "cowshed_nbd_request_duration_seconds_bucket", le="0.1", **read) == 5
    assert one(found, "cowshed_nbd_request_duration_seconds_bucket", le="+Inf", **read) == 6
    assert one(found, "cowshed_nbd_connections", export="rbd/a", way="unix", tls="no") == 2
    assert one(found, "cowshed_nbd_connections", export="rbd/a", way="tcp", tls="yes") == 1
    assert one(found, "cowshed_tasks", state="running") == 2
    assert one(found, "cowshed_handles") == 3
    assert one(found, "cowshed_ready") == 1
    assert one(found, "cowshed_api_requests_total", operation="create", status="204") == 1
    assert one(found, "cowshed_api_requests_total", operation="events", status="200") == 1
    assert one(found, "cowshed_api_request_duration_seconds_count", operation="create") == 1
    # A stream's length is its reader's choice.
    assert ("cowshed_api_request_duration_seconds_count", (("operation", "events"),)) not in found
    assert one(found, "cowshed_cache_bytes") == 20
    assert one(found, "process_open_fds") > 0
    assert one(found, "cowshed_filesystem_size_bytes") >= one(found, "cowshed_filesystem_free_bytes") > 0


def test_the_whole_space_account_is_told(tmp_path: Path) -> None:
    found = samples(Metrics(str(tmp_path), sources()).text(None)[0])
    told = {name: value for (name, _), value in found.items() if name.startswith("cowshed_store_")}
    # Each field has a number of its own, so none stands in for another.
    assert sorted(told.values()) == sorted(float(getattr(USAGE, name)) for name in USAGE.__slots__)
    assert told["cowshed_store_used_bytes"] == USAGE.used
    assert told["cowshed_store_snapshots"] == USAGE.snapshots
    assert told["cowshed_store_metadata_bytes"] == USAGE.metadata_bytes


def test_the_space_account_is_not_made_at_each_look(tmp_path: Path) -> None:
    made = []

    def usage() -> StoreUsage:
        made.append(1)
        return USAGE

    metrics = Metrics(str(tmp_path), sources(usage=usage))
    assert made == []
    for _ in range(5):
        metrics.text(None)
    assert len(made) == 1


def test_a_store_that_failed_does_not_silence_the_rest(tmp_path: Path) -> None:
    def usage() -> StoreUsage:
        raise IOFailure("the disk is gone")

    found = samples(Metrics(str(tmp_path), sources(usage=usage, ready=lambda: False)).text(None)[0])
    assert one(found, "cowshed_ready") == 0
    assert one(found, "cowshed_handles") == 3
    assert not any(name.startswith("cowshed_store_") for name, _ in found)


def test_buckets() -> None:
    assert cumulative([(0.5, 1), (1.0, 0), (math.inf, 2)]) == [("0.5", 1.0), ("1.0", 1.0), ("+Inf", 3.0)]


def scraped(daemon: Daemon) -> dict[Any, float]:
    answer = daemon.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.body)


@pytest.mark.skipif(not shutil.which("qemu-io"), reason="needs qemu-io (apt install qemu-utils)")
def test_a_daemons_figures_are_of_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "store"
    cowshed.init(path)
    with serving(path) as daemon:
        assert daemon.ask("POST", "/v1/images", {"spec": "a", "size": 1 << 20}).status < 300
        steps = ("write 0 64k", "write 64k 4k", "read 0 4k", "flush")
        words = [word for step in steps for word in ("-c", step)]
        subprocess.run(
            ["qemu-io", "-f", "raw", *words, f"nbd+unix:///rbd/a?socket={path}/nbd.sock"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        found = until(lambda: scraped_when_idle(daemon), "the end of the connection")
        write = {"export": "rbd/a", "operation": "write", "way": "unix"}
        assert one(found, "cowshed_nbd_requests_total", **write) == 2
        assert one(found, "cowshed_nbd_bytes_total", **write) == 68 << 10
        assert one(found, "cowshed_nbd_errors_total", **write) == 0
        assert one(found, "cowshed_nbd_request_duration_seconds_count", **write) == 2
        assert one(found, "cowshed_nbd_request_duration_seconds_bucket", le="+Inf", **write) == 2
        assert one(found, "cowshed_store_images") == 1
        assert one(found, "cowshed_store_used_bytes") == 68 << 10
        assert one(found, "cowshed_api_requests_total", operation="create", status="204") == 1
        assert daemon.end() == 0


def scraped_when_idle(daemon: Daemon) -> dict[Any, float]:
    """The figures, once no one is connected; else nothing."""
    found = scraped(daemon)
    return {} if any(name == "cowshed_nbd_connections" for name, _ in found) else found
