"""Class Rados: settings, connecting, pools, facts and commands."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

from .expecting import expect, refused, same, shaped
from .world import World


def unconnected(world: World, **how: Any) -> Any:
    return world.rados.Rados(**{"conffile": world.conf, "rados_id": "admin", **how})


@expect("rados.Rados", "rados.Rados.connect", "rados.Rados.shutdown")
def connect_and_shutdown(world: World) -> None:
    """From `configuring` over `connected` to `shutdown`; shutting down twice is allowed."""
    cluster = unconnected(world)
    same(cluster.state, "configuring")
    same(cluster.connect(), None)
    same(cluster.state, "connected")
    same(cluster.shutdown(), None)
    same(cluster.state, "shutdown")
    cluster.shutdown()


@expect("rados.Rados.connect")
def connect_with_timeout(world: World) -> None:
    """timeout is taken by keyword, as Glance and Nova give it; connecting twice is a RadosStateError."""
    cluster = unconnected(world)
    cluster.connect(timeout=5)
    with refused(world.rados.RadosStateError):
        cluster.connect()
    cluster.shutdown()
    with refused(world.rados.RadosStateError):
        cluster.connect()


@expect("rados.Rados")
def context_manager_of_rados(world: World) -> None:
    """`with` connects, and shuts down."""
    with unconnected(world) as cluster:
        same(cluster.state, "connected")
    same(cluster.state, "shutdown")


@expect("rados.Rados")
def rados_without_connecting(world: World) -> None:
    """What needs a connection is a RadosStateError without one."""
    cluster = unconnected(world)
    for call in (cluster.get_fsid, cluster.list_pools, lambda: cluster.open_ioctx("x")):
        with refused(world.rados.RadosStateError):
            call()
    cluster.shutdown()


@expect("rados.Rados")
def rados_names(world: World) -> None:
    """rados_id and name mean the same; both at once is an Error."""
    cluster = world.rados.Rados(conffile=world.conf, name="client.admin")
    cluster.connect()
    cluster.shutdown()
    with refused(world.rados.Error):
        world.rados.Rados(conffile=world.conf, name="client.admin", rados_id="admin")


@expect("rados.Rados")
def rados_clustername(world: World) -> None:
    """clustername is taken, as Cinder and Nova give it."""
    cluster = unconnected(world, clustername="ceph")
    cluster.connect(timeout=5)
    cluster.shutdown()


@expect("rados.Rados")
def rados_conf_dict(world: World) -> None:
    """conf sets options over those of the file."""
    cluster = unconnected(world, conf={"rbd_default_clone_format": "2"})
    same(cluster.conf_get("rbd_default_clone_format"), "2")
    cluster.shutdown()


@expect("rados.Rados", "rados.Rados.conf_read_file")
def rados_conffile_missing(world: World) -> None:
    """A file that is not there is ObjectNotFound, ENOENT."""
    with refused(world.rados.ObjectNotFound, 2):
        world.rados.Rados(conffile="/none/such.conf", rados_id="admin")
    cluster = world.rados.Rados(rados_id="admin")
    with refused(world.rados.ObjectNotFound, 2):
        cluster.conf_read_file("/none/such.conf")
    same(cluster.conf_read_file(world.conf), None)
    cluster.connect()
    cluster.shutdown()


@expect("rados.Rados.conf_get", "rados.Rados.conf_set")
def conf_get_and_set(world: World) -> None:
    """Text both ways; numbers are refused with TypeError; an unknown option is None, setting it
    ObjectNotFound.
    """
    cluster = unconnected(world)
    same(cluster.conf_set("rados_osd_op_timeout", "7"), None)
    same(cluster.conf_get("rados_osd_op_timeout"), "7")
    same(cluster.conf_get("no_such_option"), None)
    with refused(world.rados.ObjectNotFound, 2):
        cluster.conf_set("no_such_option", "1")
    with refused(TypeError):
        cluster.conf_set("rados_osd_op_timeout", 7)
    cluster.shutdown()


@expect("rados.Rados.conf_set", "rados.Rados.conf_get")
def conf_of_a_client(world: World) -> None:
    """The options that drivers set are known: timeouts, the cache, keyring, clone format."""
    cluster = unconnected(world)
    for key, value in {
        "rados_osd_op_timeout": "30",
        "rados_mon_op_timeout": "30",
        "client_mount_timeout": "30",
        "rbd_default_clone_format": "1",
        "rbd_default_features": "3",
        "rbd_cache": "false",
    }.items():
        cluster.conf_set(key, value)
        same(cluster.conf_get(key), value)
    cluster.shutdown()


@expect("rados.Rados.conf_set")
def conf_set_wrong_value(world: World) -> None:
    """A value that the option cannot have is InvalidArgumentError, EINVAL."""
    cluster = unconnected(world)
    with refused(world.rados.InvalidArgumentError, 22):
        cluster.conf_set("rados_osd_op_timeout", "soon")
    cluster.shutdown()


@expect("rados.Rados.conf_parse_argv", "rados.Rados.conf_parse_env")
def conf_parse(world: World) -> None:
    """Options of a command line are taken, the others handed back."""
    cluster = unconnected(world)
    cluster.conf_parse_argv(["program", "--rbd_cache", "false", "rest"])
    same(cluster.conf_get("rbd_cache"), "false")
    same(cluster.conf_parse_env("NO_SUCH_VARIABLE"), None)
    cluster.shutdown()


@expect("rados.Rados.version")
def rados_version(world: World) -> None:
    """A named tuple of major, minor and extra."""
    version = world.cluster.version()
    same([type(version.major), type(version.minor), type(version.extra)], [int, int, int])


@expect("rados.Rados.get_fsid")
def fsid(world: World) -> None:
    """A UUID as text, the same for every connection."""
    found = world.cluster.get_fsid()
    same(str(uuid.UUID(found)), found)
    with unconnected(world) as other:
        same(other.get_fsid(), found)


@expect("rados.Rados.get_cluster_stats")
def cluster_stats(world: World) -> None:
    """kb, kb_used, kb_avail and num_objects."""
    stats = shaped(world.cluster.get_cluster_stats(), kb=int, kb_used=int, kb_avail=int, num_objects=int)
    assert 0 < stats["kb_avail"] <= stats["kb"], stats


@expect(
    "rados.Rados.create_pool", "rados.Rados.list_pools", "rados.Rados.pool_exists", "rados.Rados.delete_pool"
)
def pools(world: World) -> None:
    """Made, listed, found, deleted; ObjectExists and ObjectNotFound where that is not so."""
    name = f"{world.pool}-more"
    same(world.cluster.pool_exists(name), False)
    same(world.cluster.create_pool(name), None)
    same(world.cluster.pool_exists(name), True)
    assert name in world.cluster.list_pools()
    with refused(world.rados.ObjectExists, 17):
        world.cluster.create_pool(name)
    same(world.cluster.delete_pool(name), None)
    same(world.cluster.pool_exists(name), False)
    with refused(world.rados.ObjectNotFound, 2):
        world.cluster.delete_pool(name)


@expect("rados.Rados.delete_pool")
def pool_goes_with_its_images(world: World) -> None:
    """A pool takes images and objects along."""
    name = f"{world.pool}-full"
    world.cluster.create_pool(name)
    with world.cluster.open_ioctx(name) as ioctx:
        world.api.pool_init(ioctx, True)
        world.api.create(ioctx, "disk", 1 << 20)
        ioctx.write_full("thing", b"x")
    same(world.cluster.delete_pool(name), None)
    same(world.cluster.pool_exists(name), False)


@expect("rados.Rados.pool_lookup", "rados.Rados.pool_reverse_lookup")
def pool_lookup(world: World) -> None:
    """Name to number and back; None and ObjectNotFound where there is none."""
    number = world.cluster.pool_lookup(world.pool)
    same(number, world.plain.get_pool_id())
    same(world.cluster.pool_reverse_lookup(number), world.pool)
    same(world.cluster.pool_lookup("none"), None)
    same(world.cluster.pool_reverse_lookup(99999), None)


@expect(
    "rados.Rados.open_ioctx",
    "rados.Rados.open_ioctx2",
    "rados.Ioctx.get_pool_name",
    "rados.Ioctx.get_pool_id",
)
def open_ioctx(world: World) -> None:
    """By name or number; ObjectNotFound where there is no such pool; a name that is no text is a
    TypeError.
    """
    ioctx = world.keep(world.cluster.open_ioctx(world.pool))
    same(ioctx.get_pool_name(), world.pool)
    again = world.keep(world.cluster.open_ioctx2(ioctx.get_pool_id()))
    same(again.get_pool_name(), world.pool)
    with refused(world.rados.ObjectNotFound, 2):
        world.cluster.open_ioctx("none")
    with refused(world.rados.ObjectNotFound, 2):
        world.cluster.open_ioctx2(99999)
    with refused(TypeError):
        world.cluster.open_ioctx(7)


@expect("rados.Ioctx", "rados.Ioctx.close", "rados.Ioctx.require_ioctx_open")
def ioctx_context_manager(world: World) -> None:
    """`with` closes it; it may be closed twice; a closed one is an IoctxStateError."""
    with world.cluster.open_ioctx(world.pool) as ioctx:
        ioctx.require_ioctx_open()
    ioctx.close()
    with refused(world.rados.IoctxStateError):
        ioctx.require_ioctx_open()
    with refused(world.rados.IoctxStateError):
        ioctx.read("x")


@expect("rados.Ioctx.set_namespace", "rados.Ioctx.get_namespace")
def ioctx_namespaces(world: World) -> None:
    """Text; empty at first; it needs not have been made."""
    ioctx = world.keep(world.cluster.open_ioctx(world.pool))
    same((ioctx.get_namespace(), ioctx.nspace), ("", ""))
    ioctx.set_namespace("space")
    same((ioctx.get_namespace(), ioctx.nspace), ("space", "space"))


@expect("rados.Rados.get_instance_id")
def instance_id(world: World) -> None:
    """A number, another one for each connection."""
    with unconnected(world) as other:
        assert other.get_instance_id() != world.cluster.get_instance_id()


@expect("rados.Rados.wait_for_latest_osdmap")
def latest_osdmap(world: World) -> None:
    """0."""
    same(world.cluster.wait_for_latest_osdmap(), 0)


def asked(world: World, **words: str) -> Any:
    """The answer; a monitor of a cluster that has just begun may be busy with itself, and is asked again."""
    said: list[Any] = []

    def answered() -> bool:
        said[:] = world.cluster.mon_command(json.dumps({"format": "json", **words}), b"")
        return bool(said[0] == 0)

    world.soon(answered)
    same([type(each) for each in said], [int, bytes, str])
    return json.loads(said[1])


@expect("rados.Rados.mon_command")
def command_df(world: World) -> None:
    """`df`: stats of the whole, and of each pool; Cinder reads max_avail and bytes_used of its pool."""
    found = asked(world, prefix="df")
    for key in ("total_bytes", "total_avail_bytes", "total_used_bytes"):
        same(type(found["stats"][key]), int)
    pools: list[Any] = []

    def told() -> bool:
        """A manager tells of a new pool when it next heard of it."""
        pools[:] = [each for each in asked(world, prefix="df")["pools"] if each["name"] == world.pool]
        return bool(pools)

    world.soon(told, 60)
    (pool,) = pools
    same(pool["id"], world.plain.get_pool_id())
    for key in ("stored", "objects", "kb_used", "bytes_used", "max_avail"):
        same(type(pool["stats"][key]), int)
    same(type(pool["stats"]["percent_used"]) in (int, float), True)


@expect("rados.Rados.mon_command")
def command_quota(world: World) -> None:
    """`osd pool get-quota`: quota_max_bytes and quota_max_objects, 0 where there is none."""
    found = asked(world, prefix="osd pool get-quota", pool=world.pool)
    same((found["pool_name"], found["pool_id"]), (world.pool, world.plain.get_pool_id()))
    same((found["quota_max_bytes"], found["quota_max_objects"]), (0, 0))


@expect("rados.Rados.mon_command")
def command_mon_dump(world: World) -> None:
    """`mon dump`: fsid, and mons with name and addr `ip:port/nonce`."""
    found = asked(world, prefix="mon dump")
    same(found["fsid"], world.cluster.get_fsid())
    for mon in found["mons"]:
        host, _, rest = mon["addr"].rpartition(":")
        port, _, nonce = rest.partition("/")
        assert host, mon["addr"]
        assert port.isdigit(), mon["addr"]
        assert nonce.isdigit(), mon["addr"]
        assert mon["name"], mon


@expect("rados.Rados.mon_command")
def command_pools(world: World) -> None:
    """`osd pool ls` and `osd lspools` list the pools by name, and with number."""
    assert world.pool in asked(world, prefix="osd pool ls")
    assert {"poolnum": world.plain.get_pool_id(), "poolname": world.pool} in asked(
        world, prefix="osd lspools"
    )


@expect("rados.Rados.mon_command")
def command_status(world: World) -> None:
    """`status`, `health`, `fsid` and `osd dump` answer."""
    found = asked(world, prefix="status")
    same(found["fsid"], world.cluster.get_fsid())
    assert found["health"]["status"].startswith("HEALTH_")
    assert asked(world, prefix="health")["status"].startswith("HEALTH_")
    same(asked(world, prefix="fsid")["fsid"], world.cluster.get_fsid())
    dump = asked(world, prefix="osd dump")
    same(dump["fsid"], world.cluster.get_fsid())
    assert world.pool in [pool["pool_name"] for pool in dump["pools"]]


@expect("rados.Rados.mon_command")
def command_unknown(world: World) -> None:
    """-22, nothing, and a sentence; so for a pool that is not there -2."""
    status, out, message = world.cluster.mon_command(json.dumps({"prefix": "no such command"}), b"")
    same((status, out), (-22, b""))
    assert message
    asking = {"prefix": "osd pool get-quota", "pool": "none", "format": "json"}
    status, out, message = world.cluster.mon_command(json.dumps(asking), b"")
    same((status, out), (-2, b""))
    assert message


@expect("rados.Rados.conf_get")
def conf_of_the_file(world: World) -> None:
    """mon_host of the file, where it has one; else empty, or None."""
    text = Path(world.conf).read_text()
    found = world.cluster.conf_get("mon_host")
    assert (not found) or found in text, found


@expect("rados.Rados.blocklist_add")
def blocklist_add(world: World) -> None:
    """A client's address is taken; what is no address is InvalidArgumentError."""
    for address in ("192.0.2.99:0/1", "192.0.2.99:6800", "192.0.2.99", "[2001:db8::1]:0/17"):
        same(world.cluster.blocklist_add(address, 1), None)
    for wrong in ("nonsense", "", "host:0/1", "192.0.2.99:70000/1", "192.0.2.300:0/1"):
        with refused(world.rados.InvalidArgumentError, 22):
            world.cluster.blocklist_add(wrong, 1)


