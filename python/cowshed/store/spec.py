"""Image and snapshot specs: `[pool/[namespace/]]image[@snapshot]`, as rbd(8) has them.

A name holds no `/` and no `@`, and is not empty (rbd's rule). Cowshed also refuses control characters
and names of more than 255 bytes in UTF-8. Names are compared byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cowshed.errors import InvalidArgument

DEFAULT_POOL = "rbd"
"""The pool that is meant where a spec names none."""
MAX_NAME_BYTES = 255
_SYNTAX = "a spec is [pool/[namespace/]]image[@snapshot]"


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
        return cls(*_split_image(head, text))

    def at(self, snapshot: str) -> SnapSpec:
        """The spec of this image's snapshot of that name."""
        return SnapSpec(self.pool, self.namespace, self.image, snapshot)

    def __str__(self) -> str:
        return f"{self.pool}/{self.namespace}/{self.image}" if self.namespace else f"{self.pool}/{self.image}"


@dataclass(frozen=True, slots=True)
class SnapSpec:
    """The name of a snapshot; checked when made."""

    pool: str
    namespace: str
    image: str
    snapshot: str

    def __post_init__(self) -> None:
        ImageSpec(self.pool, self.namespace, self.image)
        check_name(self.snapshot, "snapshot")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidArgument for what is no snapshot spec, one without a snapshot included."""
        head, snapshot = _split_snapshot(text)
        if snapshot is None:
            raise InvalidArgument(f"{text!r} names no snapshot", hint="write image@snapshot")
        return cls(*_split_image(head, text), snapshot)

    @property
    def image_spec(self) -> ImageSpec:
        """The image that the snapshot is of."""
        return ImageSpec(self.pool, self.namespace, self.image)

    def __str__(self) -> str:
        return f"{self.image_spec}@{self.snapshot}"


ID_MARK = "\x1f"
"""Stands before an image's id where a name would be. No name holds it."""


@dataclass(frozen=True, slots=True)
class ImageById(ImageSpec):
    """The image with an id, by whatever name it has when its daemon is asked: as a remote store has it.

    Only requests hold it; `image` is the mark and the id.
    """

    def __post_init__(self) -> None:
        """Nothing to check: it is made of what a daemon has told."""

    def at(self, snapshot: str) -> SnapSpec:
        return _SnapById(self.pool, self.namespace, self.image, check_name(snapshot, "snapshot"))


@dataclass(frozen=True, slots=True)
class _SnapById(SnapSpec):
    def __post_init__(self) -> None:
        """As with the image's."""

    @property
    def image_spec(self) -> ImageSpec:
        return ImageById(self.pool, self.namespace, self.image)


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


def _split_image(head: str, text: str) -> tuple[str, str, str]:
    parts = head.split("/")
    if len(parts) > 3:
        raise InvalidArgument(f"{text!r} has too many parts", hint=_SYNTAX)
    if not all(parts):
        raise InvalidArgument(f"{text!r} has an empty part", hint=_SYNTAX)
    if len(parts) == 1:
        return DEFAULT_POOL, "", parts[0]
    if len(parts) == 2:
        return parts[0], "", parts[1]
    return parts[0], parts[1], parts[2]
