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


@expect("rbd.RBD.mirror_mode_set", off=True)
def mirror_mode_set(world: World) -> None:
    """Off is off again; a mode that is none is InvalidArgument."""
    same(world.api.mirror_mode_set(world.plain, world.rbd.RBD_MIRROR_MODE_DISABLED), None)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.mirror_mode_set(world.plain, 9)


@expect("rbd.RBD.mirror_peer_bootstrap_import", off=True)
def mirror_bootstrap_import(world: World) -> None:
    """A token that is none is InvalidArgument."""
    with refused(world.rbd.InvalidArgument, 22):
        world.api.mirror_peer_bootstrap_import(world.plain, world.rbd.RBD_MIRROR_PEER_DIRECTION_RX_TX, "zz")


@expect(
    "rbd.RBD.mirror_peer_set_attributes",
    "rbd.RBD.mirror_peer_set_client",
    "rbd.RBD.mirror_peer_set_cluster",
    "rbd.RBD.mirror_peer_set_name",
    off=True,
)
def mirror_peer_set(world: World) -> None:
    """A peer that is not there is ImageNotFound."""
    with refused(world.rbd.ImageNotFound, 2):
        world.api.mirror_peer_set_attributes(world.plain, "nobody", {"mon_host": "192.0.2.1"})
    for call in (
        world.api.mirror_peer_set_client,
        world.api.mirror_peer_set_cluster,
        world.api.mirror_peer_set_name,
    ):
        with refused(world.rbd.ImageNotFound, 2):
            call(world.plain, "nobody", "client.x")


@expect(
    "rbd.RBD.mirror_site_name_set",
    differs="there is no other site to tell a name: OperationNotSupported for any but an empty one",
)
def mirror_site_name_set(world: World) -> None:
    """A name is kept, until it is set to nothing; what is no text is InvalidArgument."""
    before = world.api.mirror_site_name_get(world.cluster)
    same(world.api.mirror_site_name_set(world.cluster, "here"), None)
    same(world.api.mirror_site_name_get(world.cluster), "here")
    world.api.mirror_site_name_set(world.cluster, "")
    same(world.api.mirror_site_name_get(world.cluster), before)
    with refused(world.rbd.InvalidArgument):
        world.api.mirror_site_name_set(world.cluster, 5)


@expect(
    "rbd.Image.aio_mirror_image_get_info",
    "rbd.Image.aio_mirror_image_get_mode",
    "rbd.Image.aio_mirror_image_create_snapshot",
    off=True,
)
def aio_mirror_image(world: World) -> None:
    """As the calls that wait: no mirroring, mode 0, and -EINVAL with no number for a snapshot."""
    image = world.fresh()
    heard: list[object] = []

    def hear(completion: object, found: object) -> None:
        heard.append(found)

    answers = []
    for completion in (
        image.aio_mirror_image_get_info(hear),
        image.aio_mirror_image_get_mode(hear),
        image.aio_mirror_image_create_snapshot(0, hear),
    ):
        completion.wait_for_complete_and_cb()
        answers.append(completion.get_return_value())
    same(answers, [0, 0, -22])
    info = {"global_id": "", "state": world.rbd.RBD_MIRROR_IMAGE_DISABLED, "primary": False}
    same(sorted(map(str, heard)), sorted(map(str, (info, 0, None))))


@expect("rbd.Image.snap_get_mirror_namespace", off=True)
def mirror_namespace(world: World) -> None:
    """InvalidArgument for a user's snapshot, ImageNotFound for none."""
    image = world.fresh()
    image.create_snap("snap")
    with refused(world.rbd.InvalidArgument, 22):
        image.snap_get_mirror_namespace(image.snap_get_id("snap"))
    with refused(world.rbd.ImageNotFound, 2):
        image.snap_get_mirror_namespace(99999)


@expect("rbd.RBD.migration_prepare_import", off=True)
def migration_from_elsewhere(world: World) -> None:
    """A source without type is InvalidArgument, one that is no JSON an OSError, EBADMSG; nothing is made."""
    with refused(world.rbd.InvalidArgument, 22):
        world.api.migration_prepare_import("{}", world.ioctx, "new")
    with refused(world.rbd.OSError, 74):
        world.api.migration_prepare_import("nonsense", world.ioctx, "new")
    same(world.api.list(world.ioctx), [])


@expect("rbd.Image.encryption_format")
def encryption_format_refuses(world: World) -> None:
    """A format that is none is OperationNotSupported; a passphrase that is no text InvalidArgument."""
    image = world.fresh()
    with refused(world.rbd.OperationNotSupported, 95):
        image.encryption_format(9, "secret")
    with refused(world.rbd.InvalidArgument):
        image.encryption_format(world.rbd.RBD_ENCRYPTION_FORMAT_LUKS1, 5)


@expect(
    "rbd.Image.encryption_format",
    differs="librbd's LUKS is not supported: OperationNotSupported; os-brick's own, on the disk, is",
)
def encryption_format(world: World) -> None:
    """A LUKS header is made, and the image is smaller by it."""
    image = world.fresh(size=64 * MiB)
    image.encryption_format(world.rbd.RBD_ENCRYPTION_FORMAT_LUKS1, "secret")
    assert image.size() < 64 * MiB
