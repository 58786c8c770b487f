"""What a verb acts on, given as rbd gives it: in words behind the verb, or with flags.

A *place* is one thing that a verb takes: an image, a snapshot, a pool, a path. `pool/image@snap` and
`--pool pool --image image --snap snap` mean the same. Where a flag fills a place, no word is taken for
it; the words left go to the places behind it, in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

from cowshed.errors import InvalidArgument
from cowshed.store import DEFAULT_POOL, GroupSpec, ImageSpec, SnapSpec, parse_spec

F = TypeVar("F", bound=Callable[..., Any])

Flags = dict[str, str | None]


class Place:
    """One thing that a verb takes. `fill` makes it from flags and words."""

    def __init__(self, name: str, *, label: str, optional: bool = False) -> None:
        self.name = name
        self.label = label
        self.optional = optional

    @property
    def metavar(self) -> str:
        """How it stands in the usage line."""
        return f"[{self.label}]" if self.optional else self.label

    @property
    def flags(self) -> tuple[str, ...]:
        """The names under which click hands over its flags."""
        return (self.name,)

    def options(self) -> list[Callable[[Any], Any]]:
        """The flags that can fill it."""
        raise NotImplementedError

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> Any:
        """The thing itself; takes what it needs from the front of `words`. `found`: places before it."""
        raise NotImplementedError

    def missing(self) -> InvalidArgument:
        """The complaint that nothing was given."""
        return InvalidArgument(f"{self.label} is missing", hint="--help shows how it is given")


class PathPlace(Place):
    """A file, or `-`. The one called `path` can be given as `--path`, others in words only (as with rbd)."""

    def __init__(self, name: str = "path", *, optional: bool = False) -> None:
        super().__init__(name, label=name.upper(), optional=optional)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flag, if it has one."""
        return ("path",) if self.name == "path" else ()

    def options(self) -> list[Callable[[Any], Any]]:
        """`--path`, if it has that flag."""
        if not self.flags:
            return []
        return [click.option("--path", metavar="PATH", help="The file; - is stdin or stdout.")]

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> str | None:
        """The path as given."""
        path = (flags["path"] if self.flags else None) or (words.pop(0) if words else None)
        if not path and not self.optional:
            raise self.missing()
        return path or None


class PoolPlace(Place):
    """A pool by its name."""

    def __init__(self, *, default: str | None = None, help: str = "The pool.") -> None:
        super().__init__("pool", label="POOL", optional=default is not None)
        self.default = default
        self.help = help

    def options(self) -> list[Callable[[Any], Any]]:
        """`--pool`."""
        return [click.option("-p", "--pool", metavar="POOL", help=self.help)]

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> str:
        """The name, or the default one."""
        pool = flags["pool"] or (words.pop(0) if words else self.default)
        if not pool:
            raise self.missing()
        return pool


class Room(NamedTuple):
    """A pool, or a namespace in it."""

    pool: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.pool}/{self.namespace}" if self.namespace else self.pool


class RoomPlace(Place):
    """`pool` or `pool/namespace`; the default pool where nothing is given."""

    def __init__(self, *, needs_namespace: bool = False) -> None:
        super().__init__("room", label="POOL/NAMESPACE" if needs_namespace else "POOL[/NAMESPACE]")
        self.optional = not needs_namespace
        self.needs_namespace = needs_namespace

    @property
    def flags(self) -> tuple[str, ...]:
        """Both parts."""
        return ("pool", "namespace")

    def options(self) -> list[Callable[[Any], Any]]:
        """`--pool`, `--namespace`."""
        return [
            click.option("-p", "--pool", metavar="POOL", help="The pool."),
            click.option("--namespace", metavar="NAME", help="The namespace in the pool."),
        ]

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> Room:
        """The room. Raises InvalidArgument where parts contradict each other or are missing."""
        text = words.pop(0) if words else ""
        pool, slash, namespace = text.partition("/")
        if text and not slash and flags["pool"] and self.needs_namespace and not flags["namespace"]:
            # `--pool rbd blue`: the word is the namespace.
            pool, namespace = "", pool
        pool = _agree("pool", flags["pool"], pool or None, text) or DEFAULT_POOL
        namespace = _agree("namespace", flags["namespace"], namespace or None, text) or ""
        if self.needs_namespace and not namespace:
            raise InvalidArgument("no namespace is named", hint="write POOL/NAMESPACE, or give --namespace")
        return Room(pool, namespace)


