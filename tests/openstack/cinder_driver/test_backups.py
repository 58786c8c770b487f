"""Backups through Cinder's own Ceph driver, with `rbd` programs on pipes: full, differential, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openstack.cinder_driver.conftest import tool
from openstack.cinder_driver.content import Content
from openstack.cinder_driver.images import read_file, write_file
from openstack.cinder_driver.pools import opened

if TYPE_CHECKING:
    from openstack.cinder_driver.conftest import Maker
    from openstack.cinder_driver.service import Backups, Cinder

GENERATIONS = 10


@pytest.fixture
def backups(cinder: Cinder) -> Backups:
    from openstack.cinder_driver.service import Backups

    tool("rbd", "ceph-common")
    return Backups(cinder)


def test_a_full_backup_is_an_image_with_one_snapshot(cinder: Cinder, backups: Backups) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    full = backups.create("f", volume)
    assert cinder.tree() == {"a": ["backup.f"]}
    assert cinder.tree("backups") == {"a.backup.f": ["backup.f"]}
    cinder.write(volume)
    new = cinder.create("b")
    backups.restore(full, new, new=True)
    cinder.check(volume, new)
    backups.delete(full)
    assert cinder.tree("backups") == {}
    assert cinder.tree() == {"a": ["backup.f"], "b": ["backup.f"]}


def test_differences_are_kept_as_snapshots_of_the_first(cinder: Cinder, backups: Backups) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    chain = [backups.create("g0", volume)]
    for number in range(1, GENERATIONS):
        cinder.write(volume)
        chain.append(backups.create(f"g{number}", volume, chain[-1]))
    names = [f"backup.g{number}" for number in range(GENERATIONS)]
    assert cinder.tree() == {"a": names}
    assert cinder.tree("backups") == {"a.backup.g0": names}
    backups.check(*chain)
    for number in (0, GENERATIONS // 2, GENERATIONS - 1):
        new = cinder.create(f"r{number}")
        backups.restore(chain[number], new, new=True)
        cinder.check(new)


def test_a_backup_in_the_middle_goes_and_the_others_stay_whole(cinder: Cinder, backups: Backups) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    chain = [backups.create("g0", volume)]
    for number in range(1, 5):
        cinder.write(volume)
        chain.append(backups.create(f"g{number}", volume, chain[-1]))
    backups.delete(chain[2])
    left = [chain[0], chain[1], chain[3], chain[4]]
    assert cinder.tree() == {"a": [f"backup.g{number}" for number in range(5)]}
    assert cinder.tree("backups") == {"a.backup.g0": [f"backup.{each.label}" for each in left]}
    backups.check(*left)
    for backup in left[1:3]:
        new = cinder.create(f"r-{backup.label}")
        backups.restore(backup, new, new=True)
        cinder.check(new)
    cinder.write(volume)
    last = backups.create("g5", volume, chain[4])
    backups.delete(*left)
    assert cinder.tree("backups") == {"a.backup.g0": ["backup.g5"]}
    new = cinder.create("last")
    backups.restore(last, new, new=True)
    cinder.check(new)
    backups.delete(last)
    assert cinder.tree("backups") == {}


def test_restoring_over_what_is_there(cinder: Cinder, backups: Backups) -> None:
    """To its own volume, to one that holds something else, and to a larger one."""
    volume = cinder.create("a")
    cinder.write(volume)
    full = backups.create("f", volume)
    cinder.write(volume)
    backup = backups.create("d", volume, full)
    cinder.write(volume)
    other = cinder.create("b")
    cinder.write(other)
    larger = cinder.create("c", 2)
    for target in (other, larger, volume):
        backups.restore(backup, target, new=False)
        cinder.check(target)
    backups.restore(full, volume, new=False)
    cinder.check(volume)


def test_a_volume_that_has_grown_is_backed_up_at_its_new_size(cinder: Cinder, backups: Backups) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    full = backups.create("f", volume)
    cinder.extend(volume, 2)
    cinder.write(volume)
    backup = backups.create("d", volume, full)
    new, small = cinder.create("b", 2), cinder.create("c", 1)
    backups.restore(backup, new, new=True)
    backups.restore(full, small, new=True)
    cinder.check(new, small)


def test_a_volume_goes_with_its_backup_snapshots_and_the_backup_lives(
    cinder: Cinder, backups: Backups
) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    full = backups.create("f", volume)
    cinder.delete(volume)
    assert cinder.tree() == {}
    new = cinder.create("b")
    backups.restore(full, new, new=True)
    cinder.check(new)


def test_a_clone_is_backed_up_with_what_it_has_from_its_parent(cinder: Cinder, backups: Backups) -> None:
    source = cinder.create("a")
    cinder.write(source)
    volume = cinder.clone("b", source)
    cinder.write(volume)
    full = backups.create("f", volume)
    cinder.write(volume)
    backup = backups.create("d", volume, full)
    new = cinder.create("c")
    backups.restore(backup, new, new=True)
    cinder.check(new)


def test_a_snapshot_is_backed_up_whole_and_restored_to_what_is_no_rbd(
    cinder: Cinder, backups: Backups, tmp_path: Path
) -> None:
    """Both go by copying, through the modules alone; to a file as to a volume of another backend's."""
    volume = cinder.create("a")
    cinder.write(volume, count=12)
    snapshot = cinder.snapshot("s", volume)
    cinder.write(volume)
    full = backups.create_of_snapshot("f", snapshot)
    assert cinder.tree("backups") == {"a.backup.base": []}
    file = tmp_path / "volume"
    write_file(file, Content(size=1))
    elsewhere = cinder.ledger.volume("b")
    with file.open("r+b") as handle:
        backups.driver.restore(full, elsewhere.id, handle, True)
    assert read_file(file).digest() == cinder.contents[snapshot.id].digest()
    backups.delete(full)
    assert cinder.tree("backups") == {}


