"""Small objects by random operations: a store answers what a real cluster answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compat import object_programme
from compat.stores import stores
from cowshed.compat import rados

RECORDED: dict[str, list[str]] = json.loads(Path(__file__).with_name("object_answers.json").read_text())
REFUSED = "'AssertionError'"
"""What Ceph 16's module says to a comparison alone, where the first byte is another one, or no object is."""


def told(real: str, ours: str) -> str:
    """Our answer, in the real one's words where only those differ."""
    if real.startswith(REFUSED):
        for mine in ("-4095 ", "'ObjectNotFound 2' "):
            if ours.startswith(mine):
                return f"{REFUSED} {ours.removeprefix(mine)}"
    return ours


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_objects_are_as_in_a_cluster(tmp_path: Path, way: str) -> None:
    with stores(tmp_path, way):
        conf: dict[str, Any] = {"cowshed": str(tmp_path / "store")}
        with rados.Rados(conf=conf) as client, client.open_ioctx("rbdimage") as ioctx:
            seeds = object_programme.SEEDS if way == "local" else object_programme.SEEDS[:4]
            for seed in seeds:
                said = object_programme.answers(rados, ioctx, seed, swapped=False)
                for operation, real, ours in zip(
                    object_programme.programme(seed), RECORDED[str(seed)], said, strict=True
                ):
                    assert told(real, ours) == real, f"seed {seed}: {operation}"


def test_a_comparison_tells_where(tmp_path: Path) -> None:
    with stores(tmp_path, "daemon"):
        conf: dict[str, Any] = {"cowshed": str(tmp_path / "store")}
        with rados.Rados(conf=conf) as client, client.open_ioctx("rbdimage") as ioctx:
            ioctx.write_full("thing", b"hello")
            for data, offset, place in ((b"heLlo", 0, 2), (b"lox", 3, 2), (b"hello\0\0x", 0, 7)):
                with rados.WriteOpCtx() as operation:
                    operation.cmpext(data, offset)
                    operation.write_full(b"changed")
                    with pytest.raises(rados.ExtendMismatch) as caught:
                        ioctx.operate_write_op(operation, "thing")
                assert (caught.value.offset, caught.value.errno) == (place, 4095 + place)
                assert ioctx.cmpext("thing", data, offset) == -4095 - place
            assert ioctx.read("thing") == b"hello"