class IdPlace(Place):
    """An image by its id: `[pool/[namespace/]]id`. The room and the id."""

    def __init__(self) -> None:
        super().__init__("found", label="IMAGE-ID")

    @property
    def flags(self) -> tuple[str, ...]:
        """Its parts."""
        return ("pool", "namespace", "image_id")

    def options(self) -> list[Callable[[Any], Any]]:
        """`--pool`, `--namespace`, `--image-id`."""
        return [
            click.option("-p", "--pool", metavar="POOL", help="The pool."),
            click.option("--namespace", metavar="NAME", help="The namespace in the pool."),
            click.option("--image-id", metavar="ID", help="The image's id, instead of words."),
        ]

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> tuple[Room, str]:
        """Raises InvalidArgument where parts are missing or contradict each other."""
        text = flags["image_id"] or (words.pop(0) if words else None)
        if not text:
            raise self.missing()
        named = ImageSpec.parse(text)
        pool = _agree("pool", flags["pool"], named.pool if "/" in text else None, text) or DEFAULT_POOL
        namespace = _agree("namespace", flags["namespace"], named.namespace or None, text) or ""
        return Room(pool, namespace), named.image


class TextPlace(Place):
    """A word of any meaning: a key, a value, a name. With `rest`, all words that are left."""

    def __init__(
        self,
        name: str,
        *,
        label: str | None = None,
        optional: bool = False,
        flag: str = "",
        rest: bool = False,
    ) -> None:
        super().__init__(name, label=label or name.upper(), optional=optional)
        self.flag = flag
        self.rest = rest

    @property
    def metavar(self) -> str:
        """How it stands in the usage line."""
        return f"{self.label}…" if self.rest else super().metavar

    @property
    def flags(self) -> tuple[str, ...]:
        """The flag, if it has one."""
        return (self.flag.replace("-", "_"),) if self.flag else ()

    def options(self) -> list[Callable[[Any], Any]]:
        """The flag, if it has one."""
        if not self.flag:
            return []
        return [click.option(f"--{self.flag}", metavar=self.label, help=f"{self.label}, instead of a word.")]

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> Any:
        """The word, or a list of them."""
        given = flags[self.flags[0]] if self.flag else None
        if self.rest:
            taken = ([given] if given else []) + words[:]
            words.clear()
            if not taken:
                raise self.missing()
            return taken
        text = given if given is not None else (words.pop(0) if words else None)
        if text is None and not self.optional:
            raise self.missing()
        return text


