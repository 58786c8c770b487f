"""What a test leaves behind, removed: clones before what they were cloned from, through the modules alone."""

from __future__ import annotations

from typing import Any

from openstack.cinder_driver.pools import OWNERS, opened
from openstack.cinder_driver.service import Cinder


def remove(cinder: Cinder) -> None:
    """Everything that belongs to this test, as far as it can be removed."""
    for pool in OWNERS:
        with opened(cinder.conf, pool) as ioctx:
            _remove(cinder, pool, ioctx)


def _remove(cinder: Cinder, pool: str, ioctx: Any) -> None:
    import rbd

    # Each round frees what the last one's removals held.
    for _ in range(8):
        names = cinder.images(pool)
        for name in names:
            try:
                with rbd.Image(ioctx, name) as image:
                    if _is_clone(rbd, image):
                        image.flatten()
                    for snap in list(image.list_snaps()):
                        if image.is_protected_snap(snap["name"]):
                            image.unprotect_snap(snap["name"])
                        image.remove_snap(snap["name"])
                rbd.RBD().remove(ioctx, name)
            except rbd.Error:
                continue
        trashed = [each for each in rbd.RBD().trash_list(ioctx) if cinder.ours(each["name"])]
        for each in trashed:
            try:
                rbd.RBD().trash_remove(ioctx, each["id"], force=True)
            except rbd.Error:
                # With snapshots it must come back first.
                rbd.RBD().trash_restore(ioctx, each["id"], each["name"])
        if not names and not trashed:
            return


def _is_clone(rbd: Any, image: Any) -> bool:
    try:
        image.parent_info()
    except rbd.ImageNotFound:
        return False
    return True
