"""A client's configuration is read as the real module does; what each case gives was asked of that one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cowshed.compat import rados
from cowshed.compat.conf import Conf, parse
from cowshed.errors import FormatError, InvalidArgument
from cowshed.programs.options import client_conf


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("log_file = plain", "plain"),
        ("log file = spaces", "spaces"),
        ("log_file = 'async' # c", "async"),
        ("log_file = b\\;c ; d", "b;c"),
        ("log_file=b;c", "b"),
        ("log_file = x'y'", "x'y'"),
        ("log_file = x\\y", "xy"),
        ("log_file = x # y ; z", "x"),
        ("log_file = b\\\n c", "b c"),
        ("log_file = $cluster.$name.$id.$type $nope", "ceph.client.admin.admin.client $nope"),
        ("log_file = ${cluster}x", "cephx"),
        ("log_file = $run_dir/x", "/var/run/ceph/x"),
        ("[client]\nlog_file = c\n[client.admin]\nlog_file = a", "a"),
        ("[client.admin]\nlog_file = a\n[client]\nlog_file = c\n[global]\nlog_file = g", "a"),
        ("[client]\nlog_file = c\n[client.other]\nlog_file = o", "c"),
        ("[osd]\nlog_file = o", ""),
    ],
)
def test_a_file_is_read_so(tmp_path: Path, written: str, value: str) -> None:
    file = tmp_path / "ceph.conf"
    file.write_text(f"[global]\n{written}\n")
    assert rados.Rados(conffile=str(file)).conf_get("log_file") == value


@pytest.mark.parametrize("written", ["foo", "=5", 'log_file = "x" y', "[global"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, written: str) -> None:
    file = tmp_path / "ceph.conf"
    file.write_text(f"[global]\n{written}\n")
    with pytest.raises(rados.InvalidArgumentError, match=r"errno 22.*conf_read_file"):
        rados.Rados(conffile=str(file))
    with pytest.raises(FormatError, match=r"line 2"):
        parse(file.read_text(), str(file))


def test_a_circle_of_variables_ends() -> None:
    conf = Conf()
    conf.read_text("[global]\nlog_file = $admin_socket\nadmin_socket = $log_file\n")
    assert conf.get("log_file") in ("$log_file", "$admin_socket")


def test_what_the_program_sets_wins_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ceph.conf"
    file.write_text("[global]\nrbd_default_order = 20\nlog_file = file\nrbd_cache = false\n")
    client = rados.Rados(conffile=str(file), conf_defaults={"log_file": "set"})
    assert client.conf_get("log_file") == "set"
    left = client.conf_parse_argv(["prog", "--rbd_default_order=25", "--foo", "x", "--log-file", "argv"])
    assert left == ["prog", "--foo", "x"]
    assert (client.conf_get("rbd_default_order"), client.conf_get("log_file")) == ("25", "set")
    client.conf_set("rbd_default_order", "23")
    assert client.conf_get("rbd_default_order") == "23"
    monkeypatch.setenv("CEPH_ARGS", "--rbd-cache")
    client.conf_parse_env()
    assert client.conf_get("rbd_cache") == "true"


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("rbd_cache", "0", "false"),
        ("rbd cache size", "1K", "1024"),
        ("rbd_default_features", "3", "3"),
        ("rbd_default_features", "layering", "1"),
        ("rados_osd_op_timeout", "5", "5"),
        ("rbd_default_clone_format", "2", "2"),
        ("client_mount_timeout", "30", "30"),
    ],
)
def test_values_are_kept_as_the_real_one_does(key: str, value: str, kept: str) -> None:
    client = rados.Rados()
    client.conf_set(key, value)
    assert client.conf_get(key) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rbd_default_order", "abc"),
        ("rbd_default_order", ""),
        ("rbd_cache", "maybe"),
        ("rbd_default_features", "zzz"),
        ("rados_osd_op_timeout", "1.5"),
        ("rbd_default_clone_format", "3"),
    ],
)
def test_values_that_do_not_fit_are_refused(key: str, value: str) -> None:
    client = rados.Rados()
    before = client.conf_get(key)
    with pytest.raises(rados.InvalidArgumentError, match="error calling conf_set"):
        client.conf_set(key, value)
    assert client.conf_get(key) == before
    with pytest.raises(InvalidArgument):
        client.configuration.set(key, value)


def test_unknown_keys_and_foreign_types() -> None:
    client = rados.Rados()
    assert client.conf_get("nope") is None
    with pytest.raises(rados.ObjectNotFound, match="error calling conf_set"):
        client.conf_set("nope", "1")
    with pytest.raises(TypeError, match=r"Argument 'val' has incorrect type \(expected str, got int\)"):
        client.conf_set("rbd_default_order", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="option must be a string"):
        client.conf_get(None)  # type: ignore[arg-type]
    assert client.conf_get("rbd_default_features") == "61"
    assert client.conf_get("client_mount_timeout") == "300"


def test_who_one_is() -> None:
    assert rados.Rados("cinder").rados_id == "cinder"
    assert rados.Rados(name="client.glance").rados_id == "glance"
    with pytest.raises(rados.Error, match="can't supply both"):
        rados.Rados(rados_id="a", name="client.b")
    with pytest.raises(rados.Error, match="error code: -22"):
        rados.Rados(name="cinder")
    with pytest.raises(TypeError):
        rados.Rados(rados_id=1)  # type: ignore[arg-type]


def test_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.conf"
    file.write_text("[global]\nlog_file = /$cluster\n")
    monkeypatch.setenv("CEPH_CONF", str(file))
    for named in ("", rados.Rados.DEFAULT_CONF_FILES):
        assert rados.Rados(conffile=named).conf_get("log_file") == "/mine"
    assert rados.Rados().conf_get("log_file") == ""
    monkeypatch.setenv("CEPH_CONF", str(tmp_path / "none.conf"))
    with pytest.raises(rados.ObjectNotFound):
        rados.Rados(conffile="")


def test_a_key_that_names_the_store_may_stand_anywhere(tmp_path: Path) -> None:
    import cowshed

    cowshed.open(tmp_path / "store", create=True).close()
    file = tmp_path / "ceph.conf"
    file.write_text(f"[global]\ncowshed = /nowhere\n[client.cinder]\ncowshed = {tmp_path}/store\n")
    with rados.Rados(rados_id="cinder", conffile=str(file)) as client:
        assert client.list_pools() == ["rbd"]
    with pytest.raises(rados.ObjectNotFound, match="no store at '/nowhere'"):
        rados.Rados(rados_id="glance", conffile=str(file)).connect()
    with pytest.raises(rados.ObjectNotFound, match="names no store"):
        rados.Rados().connect()


def test_two_clients_of_one_process_share_the_store(tmp_path: Path) -> None:
    import cowshed

    cowshed.open(tmp_path / "store", create=True).close()
    first, second = (rados.Rados(conf={"cowshed": str(tmp_path / "store")}) for _ in range(2))
    first.connect()
    second.connect()
    assert first.get_fsid() == second.get_fsid()
    assert first.get_instance_id() != second.get_instance_id()
    first.create_pool("a")
    first.shutdown()
    assert second.pool_exists("a")
    second.shutdown()
    cowshed.open(tmp_path / "store").close()  # no one holds it any more


def test_a_forked_process_is_told(tmp_path: Path) -> None:
    import cowshed

    cowshed.open(tmp_path / "store", create=True).close()
    with rados.Rados(conf={"cowshed": str(tmp_path / "store")}) as client:
        ioctx = client.open_ioctx("rbd")
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            said = []
            for call in (client.list_pools, lambda: ioctx.read("a")):
                try:
                    call()
                    said.append("nothing")
                except rados.Error as error:
                    said.append(f"{type(error).__name__}: {error}")
            os.write(writer, "\n".join(said).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as heard:
            first, second = heard.read().split("\n")
        os.waitpid(child, 0)
        assert first.startswith("RadosStateError")
        assert second.startswith("IoctxStateError")
        assert "connect anew" in first
        assert "connect anew" in second
        assert client.list_pools() == ["rbd"]


@pytest.mark.parametrize(
    ("file", "cluster"), [("ceph.conf", "ceph"), ("odd.name.conf", "odd.name"), ("brickrbd_x1", "ceph")]
)
def test_a_cluster_that_is_not_named_is_called_as_its_file(tmp_path: Path, file: str, cluster: str) -> None:
    """As librados and `ceph-conf` did on a cluster; a name that is given wins in both."""
    path = tmp_path / file
    path.write_text("[global]\nkeyring = /k/$cluster.$name\n")
    for named, expected in ((None, cluster), ("blue", "blue")):
        client = rados.Rados(conffile=str(path), rados_id="x", clustername=named)
        assert client.conf_get("keyring") == f"/k/{expected}.client.x"
        words = ["--cluster", named] if named else []
        conf, left = client_conf(["ls", "-c", str(path), "--id", "x", *words])
        assert (conf.get("keyring"), left) == (f"/k/{expected}.client.x", ["ls"])
