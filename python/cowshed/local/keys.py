"""The shape of every key that the package keeps in the kernel's catalogue.

Keys are UTF-8 text with `/` between the parts (no name holds a `/`); within one prefix the last part
sorts as the listing does. Values are compact JSON but where said otherwise (`stored.py` has the fields).

    cowshed                                 the version of this scheme
    id                                      the store's id, a UUID as it is; made when first asked for
    next/pool                               the next pool's id, in decimal
    pool/<pool>                             a pool
    name/<pool>/<namespace>/<image>         the id of the image of that name, as it is
    image/<image id>                        an image: its names, its head version, its parent
    times/<image id>                        when it was last written; kept apart, so that closing an
                                            image never competes with operations on it
    snap/<image id>/<snapshot id>           a snapshot; the id is its frozen version's, 16 hex digits
    snapname/<image id>/<snapshot>          the id of the snapshot of that name, 16 hex digits
    child/<image id>/<snapshot id>/<child>  image <child> was cloned from that snapshot: empty, or RBD's clone
                                            format, `1` or `2`, where the clone holds the snapshot
    namespace/<pool>/<namespace>            a namespace
    trash/<pool>/<namespace>/<image id>     an image in the trash; it has no `name` key then
    meta/<image id>/<key>                   image metadata, the value as it is; configuration as `conf_…`
    poolmeta/<pool>/<key>                   metadata of a pool, the value as it is
    config/<pool>/<key>                     a configuration key set for a pool, the value as it is
    lock/<image id>                         an advisory lock and its holders
    group/<pool>/<namespace>/<group>        the id of the group of that name, as it is
    groups/<group id>                       a group: its names
    member/<group id>/<image id>            empty: the image is in the group
    groupsnap/<group id>/<id>               a snapshot of the group: its name, its members' snapshots
    moving/<image id>                       the image is being moved: from where, to where
    object/<pool>/<namespace>/<object>      a small object: its id, its size, how much of the rest it has; its
                                            name may hold `/`
    objectdata/<object id>/<number>         64 KiB of its data, 8 hex digits: every piece has its key; its
                                            bytes as they are, none for a piece of zeros
    objectattr/<object id>/<name>           one of its attributes, the value as it is
    objectomap/<object id>/<key>            a key of its ordered map, the value as it is
    objecthead/<object id>                  the header of its ordered map, as it is; none if it is empty

A `child` key belongs to the child: it lives as long as the child's record names that parent, and so
outlives a parent that is removed; such a link is no longer shown. Ids are never used again, so it can
never point at something else.
"""

from __future__ import annotations

SCHEME = b"cowshed"
ID = b"id"
NEXT_POOL = b"next/pool"
POOLS = b"pool/"
NAMES = b"name/"
IMAGES = b"image/"
TIMES = b"times/"
SNAPSHOTS = b"snap/"
SNAPSHOT_NAMES = b"snapname/"
CHILDREN = b"child/"
NAMESPACES = b"namespace/"
TRASH = b"trash/"
METADATA = b"meta/"
POOL_METADATA = b"poolmeta/"
CONFIG = b"config/"
LOCKS = b"lock/"
GROUP_NAMES = b"group/"
GROUPS = b"groups/"
MEMBERS = b"member/"
GROUP_SNAPSHOTS = b"groupsnap/"
MOVING = b"moving/"
OBJECTS = b"object/"
OBJECT_DATA = b"objectdata/"
OBJECT_ATTRIBUTES = b"objectattr/"
OBJECT_OMAP = b"objectomap/"
OBJECT_HEADERS = b"objecthead/"


def pool(name: str) -> bytes:
    return f"pool/{name}".encode()


def names_of_pool(name: str) -> bytes:
    """Prefix of all image names of a pool, in whatever namespace."""
    return f"name/{name}/".encode()


def names(pool_name: str, namespace: str) -> bytes:
    return f"name/{pool_name}/{namespace}/".encode()


def name(pool_name: str, namespace: str, image_name: str) -> bytes:
    return f"name/{pool_name}/{namespace}/{image_name}".encode()


def image(image_id: str) -> bytes:
    return f"image/{image_id}".encode()


def times(image_id: str) -> bytes:
    return f"times/{image_id}".encode()


def snapshots(image_id: str) -> bytes:
    return f"snap/{image_id}/".encode()


def snapshot(image_id: str, snapshot_id: int) -> bytes:
    return f"snap/{image_id}/{snapshot_id:016x}".encode()


