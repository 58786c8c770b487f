"""`site`: a real cluster where COWSHED_TEST_CEPH_CONF names one, else a cowshed store. `cinder`: a driver."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openstack.cinder_driver.making import REAL_CONF, cowshed_site, real_site
from openstack.cinder_driver.ready import make_ready
from openstack.cinder_driver.site import Site

if TYPE_CHECKING:
    from openstack.cinder_driver.service import Cinder

Maker = Callable[..., "Cinder"]


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    for package in ("cinder", "os_brick"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package} here (pip install 'cowshed[test-openstack]')")
    with tempfile.TemporaryDirectory(prefix="cowshed-cinder-") as place, ExitStack() as stack:
        work = Path(place)
        real = os.environ.get(REAL_CONF)
        found = real_site(work) if real else stack.enter_context(cowshed_site(work))
        with found.entered():
            make_ready(work)
            yield found


@pytest.fixture(params=[1, 2], ids=["clones-v1", "clones-v2"])
def clone_format(request: pytest.FixtureRequest) -> int:
    """With format 1 a snapshot that has clones must stay; with 2 it may go, and its clones stay whole.

    For tests in which clones are what matters: `make(clone_format)`.
    """
    return int(request.param)


@pytest.fixture
def make(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Makes a `Cinder` whose clients use this clone format; what is left is removed at the end."""
    from openstack.cinder_driver import leavings
    from openstack.cinder_driver.service import Cinder

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made: list[Cinder] = []

    def maker(clone_format: int = 2, seed: int = 1, **options: Any) -> Cinder:
        # A client takes its cluster's name from that of the conf.
        conf = tmp_path / str(len(made)) / "ceph.conf"
        conf.parent.mkdir()
        site.with_options(conf, {"rbd_default_clone_format": str(clone_format)})
        made.append(Cinder(site, conf, seed, **options))
        made[-1].remember_monitors()
        return made[-1]

    try:
        yield maker
    finally:
        for each in made:
            leavings.remove(each)


@pytest.fixture
def cinder(make: Maker) -> Cinder:
    return make()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """OpenStack's libraries warn of each other; that is theirs to settle."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def tool(name: str, package: str) -> None:
    """Skips where a program is missing."""
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here (apt-get install {package})")