def test_only_the_latest_snapshots_are_kept_where_so_configured(make: Maker) -> None:
    from openstack.cinder_driver.service import Backups

    tool("rbd", "ceph-common")
    cinder = make()
    backups = Backups(cinder, backup_ceph_max_snapshots=1)
    volume = cinder.create("a")
    cinder.write(volume)
    chain = [backups.create("g0", volume)]
    for number in range(1, 4):
        cinder.write(volume)
        chain.append(backups.create(f"g{number}", volume, chain[-1]))
    assert cinder.tree() == {"a": ["backup.g3"]}
    assert cinder.tree("backups") == {"a.backup.g0": [f"backup.g{number}" for number in range(4)]}
    backups.check(*chain)
    new = cinder.create("b")
    backups.restore(chain[2], new, new=True)
    cinder.check(new)


def test_backups_are_striped_and_journaled_where_so_configured(make: Maker) -> None:
    from openstack.cinder_driver.service import Backups

    tool("rbd", "ceph-common")
    cinder = make()
    options = {"stripe_unit": 65536, "stripe_count": 4, "image_journals": True}
    backups = Backups(cinder, **{f"backup_ceph_{name}": value for name, value in options.items()})
    volume = cinder.create("a")
    cinder.write(volume)
    full = backups.create("f", volume)
    rbd = cinder.driver.rbd
    (base,) = cinder.images("backups")
    with opened(cinder.conf, "backups") as ioctx, rbd.Image(ioctx, base) as image:
        assert (image.stripe_unit(), image.stripe_count()) == (65536, 4)
        wanted = rbd.RBD_FEATURE_STRIPINGV2 | rbd.RBD_FEATURE_JOURNALING
        assert image.features() & wanted == wanted
    cinder.write(volume)
    chain = [full, backups.create("d", volume, full)]
    backups.check(*chain)
    new = cinder.create("b")
    backups.restore(chain[1], new, new=True)
    cinder.check(new)
    backups.delete(*reversed(chain))
    assert cinder.tree("backups") == {}


def test_the_description_of_a_volume_comes_back_with_its_content(cinder: Cinder, backups: Backups) -> None:
    """It is kept in a small object, which goes with the backup."""
    import rados

    volume = cinder.create("a")
    volume.metadata = {"purpose": "billing"}
    volume.display_description = "of last year"
    full = backups.create("f", volume)
    new = cinder.create("restore_backup_x")
    new.display_name = "restore_backup_x"
    backups.restore(full, new, new=True)
    assert (new.metadata, new.display_name) == ({"purpose": "billing"}, "a")
    assert new.display_description == "of last year"
    with opened(cinder.conf, "backups") as ioctx:
        assert ioctx.stat(f"backup.{full.id}.meta")[0] > 0
        backups.delete(full)
        with pytest.raises(rados.ObjectNotFound):
            ioctx.stat(f"backup.{full.id}.meta")


def test_an_increment_without_its_parent_is_refused_and_leaves_nothing(
    cinder: Cinder, backups: Backups
) -> None:
    from cinder import exception

    volume = cinder.create("a")
    full = backups.create("f", volume)
    backups.delete(full)
    with pytest.raises(exception.BackupRBDOperationFailed):
        backups.create("d", volume, full)
    assert cinder.tree() == {"a": ["backup.f"]}
    assert cinder.tree("backups") == {}
