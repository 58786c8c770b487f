"""Programs may expect the same of cowshed's modules `rbd` and `rados` as of the real ones.

The expectations are those of `contract`; the real modules are asked where COWSHED_TEST_CEPH_CONF names a
cluster (tests/ceph/cluster starts one), and what they said then is kept in contract/answers.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ceph.fixtures import ceph_conf  # noqa: F401
from compat.contract.asking import COWSHED_MODULES, RECORDED, ask_cowshed, ask_real, conf_of_store
from compat.contract.comparing import different, missing
from compat.contract.expecting import EXPECTATIONS
from compat.contract.run import enlist_all
from cowshed.opening import open_directly
from remote.daemon import ServedStore

enlist_all()

NAMES = sorted(EXPECTATIONS)


def need_modules() -> None:
    for module in ("rbd", "rados"):
        if not (COWSHED_MODULES / f"{module}.py").exists():
            pytest.skip(f"cowshed.compat has no module {module} yet")


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text())
    return found


@pytest.fixture(scope="session")
def real(ceph_conf: Path) -> dict[str, Any]:  # noqa: F811
    return ask_real(ceph_conf)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    need_modules()
    room = tmp_path_factory.mktemp("contract")
    open_directly(room / "store", create=True).close()
    return ask_cowshed(conf_of_store(room, room / "store"))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    need_modules()
    room = tmp_path_factory.mktemp("served")
    with ServedStore(room / "store"):
        return ask_cowshed(conf_of_store(room, room / "store"))


def known_to_fail(recorded: dict[str, Any]) -> list[str]:
    """What is recorded, and shown in docs/compat.md, as failing though it should not."""
    answers = recorded.get("cowshed", {}).get("answers", {})
    return [name for name in NAMES if answers.get(name) and not EXPECTATIONS[name].differs]


def check(name: str, answers: dict[str, str], known: list[str]) -> None:
    """As expected; or, where cowshed differs on purpose, not so. What is known to fail may."""
    if name in known and answers[name]:
        pytest.xfail(f"known, and in docs/compat.md: {answers[name]}")
    said, differs = answers[name], EXPECTATIONS[name].differs
    if differs:
        assert said, f"cowshed does as the real one after all; it was to differ: {differs}"
    else:
        assert not said, f"{EXPECTATIONS[name].says}\n{said}"


@pytest.mark.parametrize("name", NAMES)
def test_the_real_modules(name: str, real: dict[str, Any]) -> None:
    assert not real["answers"][name], EXPECTATIONS[name].says


@pytest.mark.parametrize("name", NAMES)
def test_a_store(name: str, local: dict[str, Any], recorded: dict[str, Any]) -> None:
    check(name, local["answers"], known_to_fail(recorded))


@pytest.mark.parametrize("name", NAMES)
def test_a_served_store(name: str, served: dict[str, Any], recorded: dict[str, Any]) -> None:
    check(name, served["answers"], known_to_fail(recorded))


@pytest.mark.parametrize("kind", ["calls", "errors", "constants"])
def test_names_and_arguments(kind: str, local: dict[str, Any], recorded: dict[str, Any]) -> None:
    theirs = recorded["real"]["surface"]
    assert missing(theirs, local["surface"], kind) == []
    assert different(theirs, local["surface"], kind) == []


def test_what_is_recorded_of_the_real_modules(real: dict[str, Any], recorded: dict[str, Any]) -> None:
    assert real == recorded["real"], "run scripts/compat_page --ask-real CONF"


def test_what_is_recorded_of_cowshed(
    local: dict[str, Any], served: dict[str, Any], recorded: dict[str, Any]
) -> None:
    both = [local["answers"], served["answers"]]
    works = [name for name in known_to_fail(recorded) if not any(answers[name] for answers in both)]
    assert works == [], "recorded as failing; run scripts/compat_page --ask-cowshed"


def test_every_expectation_is_recorded(recorded: dict[str, Any]) -> None:
    assert sorted(recorded["real"]["answers"]) == NAMES, "run scripts/compat_page --ask-real CONF"


def test_expectations_name_calls_that_there_are(recorded: dict[str, Any]) -> None:
    calls = recorded["real"]["surface"]["calls"]
    named = {call for each in EXPECTATIONS.values() for call in each.proves}
    assert sorted(named - set(calls)) == []


def test_a_wrong_answer_is_noticed() -> None:
    name = "version_is_three_numbers"
    with pytest.raises(AssertionError, match="nonsense"):
        check(name, {name: "AssertionError: nonsense"}, [])


def test_a_difference_that_is_none_is_noticed() -> None:
    with pytest.raises(AssertionError, match="after all"):
        check("create_with_slash_and_at", {"create_with_slash_and_at": ""}, [])