@expect("rados.Rados.conf_parse_argv")
def conf_parse_switches(world: World) -> None:
    """What is on or off is on by itself and off behind `no-`; true, false, 1 and 0 are taken as its value if
    they follow, other words are not. A value that is wrong or missing is InvalidArgumentError.
    """
    for words, value, left in (
        (["--rbd_cache=false"], "false", []),
        (["--no-rbd-cache", "x"], "false", ["x"]),
        (["--rbd-cache", "0", "x"], "false", ["x"]),
        (["--rbd-cache", "no"], "true", ["no"]),
        (["--rbd-cache", "FALSE"], "true", ["FALSE"]),
        (["--rbd-cache", "--foo"], "true", ["--foo"]),
        (["--no-rbd-cache", "--rbd-cache"], "true", []),
    ):
        cluster = unconnected(world)
        same(cluster.conf_parse_argv(["program", *words]), ["program", *left], str(words))
        same(cluster.conf_get("rbd_cache"), value, str(words))
        cluster.shutdown()
    cluster = unconnected(world)
    for wrong in (["--rbd_cache=maybe"], ["--rbd_default_order", "nine"], ["--rbd_default_order"]):
        with refused(world.rados.InvalidArgumentError, 22):
            cluster.conf_parse_argv(["program", *wrong])
    cluster.shutdown()


