"""What a verb acts on, given as rbd gives it: in words behind the verb, or with flags.

A *place* is one thing that a verb takes: an image, a snapshot, a pool, a path. `pool/image@snap` and
`--pool pool --image image --snap snap` mean the same. Where a flag fills a place, no word is taken for
it; the words left go to the places behind it, in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cowshed.errors import InvalidArgument
from cowshed.store import DEFAULT_POOL, ImageSpec, SnapSpec, parse_spec

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
    """A file, or `-`."""

    def __init__(self, *, optional: bool = False) -> None:
        super().__init__("path", label="PATH", optional=optional)

    def options(self) -> list[Callable[[Any], Any]]:
        """`--path`."""
        return [click.option("--path", metavar="PATH", help="The file; - is stdin or stdout.")]

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> str | None:
        """The path as given."""
        path = flags["path"] or (words.pop(0) if words else None)
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


class SpecPlace(Place):
    """An image, a snapshot, or either.

    `side` is the prefix of its flags: "" for `--pool --image --snap`, "dest" for `--dest-pool --dest
    --dest-snap`. `pool_of` names the place whose pool is meant where none is given. An optional place
    is None when nothing was given, and the pool's name when only a pool was. `also` is another side whose
    flags are taken too.
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
        super().__init__(name, label=f"{side.upper()}-{label}" if side else label, optional=optional)
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
        of = "of the new one" if self.side else "of the image"
        names = [f"--{dash}pool"] if dash else ["-p", "--pool"]
        images = [f"--{self.side or 'image'}"]
        if self.also:
            names.append(f"--{self.also}-pool")
            images.append(f"--{self.also}")
        # The last argument is the name under which click hands it over, whichever flag was used.
        shown = [
            click.option(*names, f"{self.dash}pool", metavar="POOL", help=f"The pool {of}."),
            click.option(
                f"--{dash}namespace", metavar="NAME", help="The namespace in the pool.", hidden=True
            ),
            click.option(*images, self.side or "image", metavar="NAME", help="The image, instead of words."),
        ]
        if self.snapshot:
            shown.append(click.option(f"--{dash}snap", metavar="NAME", help="The snapshot."))
        return shown

    def fill(
        self, flags: Flags, words: list[str], found: dict[str, Any]
    ) -> ImageSpec | SnapSpec | str | None:
        """The spec. Raises InvalidArgument where parts are missing, too many, or contradict each other."""
        pool, namespace = flags[f"{self.dash}pool"], flags[f"{self.dash}namespace"]
        snapshot = flags.get(f"{self.dash}snap")
        text = flags[self.side or "image"] or (words.pop(0) if words else None)
        if not text:
            if not self.optional:
                raise self.missing()
            if snapshot:
                raise InvalidArgument("a snapshot is named, but no image", hint="give --image too")
            return pool
        named = parse_spec(text)
        head = text.partition("@")[0]
        inherited = getattr(found.get(self.pool_of or ""), "pool", DEFAULT_POOL)
        pool = _agree("pool", pool, named.pool if "/" in head else None, text) or inherited
        namespace = _agree("namespace", namespace, named.namespace or None, text) or ""
        in_text = named.snapshot if isinstance(named, SnapSpec) else None
        snapshot = _agree("snap", snapshot, in_text, text)
        spec = ImageSpec(pool, namespace, named.image)
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
        return click.argument("words", nargs=-1, metavar=metavar)(decorated)  # type: ignore[no-any-return]

    return wrap


def fill(places: tuple[Place, ...], flags: Flags, words: list[str]) -> dict[str, Any]:
    """Fill all places in order. Raises InvalidArgument for words that nothing takes."""
    found: dict[str, Any] = {}
    for place in places:
        found[place.name] = place.fill(flags, words, found)
    if words:
        raise InvalidArgument(f"'{words[0]}' is one argument too many", hint="--help shows what it takes")
    return found
