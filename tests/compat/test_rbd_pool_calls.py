"""What the recorded programme cannot show: refusals of what the real module crashes on, errors, progress."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import cowshed
from compat.places import Ioctx, StorePlace
from cowshed import errors as stores
from cowshed.compat import rbd
from cowshed.compat.rbd import translating
from cowshed.compat.rbd.progress import following
from cowshed.compat.rbd.translating import OF_GROUPS, answering
from cowshed.errors import CowshedError
from cowshed.process import Home
from cowshed.store import Store

MIB = 1 << 20
ERRORS = [rbd.OSError, *rbd.OSError.__subclasses__()]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with cowshed.open(tmp_path / "store", create=True) as store:
        yield store


@pytest.fixture
def ioctx(store: Store) -> Ioctx:
    return StorePlace(store, ()).ioctx("rbd")


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_have_errno_and_pickle(kind: type[rbd.OSError]) -> None:
    for error in (kind("that"), kind("that", 5), kind("that", errno=5)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.errno, again.args) == (
            kind,
            str(error),
            error.errno,
            error.args,
        )
    assert str(kind("that", 5)).startswith("[errno 5] ")


def all_kinds(kind: type[CowshedError]) -> Iterator[type[CowshedError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from all_kinds(below)


@pytest.mark.parametrize("kind", list(all_kinds(CowshedError)))
def test_nothing_of_a_store_leaves(kind: type[CowshedError]) -> None:
    for table in (translating.OF_IMAGES, OF_GROUPS):
        with pytest.raises(rbd.OSError) as caught, answering("doing so", table):
            raise kind("it is so")
        assert caught.value.errno
        assert type(caught.value) is table.get(caught.value.errno, rbd.OSError)
        assert caught.value.__suppress_context__
        assert caught.value.__notes__ == ["it is so"]


def test_what_is_refused_has_its_own_errno() -> None:
    with pytest.raises(rbd.PermissionError), answering("x"):
        raise stores.PermissionDenied("no")
    with pytest.raises(rbd.ConnectionShutdown), answering("x"):
        raise stores.Closed("closed")
    with pytest.raises(rbd.ImageExists), answering("x", errnos={stores.NotFound: errno.EEXIST}):
        raise stores.NotFound("no")
    with pytest.raises(ZeroDivisionError), answering("x"):
        raise ZeroDivisionError


@pytest.mark.parametrize("foreign", [None, "rbd", object()])
def test_what_is_no_ioctx_is_told_so(foreign: object) -> None:
    r = rbd.RBD()
    for call in (
        lambda: r.create(foreign, "i", MIB),
        lambda: r.list(foreign),
        lambda: r.clone(foreign, "a", "s", foreign, "b"),
        lambda: rbd.Group(foreign, "g"),
        lambda: rbd.ImageIterator(foreign),
        lambda: r.mirror_mode_get(foreign),
        lambda: r.mirror_site_name_get(foreign),
    ):
        with pytest.raises(TypeError, match="incorrect type"):
            call()


def test_a_forked_process_is_told_so(ioctx: Ioctx) -> None:
    elsewhere = Home()
    elsewhere.pid = os.getppid()
    ioctx._scope = replace(ioctx._scope, home=elsewhere)
    with pytest.raises(rbd.OSError, match="forked") as caught:
        rbd.RBD().list(ioctx)
    assert caught.value.errno == errno.ENOTCONN


def test_names_that_a_store_has_not(ioctx: Ioctx) -> None:
    r = rbd.RBD()
    for name in ("a/b", "a@b", "x" * 256, b"\xff", "\x00"):
        with pytest.raises(rbd.InvalidArgument) as caught:
            r.create(ioctx, name, MIB)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(rbd.InvalidArgument):
        r.trash_restore(ioctx, "x\ud800", "y")


def test_a_pool_that_is_gone(store: Store) -> None:
    gone, r = StorePlace(store, ()).ioctx("gone"), rbd.RBD()
    for call in (
        lambda: r.list(gone),
        lambda: r.create(gone, "i", MIB),
        lambda: r.remove(gone, "i"),
        lambda: r.trash_list(gone),
        lambda: r.config_list(gone),
        lambda: r.mirror_peer_list(gone),
        lambda: r.pool_stats_get(gone),
    ):
        with pytest.raises(rbd.ImageNotFound):
            call()
    with pytest.raises(rbd.ObjectNotFound):
        r.group_list(gone)


def test_progress_goes_on_and_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[int, int]] = []
    told = following(lambda done, total: seen.append((done, total)), "doing so")
    assert told is not None
    told(1, 2)
    assert seen == [(1, 2)]

    def broken(done: int, total: int) -> int:
        raise ValueError("a fault of the caller's")

    told = following(broken, "doing so")
    assert told is not None
    told(1, 2)
    assert "a fault of the caller's" in capsys.readouterr().err
    told = following(lambda done, total: -errno.EBUSY, "doing so")
    assert told is not None
    with pytest.raises(rbd.ImageBusy, match="doing so"):
        told(1, 2)
    assert following(None, "doing so") is None


def test_a_listed_image_may_go_meanwhile(ioctx: Ioctx) -> None:
    r = rbd.RBD()
    for name in "abc":
        r.create(ioctx, name, MIB)
    left = iter(r.list2(ioctx))
    assert next(left)["name"] == "a"
    r.remove(ioctx, "b")
    assert [entry["name"] for entry in left] == ["c"]


def test_mirroring_cannot_be_switched_on(ioctx: Ioctx) -> None:
    for mode in (rbd.RBD_MIRROR_MODE_IMAGE, rbd.RBD_MIRROR_MODE_POOL):
        with pytest.raises(rbd.OperationNotSupported):
            rbd.RBD().mirror_mode_set(ioctx, mode)


def test_what_the_client_sets_is_listed(ioctx: Ioctx) -> None:
    def listed() -> object:
        return next(o for o in rbd.ConfigPoolIterator(ioctx) if o["name"] == "rbd_cache")

    assert listed() == {"name": "rbd_cache", "value": "true", "source": rbd.RBD_CONFIG_SOURCE_CONFIG}
    ioctx.scope().conf.set("rbd_cache", "false")
    assert listed() == {"name": "rbd_cache", "value": "false", "source": rbd.RBD_CONFIG_SOURCE_CONFIG}
    rbd.RBD().config_set(ioctx, "rbd_cache", "true")
    assert listed() == {"name": "rbd_cache", "value": "true", "source": rbd.RBD_CONFIG_SOURCE_POOL}


def test_what_moves_to_the_trash_stays_for_its_time(ioctx: Ioctx) -> None:
    r, conf = rbd.RBD(), ioctx.scope().conf
    conf.set("rbd_move_to_trash_on_remove", "true")
    conf.set("rbd_move_to_trash_on_remove_expire_seconds", "3600")
    r.create(ioctx, "i", MIB)
    r.remove(ioctx, "i")
    (entry,) = r.trash_list(ioctx)
    with pytest.raises(rbd.PermissionError):
        r.trash_remove(ioctx, str(entry["id"]))


def test_opening_goes_on_by_itself(ioctx: Ioctx) -> None:
    r = rbd.RBD()
    r.create(ioctx, "i", MIB)
    told: list[tuple[rbd.Completion, rbd.Image]] = []

    def note(completion: rbd.Completion, image: rbd.Image) -> None:
        told.append((completion, image))

    opening = r.aio_open_image(note, ioctx, "i")
    assert opening is not None
    opening.wait_for_complete_and_cb()
    ((completion, image),) = told
    assert (completion, opening.get_return_value()) == (opening, 0)
    with pytest.raises(rbd.ImageBusy):
        r.remove(ioctx, "i")
    image.close()
    r.remove(ioctx, "i")
    failing = r.aio_open_image(note, ioctx, "i")
    assert failing is not None
    failing.wait_for_complete_and_cb()
    assert failing.get_return_value() == -errno.ENOENT
    with pytest.raises(rbd.InvalidArgument):
        told[-1][1].require_not_closed()
    with pytest.raises(rbd.InvalidArgument):
        r.aio_open_image(note, ioctx)
    with pytest.raises(rbd.InvalidArgument):
        r.aio_open_image(note, ioctx, "i", image_id="5")
    with pytest.raises(rbd.ImageNotFound):
        r.aio_open_image(None, ioctx, "i")
