"""The part of `RBD` about mirroring between clusters: answered as by a cluster on which that is off."""

from __future__ import annotations

import errno
from typing import NoReturn

from cowshed.compat.rbd.arguments import integer, scope, text
from cowshed.compat.rbd.constants import (
    RBD_MIRROR_MODE_DISABLED,
    RBD_MIRROR_MODE_IMAGE,
    RBD_MIRROR_MODE_POOL,
    RBD_MIRROR_PEER_DIRECTION_RX_TX,
)
from cowshed.compat.rbd.iterators import (
    MirrorImageInfoIterator,
    MirrorImageInstanceIdIterator,
    MirrorImageStatusIterator,
    MirrorPeerIterator,
)
from cowshed.compat.rbd.translating import answering, make_error

Text = str | bytes


class PoolMirror:
    """Nothing is mirrored, there are no peers, and switching it on is refused (OperationNotSupported)."""

    def mirror_site_name_get(self, rados: object) -> str:
        """The cluster's id, as where no name was given."""
        get_fsid = getattr(rados, "get_fsid", None)
        if get_fsid is None:
            raise TypeError(
                f"Argument 'rados' has incorrect type (expected rados.Rados, got {type(rados).__name__})"
            )
        return str(get_fsid())

    def mirror_site_name_set(self, rados: object, site_name: Text) -> None:
        """An empty name means that none was given; others are refused."""
        if text(site_name, "site_name"):
            raise make_error(errno.EOPNOTSUPP, "error setting site name")

    def mirror_mode_get(self, ioctx: object) -> int:
        """RBD_MIRROR_MODE_DISABLED."""
        _look(ioctx, "error getting mirror mode")
        return RBD_MIRROR_MODE_DISABLED

    def mirror_mode_set(self, ioctx: object, mirror_mode: int) -> None:
        """Raises OperationNotSupported for another than RBD_MIRROR_MODE_DISABLED."""
        message = "error setting mirror mode"
        mode = integer(mirror_mode)
        _look(ioctx, message)
        if mode in (RBD_MIRROR_MODE_IMAGE, RBD_MIRROR_MODE_POOL):
            raise make_error(errno.EOPNOTSUPP, message)
        if mode != RBD_MIRROR_MODE_DISABLED:
            raise make_error(errno.EINVAL, message)

    def mirror_uuid_get(self, ioctx: object) -> str:
        """Raises ImageNotFound."""
        _refuse(ioctx, errno.ENOENT, "error retrieving mirror uuid")

    def mirror_peer_bootstrap_create(self, ioctx: object) -> str:
        """Raises InvalidArgument."""
        _refuse(ioctx, errno.EINVAL, "error creating bootstrap token")

    def mirror_peer_bootstrap_import(self, ioctx: object, direction: int, token: Text) -> None:
        """Raises InvalidArgument."""
        integer(direction), text(token, "token")
        _refuse(ioctx, errno.EINVAL, "error importing bootstrap token")

    def mirror_peer_add(
        self,
        ioctx: object,
        site_name: Text,
        client_name: Text,
        direction: int = RBD_MIRROR_PEER_DIRECTION_RX_TX,
    ) -> str:
        """Raises InvalidArgument."""
        text(site_name, "site_name"), text(client_name, "client_name"), integer(direction)
        _refuse(ioctx, errno.EINVAL, "error adding mirror peer")

    def mirror_peer_remove(self, ioctx: object, uuid: Text) -> None:
        """Removing what is not there is no error."""
        text(uuid, "uuid")
        _look(ioctx, "error removing mirror peer")

    def mirror_peer_list(self, ioctx: object) -> MirrorPeerIterator:
        """None."""
        return MirrorPeerIterator(ioctx)

    def mirror_peer_set_client(self, ioctx: object, uuid: Text, client_name: Text) -> None:
        """Raises ImageNotFound."""
        text(uuid, "uuid"), text(client_name, "client_name")
        _refuse(ioctx, errno.ENOENT, "error setting mirror peer client name")

    def mirror_peer_set_name(self, ioctx: object, uuid: Text, site_name: Text) -> None:
        """Raises ImageNotFound."""
        text(uuid, "uuid"), text(site_name, "site_name")
        _refuse(ioctx, errno.ENOENT, "error setting mirror peer site name")

    def mirror_peer_set_cluster(self, ioctx: object, uuid: Text, cluster_name: Text) -> None:
        """The same by its old name."""
        self.mirror_peer_set_name(ioctx, uuid, cluster_name)

    def mirror_peer_get_attributes(self, ioctx: object, uuid: Text) -> dict[str, str]:
        """Raises ImageNotFound."""
        text(uuid, "uuid")
        _refuse(ioctx, errno.ENOENT, "error getting mirror peer attributes")

    def mirror_peer_set_attributes(self, ioctx: object, uuid: Text, attributes: dict[str, str]) -> None:
        """Raises ImageNotFound."""
        text(uuid, "uuid")
        _refuse(ioctx, errno.ENOENT, "error setting mirror peer attributes")

    def mirror_image_status_list(self, ioctx: object) -> MirrorImageStatusIterator:
        """None."""
        return MirrorImageStatusIterator(ioctx)

    def mirror_image_status_summary(self, ioctx: object) -> list[tuple[int, int]]:
        """None."""
        _look(ioctx, "error getting mirror image status summary")
        return []

    def mirror_image_instance_id_list(self, ioctx: object) -> MirrorImageInstanceIdIterator:
        """None."""
        return MirrorImageInstanceIdIterator(ioctx)

    def mirror_image_info_list(
        self, ioctx: object, mode_filter: int | None = None
    ) -> MirrorImageInfoIterator:
        """None."""
        return MirrorImageInfoIterator(ioctx, mode_filter)


def _look(ioctx: object, message: str) -> None:
    """Raises ImageNotFound unless the pool is there."""
    where = scope(ioctx)
    with answering(message):
        where.store.namespaces(where.pool)


def _refuse(ioctx: object, code: int, message: str) -> NoReturn:
    _look(ioctx, message)
    raise make_error(code, message)