def snapshot_name(image_id: str, snapshot_name: str) -> bytes:
    return f"snapname/{image_id}/{snapshot_name}".encode()


def children_of_image(image_id: str) -> bytes:
    return f"child/{image_id}/".encode()


def children(image_id: str, snapshot_id: int) -> bytes:
    return f"child/{image_id}/{snapshot_id:016x}/".encode()


def child(image_id: str, snapshot_id: int, child_id: str) -> bytes:
    return f"child/{image_id}/{snapshot_id:016x}/{child_id}".encode()


def namespaces(pool_name: str) -> bytes:
    return f"namespace/{pool_name}/".encode()


def namespace(pool_name: str, namespace_name: str) -> bytes:
    return f"namespace/{pool_name}/{namespace_name}".encode()


def trash_of_pool(pool_name: str) -> bytes:
    """Prefix of the trash of a pool, in whatever namespace."""
    return f"trash/{pool_name}/".encode()


def trash(pool_name: str, namespace_name: str) -> bytes:
    return f"trash/{pool_name}/{namespace_name}/".encode()


def trashed(pool_name: str, namespace_name: str, image_id: str) -> bytes:
    return f"trash/{pool_name}/{namespace_name}/{image_id}".encode()


def metadata_of(image_id: str) -> bytes:
    return f"meta/{image_id}/".encode()


def metadata(image_id: str, key: str) -> bytes:
    return f"meta/{image_id}/{key}".encode()


def metadata_of_pool(pool_name: str) -> bytes:
    return f"poolmeta/{pool_name}/".encode()


def pool_metadata(pool_name: str, key: str) -> bytes:
    return f"poolmeta/{pool_name}/{key}".encode()


def configs(pool_name: str) -> bytes:
    return f"config/{pool_name}/".encode()


def config(pool_name: str, key: str) -> bytes:
    return f"config/{pool_name}/{key}".encode()


def lock(image_id: str) -> bytes:
    return f"lock/{image_id}".encode()


def group_names_of_pool(pool_name: str) -> bytes:
    """Prefix of all group names of a pool, in whatever namespace."""
    return f"group/{pool_name}/".encode()


def group_names(pool_name: str, namespace_name: str) -> bytes:
    return f"group/{pool_name}/{namespace_name}/".encode()


def group_name(pool_name: str, namespace_name: str, group: str) -> bytes:
    return f"group/{pool_name}/{namespace_name}/{group}".encode()


def group(group_id: str) -> bytes:
    return f"groups/{group_id}".encode()


def members(group_id: str) -> bytes:
    return f"member/{group_id}/".encode()


def member(group_id: str, image_id: str) -> bytes:
    return f"member/{group_id}/{image_id}".encode()


def group_snapshots(group_id: str) -> bytes:
    return f"groupsnap/{group_id}/".encode()


def group_snapshot(group_id: str, snapshot: str) -> bytes:
    return f"groupsnap/{group_id}/{snapshot}".encode()


def moving(image_id: str) -> bytes:
    return f"moving/{image_id}".encode()


def objects_of_pool(pool_name: str) -> bytes:
    """Prefix of all objects of a pool, in whatever namespace."""
    return f"object/{pool_name}/".encode()


def objects(pool_name: str, namespace_name: str) -> bytes:
    return f"object/{pool_name}/{namespace_name}/".encode()


def object_(pool_name: str, namespace_name: str, object_name: str) -> bytes:
    return f"object/{pool_name}/{namespace_name}/{object_name}".encode()


def object_data(object_id: str) -> bytes:
    return f"objectdata/{object_id}/".encode()


def object_piece(object_id: str, number: int) -> bytes:
    return f"objectdata/{object_id}/{number:08x}".encode()


def object_attributes(object_id: str) -> bytes:
    return f"objectattr/{object_id}/".encode()


def object_attribute(object_id: str, name: str) -> bytes:
    return f"objectattr/{object_id}/{name}".encode()


def object_omap(object_id: str) -> bytes:
    return f"objectomap/{object_id}/".encode()


def object_omap_key(object_id: str, key: str) -> bytes:
    return f"objectomap/{object_id}/{key}".encode()


def object_header(object_id: str) -> bytes:
    return f"objecthead/{object_id}".encode()


def last(key: bytes) -> str:
    """The last part of a key."""
    return key.rpartition(b"/")[2].decode()


def snapshot_id(text: str | bytes) -> int:
    """A snapshot id back from its hex digits."""
    return int(text, 16)