@expect("rados.Rados.get_addrs")
def addresses(world: World) -> None:
    """Host, port and a number, that are this client's alone."""
    found = world.cluster.get_addrs()
    same(type(found), str)
    assert re.search(r":\d+/\d+$", found), found
    with unconnected(world) as other:
        assert other.get_addrs() != found


@expect("rados.Rados.get_pool_base_tier", "rados.Rados.get_inconsistent_pgs")
def tiers_and_placement(world: World) -> None:
    """The pool itself, and no placement groups; a pool that is not there is ObjectNotFound."""
    number = world.cluster.pool_lookup(world.pool)
    same(world.cluster.get_pool_base_tier(number), number)
    same(world.cluster.get_inconsistent_pgs(number), [])
    for call in (world.cluster.get_pool_base_tier, world.cluster.get_inconsistent_pgs):
        with refused(world.rados.ObjectNotFound, 2):
            call(99999)


@expect("rados.Rados.mgr_command", "rados.Rados.osd_command", "rados.Rados.pg_command")
def commands_that_are_none(world: World) -> None:
    """Minus EINVAL, nothing, and a sentence; an OSD that is not there is minus ENOENT."""
    nonsense = json.dumps({"prefix": "nonsense"})
    number = world.cluster.pool_lookup(world.pool)
    for status, out, said in (
        world.cluster.mgr_command(nonsense, b""),
        world.cluster.osd_command(0, nonsense, b""),
        world.cluster.pg_command(f"{number}.0", nonsense, b""),
    ):
        same((status, out), (-22, b""))
        assert "nonsense" in said, said
    same(world.cluster.osd_command(99, json.dumps({"prefix": "version"}), b"")[:2], (-2, b""))


