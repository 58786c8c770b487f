"""What a cluster does not do unless it was set up for it: mirroring, migration from elsewhere, encryption."""

from __future__ import annotations

import datetime

from .expecting import expect, refused, same
from .world import MiB, World


@expect("rbd.RBD.mirror_mode_get", off=True)
def mirror_mode(world: World) -> None:
    """RBD_MIRROR_MODE_DISABLED."""
    same(world.api.mirror_mode_get(world.plain), world.rbd.RBD_MIRROR_MODE_DISABLED)


@expect("rbd.RBD.mirror_peer_list", "rbd.MirrorPeerIterator", off=True)
def mirror_peers(world: World) -> None:
    """None."""
    same(list(world.api.mirror_peer_list(world.plain)), [])


@expect(
    "rbd.RBD.mirror_image_status_list",
    "rbd.MirrorImageStatusIterator",
    "rbd.RBD.mirror_image_status_summary",
    off=True,
)
def mirror_image_status(world: World) -> None:
    """None, and an empty summary."""
    same(list(world.api.mirror_image_status_list(world.plain)), [])
    same(world.api.mirror_image_status_summary(world.plain), [])


@expect("rbd.Image.mirror_image_enable", "rbd.Image.mirror_image_disable", off=True)
def mirror_image_enable(world: World) -> None:
    """InvalidArgument: mirroring is not on for this pool."""
    with refused(world.rbd.InvalidArgument, 22):
        world.fresh().mirror_image_enable()


@expect("rbd.Image.mirror_image_get_info", off=True)
def mirror_image_info(world: World) -> None:
    """A dict of global_id, state and primary: not mirrored."""
    info = world.fresh().mirror_image_get_info()
    same(info, {"global_id": "", "state": world.rbd.RBD_MIRROR_IMAGE_DISABLED, "primary": False})


@expect(
    "rbd.Image.mirror_image_promote",
    "rbd.Image.mirror_image_demote",
    "rbd.Image.mirror_image_resync",
    off=True,
)
def mirror_image_promote(world: World) -> None:
    """Promoting and resyncing are ImageNotFound, demoting InvalidArgument."""
    image = world.fresh()
    for call in (lambda: image.mirror_image_promote(False), image.mirror_image_resync):
        with refused(world.rbd.ImageNotFound, 2):
            call()
    with refused(world.rbd.InvalidArgument, 22):
        image.mirror_image_demote()


@expect(
    "rbd.Image.mirror_image_get_mode",
    "rbd.Image.mirror_image_get_status",
    "rbd.Image.mirror_image_create_snapshot",
    "rbd.Image.mirror_image_get_instance_id",
    off=True,
)
def mirror_image_facts(world: World) -> None:
    """Mode 0; a status of nothing, since 1970, `status not found`; the other two are InvalidArgument."""
    image = world.fresh()
    same(image.mirror_image_get_mode(), 0)
    status = image.mirror_image_get_status()
    same(
        (status["name"], status["state"], status["up"], status["description"]),
        ("disk", 0, False, "status not found"),
    )
    same((status["remote_statuses"], status["last_update"]), ([], datetime.datetime(1970, 1, 1)))
    for call in (image.mirror_image_create_snapshot, image.mirror_image_get_instance_id):
        with refused(world.rbd.InvalidArgument, 22):
            call()


@expect(
    "rbd.RBD.mirror_image_info_list",
    "rbd.RBD.mirror_image_instance_id_list",
    "rbd.MirrorImageInfoIterator",
    "rbd.MirrorImageInstanceIdIterator",
    off=True,
)
def mirror_lists(world: World) -> None:
    """Empty."""
    same(list(world.api.mirror_image_info_list(world.plain)), [])
    same(list(world.api.mirror_image_instance_id_list(world.plain)), [])


@expect(
    "rbd.RBD.mirror_uuid_get",
    "rbd.RBD.mirror_peer_bootstrap_create",
    "rbd.RBD.mirror_peer_add",
    "rbd.RBD.mirror_peer_remove",
    "rbd.RBD.mirror_peer_get_attributes",
    off=True,
)
def mirror_peers_refused(world: World) -> None:
    """No uuid (ImageNotFound), no bootstrap and no peer (InvalidArgument); removing none is None."""
    with refused(world.rbd.ImageNotFound, 2):
        world.api.mirror_uuid_get(world.plain)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.mirror_peer_bootstrap_create(world.plain)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.mirror_peer_add(world.plain, "site", "client.site")
    same(world.api.mirror_peer_remove(world.plain, "none"), None)
    with refused(world.rbd.ImageNotFound, 2):
        world.api.mirror_peer_get_attributes(world.plain, "none")


@expect("rbd.Image.migration_source_spec")
def migration_source_of_none(world: World) -> None:
    """InvalidArgument for an image that is not being moved."""
    with refused(world.rbd.InvalidArgument, 22):
        world.fresh().migration_source_spec()


@expect("rbd.RBD.mirror_site_name_get", off=True)
def mirror_site_name(world: World) -> None:
    """The cluster's fsid, where no name was given."""
    same(world.api.mirror_site_name_get(world.cluster), world.cluster.get_fsid())


@expect("rbd.Image.encryption_load", off=True)
def encryption_load(world: World) -> None:
    """An image without LUKS header is refused: InvalidArgument."""
    with refused(world.rbd.InvalidArgument, 22):
        world.fresh(size=32 * MiB).encryption_load(world.rbd.RBD_ENCRYPTION_FORMAT_LUKS2, "secret")


@expect("rbd.RBD.migration_status")
def migration_status_of_none(world: World) -> None:
    """InvalidArgument for an image that is not being moved; ImageNotFound for none."""
    world.create()
    with refused(world.rbd.InvalidArgument, 22):
        world.api.migration_status(world.ioctx, "disk")


@expect(
    "rbd.RBD.migration_prepare",
    "rbd.RBD.migration_execute",
    "rbd.RBD.migration_commit",
    "rbd.RBD.migration_status",
)
def migration(world: World) -> None:
    """Prepare, execute, commit: the image has the new name, and its content."""
    image = world.fresh()
    image.write(b"moved", 0)
    image.close()
    world.api.migration_prepare(world.ioctx, "disk", world.ioctx, "new")
    status = world.api.migration_status(world.ioctx, "new")
    same((status["source_image_name"], status["dest_image_name"]), ("disk", "new"))
    same(status["state"], world.rbd.RBD_IMAGE_MIGRATION_STATE_PREPARED)
    world.api.migration_execute(world.ioctx, "new")
    world.api.migration_commit(world.ioctx, "new")
    same(world.api.list(world.ioctx), ["new"])
    same(world.open("new").read(0, 5), b"moved")


@expect("rbd.RBD.migration_abort")
def migration_abort(world: World) -> None:
    """The image is what it was."""
    world.create()
    world.api.migration_prepare(world.ioctx, "disk", world.ioctx, "new")
    world.api.migration_abort(world.ioctx, "new")
    same(world.api.list(world.ioctx), ["disk"])
