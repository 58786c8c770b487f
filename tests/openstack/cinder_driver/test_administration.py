"""What an operator asks of the RBD driver: figures, types, limits, moving, taking over what is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from openstack.cinder_driver.conftest import tool
from openstack.cinder_driver.content import GIB, digest
from openstack.cinder_driver.ledger import VolumeType
from openstack.cinder_driver.pools import opened

if TYPE_CHECKING:
    from openstack.cinder_driver.conftest import Maker
    from openstack.cinder_driver.service import Cinder


def test_the_figures_of_a_backend(make: Maker) -> None:
    cinder = make(rbd_exclusive_cinder_pool=False)
    cinder.create("a", 3)
    stats = cinder.driver.get_volume_stats(refresh=True)
    assert stats["backend_state"] == "up"
    assert 0 < stats["free_capacity_gb"] <= stats["total_capacity_gb"]
    assert stats["qos_support"]
    assert stats["provisioned_capacity_gb"] >= 3
    cluster, conf, fsid, user, pool = stats["location_info"].split(":")
    assert (cluster, conf, user, pool) == ("ceph", str(cinder.conf), "cinder", "volumes")
    assert len(fsid) == 36


def test_a_connection_names_the_monitors_and_the_pool(cinder: Cinder) -> None:
    tool("ceph", "ceph-common")
    volume = cinder.create("a")
    found = cinder.driver.initialize_connection(volume, {})
    data = found["data"]
    assert found["driver_volume_type"] == "rbd"
    assert data["name"] == f"volumes/{volume.name}"
    assert (data["cluster_name"], data["auth_enabled"], data["auth_username"]) == ("ceph", True, "cinder")
    assert len(data["hosts"]) == len(data["ports"]) > 0
    assert all(port.isdecimal() for port in data["ports"])


def test_the_limits_of_a_type_are_kept_with_the_image(
    cinder: Cinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cinder.volume import qos_specs

    limits = {"total_iops_sec": "2000", "write_bytes_sec": "1048576"}
    specs = {"consumer": "back-end", "specs": limits}
    monkeypatch.setattr(qos_specs, "get_qos_specs", lambda _context, _id: specs)
    volume = cinder.create("a", volume_type=VolumeType(qos_specs_id="q"))

    def kept() -> dict[str, str]:
        found = cinder.driver.get_rbd_image_qos(volume)
        return {name: value for name, value in found.items() if name.startswith("rbd_qos") and value != "0"}

    def seconds(found: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in found.items() if name.endswith("limit")}

    assert seconds(kept()) == {"rbd_qos_iops_limit": "2000", "rbd_qos_write_bps_limit": "1048576"}
    plain = VolumeType()
    diff: dict[str, Any] = {
        "encryption": {},
        "extra_specs": {},
        "qos_specs": {
            "consumer": ("back-end", None),
            "total_iops_sec": ("2000", None),
            "write_bytes_sec": ("1048576", None),
        },
    }
    assert cinder.driver.retype(cinder.context, volume, plain, diff, None) == (True, {})
    assert seconds(kept()) == {}


def test_a_volume_for_several_hosts_gives_up_the_features_that_want_one_writer(cinder: Cinder) -> None:
    rbd = cinder.driver.rbd
    volume = cinder.create("a")
    with opened(cinder.conf, "volumes") as ioctx, rbd.Image(ioctx, volume.name) as image:
        before = image.features()
    shared = VolumeType(extra_specs={"multiattach": "<is> True"})
    moved, update = cinder.driver.retype(cinder.context, volume, shared, None, None)
    assert moved
    assert json.loads(update["provider_location"]) == {"saved_features": before}
    with opened(cinder.conf, "volumes") as ioctx, rbd.Image(ioctx, volume.name) as image:
        assert image.features() == rbd.RBD_FEATURE_LAYERING | before & rbd.RBD_FEATURE_DEEP_FLATTEN
    volume.volume_type = shared
    volume.provider_location = update["provider_location"]
    assert cinder.driver.retype(cinder.context, volume, VolumeType(), None, None) == (
        True,
        {"provider_location": None},
    )
    with opened(cinder.conf, "volumes") as ioctx, rbd.Image(ioctx, volume.name) as image:
        assert image.features() == before


def test_replication_is_refused_where_the_pool_is_not_mirrored(cinder: Cinder) -> None:
    """The driver has switched the journal on by then, and leaves it so."""
    from cinder import exception

    rbd = cinder.driver.rbd
    volume = cinder.create("a")
    mirrored = VolumeType(extra_specs={"replication_enabled": "<is> True"})
    with pytest.raises(exception.ReplicationError):
        cinder.driver.retype(cinder.context, volume, mirrored, None, None)
    with opened(cinder.conf, "volumes") as ioctx, rbd.Image(ioctx, volume.name) as image:
        assert image.features() & rbd.RBD_FEATURE_JOURNALING
        with pytest.raises(rbd.InvalidArgument):
            image.mirror_image_enable()
    cinder.delete(volume)
    assert cinder.tree() == {}


def test_an_image_is_taken_over_and_given_back(cinder: Cinder) -> None:
    from cinder import exception

    rbd = cinder.driver.rbd
    volume = cinder.ledger.volume("a", 2)
    name = f"theirs-{volume.id}"
    with opened(cinder.conf, "volumes") as ioctx:
        rbd.RBD().create(ioctx, name, GIB + 4096)
        with rbd.Image(ioctx, name) as image:
            image.create_snap("monday")
    assert cinder.driver.manage_existing_get_size(volume, {"source-name": name}) == 2
    with pytest.raises(exception.ManageExistingInvalidReference):
        cinder.driver.manage_existing_get_size(volume, {"source-name": name + "0"})
    assert cinder.driver.manage_existing(volume, {"source-name": name}) == {}
    assert cinder.tree() == {"a": ["monday"]}
    snapshot = cinder.ledger.snapshot("s", volume)
    assert cinder.driver.manage_existing_snapshot_get_size(snapshot, {"source-name": "monday"}) == 2
    with pytest.raises(exception.ManageExistingInvalidReference):
        cinder.driver.manage_existing_snapshot_get_size(snapshot, {"source-name": "tuesday"})
    cinder.driver.manage_existing_snapshot(snapshot, {"source-name": "monday"})
    assert cinder.tree() == {"a": ["s"]}

    def protected() -> bool:
        with opened(cinder.conf, "volumes") as ioctx, rbd.Image(ioctx, volume.name) as image:
            return bool(image.is_protected_snap(snapshot.name))

    assert protected()
    cinder.driver.unmanage_snapshot(snapshot)
    assert not protected()
    cinder.driver.unmanage(volume)
    assert cinder.tree() == {"a": ["s"]}


def test_what_may_be_taken_over_is_listed(cinder: Cinder) -> None:
    tool("rbd", "ceph-common")
    rbd = cinder.driver.rbd
    known = cinder.create("known")
    clone = cinder.clone("clone", known)
    source = cinder.create("source")
    cinder.clone("late", source)
    cinder.delete(source)
    mark = cinder.ledger.volume("x")
    free, used = f"free-{mark.id}", f"used-{mark.id}"
    with opened(cinder.conf, "volumes") as ioctx:
        rbd.RBD().create(ioctx, free, GIB + 1)
        rbd.RBD().create(ioctx, used, GIB)
        with rbd.Image(ioctx, used):
            listed = cinder.driver.get_manageable_volumes(
                [{"id": known.id}, {"id": clone.id}], None, 1000, 0, ["size"], ["asc"]
            )
    found = {
        cinder.called(each["reference"]["source-name"]): (each["size"], each["reason_not_safe"])
        for each in listed
        if cinder.ours(each["reference"]["source-name"])
    }
    assert found == {
        "known": (1, "already managed"),
        "clone": (1, "already managed"),
        "source.deleted": (1, "volume marked as deleted"),
        "late": (1, None),
        "free-x": (2, None),
        "used-x": (1, "volume in use"),
    }


def test_snapshots_that_may_be_taken_over_are_listed(cinder: Cinder) -> None:
    known = cinder.create("known")
    snapshot = cinder.snapshot("s", known)
    cinder.snapshot("t", known)
    cinder.clone("clone", known)
    listed = cinder.driver.get_manageable_snapshots([{"id": snapshot.id}], None, 1000, 0, ["size"], ["asc"])
    found = {
        (
            cinder.called(each["source_reference"]["source-name"]),
            cinder.called(each["reference"]["source-name"]),
        ): each["reason_not_safe"]
        for each in listed
        if cinder.ours(each["source_reference"]["source-name"])
    }
    assert found == {
        ("known", "s"): "already managed",
        ("known", "t"): None,
        ("known", "clone.clone_snap"): "used for clone snap",
    }


def test_a_volume_is_renamed_after_its_migration(cinder: Cinder) -> None:
    old, new = cinder.ledger.volume("old"), cinder.create("new")
    update = cinder.driver.update_migrated_volume(cinder.context, old, new, "available")
    assert update == {"_name_id": None, "provider_location": None}
    assert cinder.tree() == {"old": []}
    third = cinder.create("third")
    assert cinder.driver.update_migrated_volume(cinder.context, old, third, "available") == {
        "_name_id": third.id,
        "provider_location": None,
    }
    assert cinder.tree() == {"old": [], "third": []}


def test_a_volume_moves_to_another_pool_with_its_content(cinder: Cinder) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    info = cinder.driver.get_volume_stats(refresh=True)["location_info"]
    host = {"capabilities": {"storage_protocol": "ceph", "location_info": info}}
    assert cinder.driver.migrate_volume(cinder.context, volume, host) == (True, None)
    assert cinder.tree() == {"a": []}
    host["capabilities"]["location_info"] = info.replace(":volumes", ":vms")
    assert cinder.driver.migrate_volume(cinder.context, volume, host) == (True, None)
    assert cinder.tree() == {}
    assert cinder.tree("vms") == {"a": []}
    with opened(cinder.conf, "vms") as ioctx, cinder.driver.rbd.Image(ioctx, volume.name) as image:
        assert digest(image) == cinder.contents[volume.id].digest()