@expect("rados.Rados.ping_monitor")
def ping(world: World) -> None:
    """JSON of the monitor's, by its name in the monitors' map; another name is ObjectNotFound."""
    (monitor, *_) = asked(world, prefix="mon dump")["mons"]
    assert "health" in json.loads(world.cluster.ping_monitor(monitor["name"]))
    with refused(world.rados.ObjectNotFound, 2):
        world.cluster.ping_monitor("nobody")


@expect("rados.Rados.require_state")
def require_state(world: World) -> None:
    """Nothing in one of the states; RadosStateError in none."""
    same(world.cluster.require_state("configuring", "connected"), None)
    with refused(world.rados.RadosStateError):
        world.cluster.require_state("configuring")


@expect("rados.Rados.service_daemon_register", "rados.Rados.service_daemon_update")
def service_daemon(world: World) -> None:
    """Known once: again is ObjectExists; its status may be told then, and NotConnected before."""
    cluster = unconnected(world)
    with refused(world.rados.NotConnected, 107):
        cluster.service_daemon_update({"state": "well"})
    cluster.connect()
    name = f"daemon-{world.namespace}"
    same(cluster.service_daemon_register("contract", name, {"a": "b"}), None)
    with refused(world.rados.ObjectExists, 17):
        cluster.service_daemon_register("contract", name, {"a": "b"})
    same(cluster.service_daemon_update({"state": "well"}), None)
    cluster.shutdown()
