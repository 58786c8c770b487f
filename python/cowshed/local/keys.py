"""The shape of every key that the package keeps in the kernel's catalogue.

Keys are UTF-8 text with `/` between the parts (no name holds a `/`); within one prefix the last part
sorts as the listing does. Values are compact JSON but where said otherwise (`stored.py` has the fields).

    cowshed                                 the version of this scheme
    next/pool                               the next pool's id, in decimal
    pool/<pool>                             a pool
    name/<pool>/<namespace>/<image>         the id of the image of that name, as it is
    image/<image id>                        an image: its names, its head version, its parent
    times/<image id>                        when it was last written; kept apart, so that closing an
                                            image never competes with operations on it
    snap/<image id>/<snapshot id>           a snapshot; the id is its frozen version's, 16 hex digits
    snapname/<image id>/<snapshot>          the id of the snapshot of that name, 16 hex digits
    child/<image id>/<snapshot id>/<child>  empty: image <child> was cloned from that snapshot

A `child` key belongs to the child: it lives as long as the child's record names that parent, and so
outlives a parent that is removed; such a link is no longer shown. Ids are never used again, so it can
never point at something else.

Taken for what is to come: `namespace/`, `trash/`, `group/`, `meta/`, `lock/`.
"""

from __future__ import annotations

SCHEME = b"cowshed"
NEXT_POOL = b"next/pool"
POOLS = b"pool/"
NAMES = b"name/"
IMAGES = b"image/"
TIMES = b"times/"
SNAPSHOTS = b"snap/"
SNAPSHOT_NAMES = b"snapname/"
CHILDREN = b"child/"


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


def last(key: bytes) -> str:
    """The last part of a key."""
    return key.rpartition(b"/")[2].decode()


def snapshot_id(text: str | bytes) -> int:
    """A snapshot id back from its hex digits."""
    return int(text, 16)
