"""Clients in several processes, through a daemon found by `mon_host` and a keyring, as os-brick does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compat.entering import clustered
from cowshed.compat import rados
from cowshed.programs import ceph


def test_a_client_enters_by_what_the_monitor_answered(tmp_path: Path) -> None:
    with clustered(tmp_path, "--insecure") as cluster:
        with rados.Rados(conf={"cowshed": str(cluster.store)}) as local:
            number, answer, _ = local.mon_command('{"prefix": "mon dump", "format": "json"}', b"")
            assert number == 0
            (mon,) = json.loads(answer)["mons"]
            fsid = local.get_fsid()
        assert mon["addr"] == f"{cluster.mon_host}/0"
        conf = tmp_path / "brick.conf"
        conf.write_text(
            f"[global]\nmon_host = {mon['addr'].partition('/')[0]}\n\n[client.cinder]\n"
            f"keyring = {cluster.keyring('cinder')}\n"
        )
        with rados.Rados(rados_id="cinder", conffile=str(conf)) as client:
            assert client.get_fsid() == fsid
            with client.open_ioctx("rbd") as ioctx:
                ioctx.write_full("note", b"from here")
        # Another process, at the same time as this one.
        with rados.Rados(rados_id="cinder", conffile=str(conf)):
            said = subprocess.run(
                [sys.executable, "-m", ceph.__name__, "-c", str(conf), "--id", "cinder", "fsid"],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            )
        assert said.stdout == f"{fsid}\n"


def test_who_has_no_key_is_kept_out(tmp_path: Path) -> None:
    with clustered(tmp_path, "--insecure") as cluster:
        client = rados.Rados(conf={"mon_host": cluster.mon_host, "keyring": str(tmp_path / "none")})
        with pytest.raises(rados.ObjectNotFound, match="keyring"):
            client.connect()


def test_where_nobody_answers_time_is_out(tmp_path: Path) -> None:
    with clustered(tmp_path, "--insecure") as cluster:
        conf = cluster.conf()
    client = rados.Rados(rados_id="cinder", conffile=str(conf))
    with pytest.raises(rados.TimedOut, match="error connecting to the cluster"):
        client.connect(timeout=1)
    assert client.state == "configuring"


def test_who_may_use_some_pools_sees_these_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with clustered(tmp_path, "--insecure") as cluster:
        with rados.Rados(conf={"cowshed": str(cluster.store)}) as owner:
            for pool in ("images", "vms", "secret"):
                owner.create_pool(pool)
                owner.store.create(f"{pool}/disk", 64 << 20)
                with owner.store.open(f"{pool}/disk") as image:
                    image.write(0, b"x" * (1 << 20))
            fsid = owner.get_fsid()
            whole = _df(owner)
            cluster.keyring("nova", "--pool", "images", "--pool", "vms")
            conf = str(cluster.conf("nova"))
            with rados.Rados(rados_id="nova", conffile=conf) as client:
                assert client.get_fsid() == fsid
                assert client.list_pools() == ["images", "vms"]
                found = _df(client)
                assert [pool["name"] for pool in found["pools"]] == ["images", "vms"]
                for pool in found["pools"]:
                    (all_of_it,) = (each for each in whole["pools"] if each["name"] == pool["name"])
                    assert pool["stats"]["stored"] == all_of_it["stats"]["stored"] == 1 << 20
                    assert pool["stats"]["max_avail"] == pytest.approx(
                        all_of_it["stats"]["max_avail"], rel=0.2
                    )
                sums = client.get_cluster_stats()
                assert sums["kb"] == pytest.approx(found["stats"]["total_bytes"] >> 10, rel=0.2)
                assert 0 < sums["kb_avail"] < sums["kb"] <= whole["stats"]["total_bytes"] >> 10
                for prefix in ("status", "osd dump", "osd df", "mon dump", "pg stat", "osd pool stats"):
                    assert client.mon_command(json.dumps({"prefix": prefix}), b"")[0] == 0
                with client.open_ioctx("vms") as ioctx:
                    assert ioctx.get_stats()["num_bytes"] == 1 << 20
                with pytest.raises(rados.ObjectNotFound):
                    client.open_ioctx("secret")
        # As scripts do, who have the file and want the key.
        for words, said in (
            (["auth", "get-key", "client.nova"], cluster.key("nova")),
            (["auth", "get", "client.nova"], cluster.keyring("nova").read_text().rstrip()),
            (["fsid"], fsid),
        ):
            assert ceph.main(["-c", conf, "--id", "nova", *words]) == 0
            assert capfd.readouterr().out == f"{said}\n"


def _df(client: rados.Rados) -> dict[str, Any]:
    number, answer, said = client.mon_command('{"prefix": "df", "format": "json"}', b"")
    assert number == 0, said
    found: dict[str, Any] = json.loads(answer)
    return found
