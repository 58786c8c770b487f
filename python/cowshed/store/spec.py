"""Image and snapshot specs: `[pool/[namespace/]]image[@snapshot]`, as rbd(8) has them.

A name holds no `/` and no `@`, and is not empty (rbd's rule). Cowshed also refuses control characters
and names of more than 255 bytes in UTF-8. Names are compared byte by byte.

An image that is there can also be named by its id: `pool/[namespace]//ID[@snapshot]`. That holds however the
image is called meanwhile, and in the trash, where images have no names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cowshed.errors import InvalidArgument

DEFAULT_POOL = "rbd"
"""The pool that is meant where a spec names none."""
MAX_NAME_BYTES = 255
_SYNTAX = "a spec is [pool/[namespace/]]image[@snapshot], or pool/[namespace]//ID[@snapshot]"


def check_name(name: str, what: str) -> str:
    """`name` itself, if it can be the name of a `what` ("pool", "image" …); else InvalidArgument."""
    if not name:
        raise InvalidArgument(f"the {what} name is empty", hint=_SYNTAX)
    if "/" in name or "@" in name:
        raise InvalidArgument(f"the {what} name {name!r} holds a '/' or '@'", hint=_SYNTAX)
    if any(c < " " or "\x7f" <= c < "\xa0" for c in name):
        raise InvalidArgument(f"the {what} name {name!r} holds a control character")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"the {what} name {name!r} is not valid UTF-8") from None
    if length > MAX_NAME_BYTES:
        raise InvalidArgument(f"the {what} name {name[:20]!r}… has {length} bytes, over {MAX_NAME_BYTES}")
    return name


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The name of an image; checked when made. `namespace` is "" for the pool's own."""

    pool: str
    namespace: str
    image: str
    by_id: bool = False
    """`image` is the image's id."""

    def __post_init__(self) -> None:
        check_name(self.pool, "pool")
        if self.namespace:
            check_name(self.namespace, "namespace")
        check_name(self.image, "image")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidArgument for what is no image spec, one with a snapshot included."""
        head, snapshot = _split_snapshot(text)
        if snapshot is not None:
            raise InvalidArgument(
                f"{text!r} names a snapshot where an image is meant", hint="leave out the @ part"
            )
        return cls(*_split_image(head, text), by_id=_is_by_id(head))

    def at(self, snapshot: str) -> SnapSpec:
        """The spec of this image's snapshot of that name."""
        return SnapSpec(self.pool, self.namespace, self.image, snapshot, self.by_id)

    def __str__(self) -> str:
        if self.by_id:
            return f"{self.pool}/{self.namespace}//{self.image}"
        return f"{self.pool}/{self.namespace}/{self.image}" if self.namespace else f"{self.pool}/{self.image}"


@dataclass(frozen=True, slots=True)
class SnapSpec:
    """The name of a snapshot; checked when made."""

    pool: str
    namespace: str
    image: str
    snapshot: str
    by_id: bool = False
    """`image` is the image's id."""

    def __post_init__(self) -> None:
        ImageSpec(self.pool, self.namespace, self.image)
        check_name(self.snapshot, "snapshot")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidArgument for what is no snapshot spec, one without a snapshot included."""
        head, snapshot = _split_snapshot(text)
        if snapshot is None:
            raise InvalidArgument(f"{text!r} names no snapshot", hint="write image@snapshot")
        return cls(*_split_image(head, text), snapshot, _is_by_id(head))

    @property
    def image_spec(self) -> ImageSpec:
        """The image that the snapshot is of."""
        return ImageSpec(self.pool, self.namespace, self.image, self.by_id)

    def __str__(self) -> str:
        return f"{self.image_spec}@{self.snapshot}"


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The name of a group of images; checked when made."""

    pool: str
    namespace: str
    group: str

    def __post_init__(self) -> None:
        check_name(self.pool, "pool")
        if self.namespace:
            check_name(self.namespace, "namespace")
        check_name(self.group, "group")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidArgument for what is no group spec, one with a snapshot included."""
        head, snapshot = _split_snapshot(text)
        if snapshot is not None:
            raise InvalidArgument(
                f"{text!r} names a snapshot where a group is meant", hint="leave out the @ part"
            )
        if _is_by_id(head):
            raise InvalidArgument(f"{text!r} has too many parts", hint="groups have names only")
        return cls(*_split_image(head, text))

    def __str__(self) -> str:
        return f"{self.pool}/{self.namespace}/{self.group}" if self.namespace else f"{self.pool}/{self.group}"


def parse_spec(text: str) -> ImageSpec | SnapSpec:
    """An image or a snapshot, whichever the text names. Raises InvalidArgument."""
    return SnapSpec.parse(text) if "@" in text else ImageSpec.parse(text)


def as_image(spec: ImageSpec | str) -> ImageSpec:
    """The spec itself, or its text parsed."""
    return ImageSpec.parse(spec) if isinstance(spec, str) else spec


def as_snapshot(spec: SnapSpec | str) -> SnapSpec:
    """The spec itself, or its text parsed."""
    return SnapSpec.parse(spec) if isinstance(spec, str) else spec


def as_group(spec: GroupSpec | str) -> GroupSpec:
    """The spec itself, or its text parsed."""
    return GroupSpec.parse(spec) if isinstance(spec, str) else spec


def as_spec(spec: ImageSpec | SnapSpec | str) -> ImageSpec | SnapSpec:
    """The spec itself, or its text parsed."""
    return parse_spec(spec) if isinstance(spec, str) else spec


def _split_snapshot(text: str) -> tuple[str, str | None]:
    head, at, snapshot = text.partition("@")
    if at and not snapshot:
        raise InvalidArgument(f"{text!r} names no snapshot behind the '@'", hint=_SYNTAX)
    return head, snapshot if at else None


def _is_by_id(head: str) -> bool:
    """Whether these are the four parts pool, namespace, nothing, id."""
    return head.count("/") == 3 and head.split("/")[2] == ""


def _split_image(head: str, text: str) -> tuple[str, str, str]:
    parts = head.split("/")
    if _is_by_id(head) and parts[0] and parts[3]:
        return parts[0], parts[1], parts[3]
    if len(parts) > 3:
        raise InvalidArgument(f"{text!r} has too many parts", hint=_SYNTAX)
    if not all(parts):
        raise InvalidArgument(f"{text!r} has an empty part", hint=_SYNTAX)
    if len(parts) == 1:
        return DEFAULT_POOL, "", parts[0]
    if len(parts) == 2:
        return parts[0], "", parts[1]
    return parts[0], parts[1], parts[2]
