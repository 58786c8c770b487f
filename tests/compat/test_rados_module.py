"""The module `rados` has what the real one has: exceptions, numbers, calls and their arguments."""

from __future__ import annotations

import json
import pickle
import subprocess
from functools import cache
from typing import Any

import pytest

from compat import real_module
from cowshed.compat import rados
from cowshed.errors import CowshedError, NotFound

# Not there, and why.
MISSING_CLASSES = {
    "MonitorLog",  # a cluster's log: there is none
    "datetime",
    "timedelta",
    "partial",
    "chain",
}
MISSING_CALLS = {
    ("Rados", "monitor_log"),
    ("Rados", "monitor_log2"),
    ("Ioctx", "aio_execute"),
    ("Ioctx", "aio_notify"),
    ("Watch", "check"),
    ("Watch", "close"),
    ("Watch", "get_id"),
}
# The real one takes `*args, **kwargs` and hands them on.
LOOSE = {"args", "kwargs"}


@cache
def real() -> dict[str, Any]:
    command = ["/usr/bin/python3", real_module.__file__, "rados"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip("the real rados is not installed (python3-rados)")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_exceptions_are_the_real_ones() -> None:
    ours = real_module.described(rados)["errors"]
    assert ours == real()["errors"]


def test_the_numbers_are_the_real_ones() -> None:
    assert real_module.described(rados)["constants"] == real()["constants"]


def test_the_calls_are_the_real_ones() -> None:
    ours, theirs = real_module.described(rados)["classes"], real()["classes"]
    missing = set()
    for name, calls in theirs.items():
        if name in MISSING_CLASSES:
            continue
        assert name in ours
        for call, arguments in calls.items():
            if call not in ours[name]:
                missing.add((name, call))
            elif arguments is not None and not set(arguments) & LOOSE:
                assert ours[name][call] == arguments, (name, call)
    assert missing == MISSING_CALLS


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (-2, rados.ObjectNotFound, "[errno 2] RADOS object not found (w)"),
        (17, rados.ObjectExists, "[errno 17] RADOS object exists (w)"),
        (16, rados.ObjectBusy, "[errno 16] RADOS object busy (w)"),
        (13, rados.PermissionDeniedError, "[errno 13] RADOS permission denied (w)"),
        (110, rados.TimedOut, "[errno 110] RADOS timed out (w)"),
        (22, rados.InvalidArgumentError, "[errno 22] RADOS invalid argument (w)"),
        (95, rados.OSError, "[errno 95] w"),
    ],
)
def test_an_errno_has_its_class_and_words(number: int, kind: type[rados.Error], said: str) -> None:
    error = rados.make_ex(number, "w")
    assert (type(error), str(error), error.errno) == (kind, said, abs(number))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.errno) == (kind, said, abs(number))


def _leaves(kind: type[CowshedError]) -> list[type[CowshedError]]:
    return [kind, *(leaf for each in kind.__subclasses__() for leaf in _leaves(each))]


@pytest.mark.parametrize("kind", _leaves(CowshedError))
def test_no_error_of_the_store_leaves_as_itself(kind: type[CowshedError]) -> None:
    from cowshed.compat.rados.errors import asking

    with pytest.raises(rados.Error) as caught, asking("call"):
        raise kind("sentence")
    assert caught.value.errno
    assert "call" in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)


def test_the_hint_stays_with_the_cause() -> None:
    from cowshed.compat.rados.errors import asking

    with pytest.raises(rados.ObjectNotFound) as caught, asking("call"):
        raise NotFound("no such thing", hint="look elsewhere")
    assert "look elsewhere" in str(caught.value.__cause__)
