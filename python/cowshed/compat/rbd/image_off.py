"""What is switched off here: mirroring between clusters, and librbd's own encryption.

The answers are those of a cluster on which it is off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from cowshed.compat.rbd import constants
from cowshed.compat.rbd.arguments import integer, text
from cowshed.compat.rbd.completion import Completion
from cowshed.compat.rbd.errors import OSError
from cowshed.compat.rbd.image_snapshots import moment
from cowshed.compat.rbd.opened import Opened, answered
from cowshed.compat.rbd.translating import make_error


class SwitchedOff(Opened):
    """Mirroring and encryption."""

    def _off(self, code: int, doing: str) -> OSError:
        return make_error(code, f"error {doing} image {self._called!r}")

    @answered("error enabling mirroring for")
    def mirror_image_enable(self, mode: int = constants.RBD_MIRROR_IMAGE_MODE_JOURNAL) -> NoReturn:
        raise self._off(22, "enabling mirroring for")

    @answered("error disabling mirroring for")
    def mirror_image_disable(self, force: bool) -> NoReturn:
        raise self._off(22, "disabling mirroring for")

    @answered("error promoting")
    def mirror_image_promote(self, force: bool) -> NoReturn:
        raise self._off(2, "promoting")

    @answered("error demoting")
    def mirror_image_demote(self) -> NoReturn:
        raise self._off(22, "demoting")

    @answered("error resyncing")
    def mirror_image_resync(self) -> NoReturn:
        raise self._off(2, "resyncing")

    @answered("error creating mirror snapshot for")
    def mirror_image_create_snapshot(self, flags: int = 0) -> NoReturn:
        raise self._off(22, "creating mirror snapshot for")

    @answered("error getting mirror info for")
    def mirror_image_get_info(self) -> dict[str, Any]:
        """`global_id`, `state` (RBD_MIRROR_IMAGE_DISABLED), `primary`."""
        self._stat()
        return _NOT_MIRRORED.copy()

    @answered("error getting mirror mode for")
    def mirror_image_get_mode(self) -> int:
        self._stat()
        return constants.RBD_MIRROR_IMAGE_MODE_JOURNAL

    @answered("error getting mirror status for")
    def mirror_image_get_status(self) -> dict[str, Any]:
        return {
            "name": self._stat().name,
            "id": self._id,
            "info": _NOT_MIRRORED.copy(),
            "remote_statuses": [],
            "state": constants.MIRROR_IMAGE_STATUS_STATE_UNKNOWN,
            "description": "status not found",
            "last_update": moment(0),
            "up": False,
        }

    @answered("error getting mirror instance id for")
    def mirror_image_get_instance_id(self) -> NoReturn:
        raise self._off(22, "getting mirror instance id for")

    @answered("error getting mirror info for")
    def aio_mirror_image_get_info(
        self, oncomplete: Callable[[Completion, dict[str, Any] | None], object]
    ) -> Completion:
        return Completion.begun(self.mirror_image_get_info, oncomplete, with_result=True)

    @answered("error getting mirror mode for")
    def aio_mirror_image_get_mode(self, oncomplete: Callable[[Completion, int | None], object]) -> Completion:
        return Completion.begun(self.mirror_image_get_mode, oncomplete, with_result=True)

    @answered("error creating mirror snapshot for")
    def aio_mirror_image_create_snapshot(
        self, flags: int, oncomplete: Callable[[Completion, int | None], object]
    ) -> Completion:
        return Completion.begun(self.mirror_image_create_snapshot, oncomplete, with_result=True)

    @answered("error formatting")
    def encryption_format(
        self, format: int, passphrase: str, cipher_alg: int = constants.RBD_ENCRYPTION_ALGORITHM_AES256
    ) -> NoReturn:
        """Raises OperationNotSupported."""
        text(passphrase, "passphrase")
        integer(format)
        raise self._off(95, "formatting")

    @answered("error loading encryption on")
    def encryption_load(self, format: int, passphrase: str) -> NoReturn:
        """Raises InvalidArgument, as for an image that holds no LUKS header; OperationNotSupported."""
        text(passphrase, "passphrase")
        known = (constants.RBD_ENCRYPTION_FORMAT_LUKS1, constants.RBD_ENCRYPTION_FORMAT_LUKS2)
        raise self._off(22 if integer(format) in known else 95, "loading encryption on")


_NOT_MIRRORED = {"global_id": "", "state": constants.RBD_MIRROR_IMAGE_DISABLED, "primary": False}