class GroupPlace(Place):
    """A group, or with `snapshot` one of its snapshots."""

    def __init__(self, name: str = "spec", *, side: str = "", snapshot: bool = False) -> None:
        label = "GROUP@SNAP" if snapshot else "GROUP"
        super().__init__(name, label=f"{side.upper()}-{label}" if side not in ("", "group") else label)
        self.dash = f"{side}_" if side else ""
        self.itself = "group" if side == "group" else f"{self.dash}group"
        self.snapshot = snapshot

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the flags for its parts."""
        names = (f"{self.dash}pool", f"{self.dash}namespace", self.itself)
        return (*names, f"{self.dash}snap") if self.snapshot else names

    def options(self) -> list[Callable[[Any], Any]]:
        """The flags for the parts."""
        dash = self.dash.replace("_", "-")
        pool = [f"--{dash}pool"] if dash else ["-p", "--pool"]
        shown = [
            click.option(*pool, f"{self.dash}pool", metavar="POOL", help="The pool of the group."),
            click.option(
                f"--{dash}namespace", metavar="NAME", help="Its namespace in the pool.", hidden=True
            ),
            click.option(
                f"--{self.itself.replace('_', '-')}", metavar="NAME", help="The group, instead of words."
            ),
        ]
        if self.snapshot:
            shown.append(click.option(f"--{dash}snap", metavar="NAME", help="The group's snapshot."))
        return shown

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> Any:
        """The group; with `snapshot`, the group and the snapshot's name."""
        text = flags[self.itself] or (words.pop(0) if words else None)
        if not text:
            raise self.missing()
        head, _, at = text.partition("@")
        named = GroupSpec.parse(head)
        pool = (
            _agree("pool", flags[f"{self.dash}pool"], named.pool if "/" in head else None, text)
            or DEFAULT_POOL
        )
        namespace = _agree("namespace", flags[f"{self.dash}namespace"], named.namespace or None, text) or ""
        spec = GroupSpec(pool, namespace, named.group)
        if not self.snapshot:
            if at:
                raise InvalidArgument(
                    f"'{text}' names a snapshot where a group is meant", hint="leave out the @ part"
                )
            return spec
        snapshot = _agree("snap", flags[f"{self.dash}snap"], at or None, text)
        if not snapshot:
            raise InvalidArgument(f"'{spec}' names no snapshot", hint="write group@snapshot, or give --snap")
        return spec, snapshot


