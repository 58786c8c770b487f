"""image-meta, config and feature: what is kept and said of images and pools."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import PoolPlace, TextPlace, image, takes
from cowshed.cli.session import Session
from cowshed.errors import NotFound
from cowshed.store import ConfigOption, ImageSpec


@verb(
    "image-meta ls",
    examples="""
    cowshed image-meta ls disk1
    """,
)
@takes(image())
@takes_format
@click.pass_obj
def meta_ls(session: Session, spec: ImageSpec, output: Output) -> None:
    """List an image's metadata."""
    with session.open() as store:
        found = store.metadata(spec)
    if not output.plain:
        output.document(found, "metadata")
        return
    if not found:
        print("There are 0 metadata on this image.")
        return
    is_are = "is" if len(found) == 1 else "are"
    print(f"There {is_are} {len(found)} metadata on this image:\n")
    print_table(["Key", "Value"], found.items())


@verb(
    "image-meta get",
    examples="""
    cowshed image-meta get disk1 owner
    """,
)
@takes(image(), TextPlace("key"))
@click.pass_obj
def meta_get(session: Session, spec: ImageSpec, key: str) -> None:
    """Print the value of a metadata key."""
    with session.open() as store:
        print(store.get_metadata(spec, key))


@verb(
    "image-meta set",
    examples="""
    cowshed image-meta set disk1 owner alice
    """,
)
@takes(image(), TextPlace("key"), TextPlace("value"))
@click.pass_obj
def meta_set(session: Session, spec: ImageSpec, key: str, value: str) -> None:
    """Give a metadata key a value."""
    with session.open() as store:
        store.set_metadata(spec, key, value)


@verb(
    "image-meta rm",
    examples="""
    cowshed image-meta rm disk1 owner
    """,
)
@takes(image(), TextPlace("key"))
@click.pass_obj
def meta_rm(session: Session, spec: ImageSpec, key: str) -> None:
    """Remove a metadata key."""
    with session.open() as store:
        store.remove_metadata(spec, key)


def _show(options: Sequence[ConfigOption], output: Output) -> None:
    if output.plain:
        print_table(["Name", "Value", "Section"], ([o.name, o.value, o.source] for o in options))
    else:
        output.document([{"name": o.name, "value": o.value, "source": o.source} for o in options], "config")


def _value(options: Sequence[ConfigOption], key: str, source: str, of: str) -> str:
    for option in options:
        if option.name == key and option.source == source:
            return option.value
    raise NotFound(f"{key} is not set for {of}")


@verb(
    "config image ls",
    examples="""
    cowshed config image ls disk1
    """,
)
@takes(image())
@takes_format
@click.pass_obj
def image_ls(session: Session, spec: ImageSpec, output: Output) -> None:
    """List RBD's configuration keys with the values that hold for an image."""
    with session.open() as store:
        _show(store.config(spec), output)


@verb(
    "config image get",
    examples="""
    cowshed config image get disk1 rbd_cache
    """,
)
@takes(image(), TextPlace("key"))
@click.pass_obj
def image_get(session: Session, spec: ImageSpec, key: str) -> None:
    """Print what a configuration key is set to for an image."""
    with session.open() as store:
        print(_value(store.config(spec), key, "image", f"image '{spec}'"))


@verb(
    "config image set",
    examples="""
    cowshed config image set disk1 rbd_cache false
    """,
)
@takes(image(), TextPlace("key"), TextPlace("value"))
@click.pass_obj
def image_set(session: Session, spec: ImageSpec, key: str, value: str) -> None:
    """Set a configuration key for an image. It is kept and listed."""
    with session.open() as store:
        store.set_config(key, value, image=spec)


@verb(
    "config image rm",
    examples="""
    cowshed config image rm disk1 rbd_cache
    """,
)
@takes(image(), TextPlace("key"))
@click.pass_obj
def image_rm(session: Session, spec: ImageSpec, key: str) -> None:
    """Set a configuration key for an image no more."""
    with session.open() as store:
        store.remove_config(key, image=spec)


@verb(
    "config pool ls",
    examples="""
    cowshed config pool ls volumes
    """,
)
@takes(PoolPlace())
@takes_format
@click.pass_obj
def pool_ls(session: Session, pool: str, output: Output) -> None:
    """List RBD's configuration keys with the values that hold for a pool."""
    with session.open() as store:
        _show(store.config(pool=pool), output)


@verb(
    "config pool get",
    examples="""
    cowshed config pool get volumes rbd_cache
    """,
)
@takes(PoolPlace(), TextPlace("key"))
@click.pass_obj
def pool_get(session: Session, pool: str, key: str) -> None:
    """Print what a configuration key is set to for a pool."""
    with session.open() as store:
        print(_value(store.config(pool=pool), key, "pool", f"pool '{pool}'"))


@verb(
    "config pool set",
    examples="""
    cowshed config pool set volumes rbd_default_order 20
    """,
)
@takes(PoolPlace(), TextPlace("key"), TextPlace("value"))
@click.pass_obj
def pool_set(session: Session, pool: str, key: str, value: str) -> None:
    """Set a configuration key for a pool and its images."""
    with session.open() as store:
        store.set_config(key, value, pool=pool)


@verb(
    "config pool rm",
    examples="""
    cowshed config pool rm volumes rbd_default_order
    """,
)
@takes(PoolPlace(), TextPlace("key"))
@click.pass_obj
def pool_rm(session: Session, pool: str, key: str) -> None:
    """Set a configuration key for a pool no more."""
    with session.open() as store:
        store.remove_config(key, pool=pool)


@verb(
    "feature enable",
    examples="""
    cowshed feature enable disk1 exclusive-lock
    """,
)
@takes(image(), TextPlace("features", label="FEATURE", flag="image-feature", rest=True))
@click.pass_obj
def feature_enable(session: Session, spec: ImageSpec, features: list[str]) -> None:
    """Switch features of an image on. They are kept and reported; all images can do what they stand for."""
    with session.open() as store:
        store.update_features(spec, [name for text in features for name in text.split(",")], True)


@verb(
    "feature disable",
    examples="""
    cowshed feature disable disk1 object-map fast-diff
    """,
)
@takes(image(), TextPlace("features", label="FEATURE", flag="image-feature", rest=True))
@click.pass_obj
def feature_disable(session: Session, spec: ImageSpec, features: list[str]) -> None:
    """Switch features of an image off."""
    with session.open() as store:
        store.update_features(spec, [name for text in features for name in text.split(",")], False)
