"""Clients in several processes, through a daemon found by `mon_host` and a keyring, as os-brick does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