class SpecPlace(Place):
    """An image, a snapshot, or either.

    `side` is the prefix of its flags: "" for `--pool --image --snap`, "dest" for `--dest-pool --dest
    --dest-snap`. `pool_of` names the place whose pool is meant where none is given. An optional place
    is None when nothing was given, and a Room when only a pool or a namespace was. `also` is another side
    whose flags are taken too.
    """

    def __init__(
        self,
        name: str = "spec",
        *,
        image: bool = False,
        snapshot: bool = False,
        side: str = "",
        optional: bool = False,
        pool_of: str | None = None,
        also: str = "",
    ) -> None:
        kind = {(True, False): "IMAGE", (False, True): "IMAGE@SNAP", (True, True): "IMAGE[@SNAP]"}
        label = kind[image, snapshot]
        named = f"{side.upper()}-{label}" if side not in ("", "image") else label
        super().__init__(name, label=named, optional=optional)
        self.image = image
        self.snapshot = snapshot
        self.side = side
        self.dash = f"{side}_" if side else ""
        self.pool_of = pool_of
        self.also = also

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the flags for its parts."""
        names = (f"{self.dash}pool", f"{self.dash}namespace", self.side or "image")
        return (*names, f"{self.dash}snap") if self.snapshot else names

    def options(self) -> list[Callable[[Any], Any]]:
        """The flags for the parts."""
        dash = self.dash.replace("_", "-")
        of = "of the new one" if self.side not in ("", "image") else "of the image"
        names = [f"--{dash}pool"] if dash else ["-p", "--pool"]
        spaces = [f"--{dash}namespace"]
        images = [f"--{self.side or 'image'}"]
        if self.also:
            names.append(f"--{self.also}-pool")
            spaces.append(f"--{self.also}-namespace")
            images.append(f"--{self.also}")
        # The last argument is the name under which click hands it over, whichever flag was used.
        shown = [
            click.option(*names, f"{self.dash}pool", metavar="POOL", help=f"The pool {of}."),
            click.option(*spaces, f"{self.dash}namespace", metavar="NAME", help=f"The namespace {of}."),
            click.option(*images, self.side or "image", metavar="NAME", help="The image, instead of words."),
        ]
        if self.snapshot:
            shown.append(click.option(f"--{dash}snap", metavar="NAME", help="The snapshot."))
        return shown

    def fill(
        self, flags: Flags, words: list[str], found: dict[str, Any]
    ) -> ImageSpec | SnapSpec | Room | None:
        """The spec. Raises InvalidArgument where parts are missing, too many, or contradict each other."""
        pool, namespace = flags[f"{self.dash}pool"], flags[f"{self.dash}namespace"]
        snapshot = flags.get(f"{self.dash}snap")
        text = flags[self.side or "image"] or (words.pop(0) if words else None)
        if not text:
            if not self.optional:
                raise self.missing()
            if snapshot:
                raise InvalidArgument("a snapshot is named, but no image", hint="give --image too")
            return Room(pool or DEFAULT_POOL, namespace or "") if pool or namespace else None
        named = parse_spec(text)
        head = text.partition("@")[0]
        other = found.get(self.pool_of or "")
        named_pool = _agree("pool", pool, named.pool if "/" in head else None, text)
        namespace = _agree("namespace", namespace, named.namespace or None, text)
        # Where no pool is named, it is the other one's, and the namespace with it.
        if named_pool is None and namespace is None and isinstance(other, ImageSpec | SnapSpec):
            pool, namespace = other.pool, other.namespace
        else:
            pool = named_pool or str(getattr(other, "pool", DEFAULT_POOL))
        in_text = named.snapshot if isinstance(named, SnapSpec) else None
        snapshot = _agree("snap", snapshot, in_text, text)
        spec = ImageSpec(pool, namespace or "", named.image)
        if snapshot and not self.snapshot:
            raise InvalidArgument(
                f"'{spec}@{snapshot}' names a snapshot where an image is meant", hint="leave out the @ part"
            )
        if not snapshot and not self.image:
            raise InvalidArgument(f"'{spec}' names no snapshot", hint="write image@snapshot, or give --snap")
        return spec.at(snapshot) if snapshot else spec


def _agree(flag: str, given: str | None, in_text: str | None, text: str) -> str | None:
    if given and in_text and given != in_text:
        raise InvalidArgument(f"--{flag} says '{given}', but '{text}' says '{in_text}'", hint="give it once")
    return given or in_text


def image(name: str = "spec", **options: Any) -> SpecPlace:
    """The place of an image."""
    return SpecPlace(name, image=True, **options)


def snapshot(name: str = "spec", **options: Any) -> SpecPlace:
    """The place of a snapshot."""
    return SpecPlace(name, snapshot=True, **options)


def image_or_snapshot(name: str = "spec", **options: Any) -> SpecPlace:
    """The place of an image or a snapshot, whichever is named."""
    return SpecPlace(name, image=True, snapshot=True, **options)


def takes(*places: Place) -> Callable[[F], F]:
    """Give a verb its places: each is passed to it under its name."""
    flag_names = [name for place in places for name in place.flags]

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from cowshed.cli.completion import suggestions

        return suggestions(ctx, places, incomplete)

    def wrap(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, words: tuple[str, ...], **kwargs: Any) -> Any:
            flags = {name: kwargs.pop(name) for name in flag_names}
            return function(*args, **fill(places, flags, list(words)), **kwargs)

        decorated: Any = wrapper
        for place in reversed(places):
            for option in reversed(place.options()):
                decorated = option(decorated)
        metavar = " ".join(place.metavar for place in places)
        words = click.argument("words", nargs=-1, metavar=metavar, shell_complete=complete)
        return words(decorated)  # type: ignore[no-any-return]

    return wrap


def fill(places: tuple[Place, ...], flags: Flags, words: list[str]) -> dict[str, Any]:
    """Fill all places in order. Raises InvalidArgument for words that nothing takes."""
    found: dict[str, Any] = {}
    for place in places:
        found[place.name] = place.fill(flags, words, found)
    if words:
        raise InvalidArgument(f"'{words[0]}' is one argument too many", hint="--help shows what it takes")
    return found
