"""Requests that are wrong are told what is wrong, in cowshed's words and form, and nothing else."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

import pytest

from cowshed.local import LocalStore
from cowshed.serve import callers
from cowshed.wire.http import PROTOCOL
from serve.serving import Served

HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("GET", "/v1/images", None, "'pool' is missing"),
        ("GET", "/v1/images?pool=rbd&colour=blue", None, "no parameter 'colour'"),
        (
            "GET",
            "/v1/snapshots?spec=a&all_namespaces=perhaps",
            None,
            "'all_namespaces' must be true or false",
        ),
        ("DELETE", "/v1/images", None, "'spec' is missing"),
        ("POST", "/v1/images", None, "JSON object"),
        ("POST", "/v1/images", b"", "JSON object"),
        ("POST", "/v1/images", b"{", "not valid JSON"),
        ("POST", "/v1/images", b"\xff", ""),
        ("POST", "/v1/images", b"[]", "JSON object"),
        ("POST", "/v1/images", b"[" * 100_000, ""),
        ("POST", "/v1/images", b'{"spec": "a", "size": %s}' % HUGE.encode(), ""),
        ("POST", "/v1/images", {"spec": "a"}, "'size' is missing"),
        ("POST", "/v1/images", {"spec": 3, "size": 1}, "'spec' must be a text"),
        ("POST", "/v1/images", {"spec": "a", "size": "1"}, "'size' must be a whole number"),
        ("POST", "/v1/images", {"spec": "a", "size": 1.5}, "'size' must be a whole number"),
        ("POST", "/v1/images", {"spec": "a", "size": True}, "'size' must be a whole number"),
        ("POST", "/v1/images", {"spec": "a", "size": 1 << 63}, "'size' is out of bounds"),
        ("POST", "/v1/images", {"spec": "a", "size": 1, "features": "layering"}, "'features' must be a list"),
        ("POST", "/v1/images", {"spec": "a", "size": 1, "features": [1]}, "'features.0' must be a text"),
        ("POST", "/v1/images", {"spec": "a", "size": 1, "p_order": 1}, "no parameter 'p_order'"),
        ("POST", "/v1/trash", {"spec": "a", "delay": float("nan")}, "'delay' must be a finite number"),
        ("POST", "/v1/trash", {"spec": "a", "delay": float("inf")}, "'delay' must be a finite number"),
        (
            "PUT",
            "/v1/metadata",
            {"spec": "a", "key": "k", "value": "\ud800"},
            "'value' must be a text in Unicode",
        ),
        ("POST", "/v1/locks", {"spec": "a", "cookie": "\udfff"}, "'cookie' must be a text in Unicode"),
        ("POST", "/v1/handles", {"spec": "\udfff"}, "'spec' must be a text in Unicode"),
        ("POST", "/v1/images", {"spec": "a@s", "size": 1}, "names a snapshot"),
        ("POST", "/v1/images", {"spec": "a\x00", "size": 1}, "control character"),
        ("POST", "/v1/store/check", {"deep": True}, "no parameter 'deep'"),
    ],
)
def test_what_is_wrong_is_said(here: Served, method: str, path: str, body: Any, words: str) -> None:
    reply = here.send(method, path, body)
    assert reply.error == (400, "InvalidArgument")
    assert words in reply.json["error"]["message"]
    assert here.services.store.pools()[0].name == "rbd"


def test_what_is_not_there(here: Served) -> None:
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/v1/images/", "/v2/images", "/v1/handles/x/y", "/docs"):
        assert here.send("GET", path).error == (404, "NotFound")


def test_what_is_not_possible_there(here: Served) -> None:
    for method, path, allowed in (
        ("PUT", "/v1/images", "DELETE, GET, POST"),
        ("GET", "/v1/store/check", "POST"),
        ("POST", "/v1/tasks/x", "DELETE, GET"),
        ("TRACE", "/v1/pools", "DELETE, GET, POST"),
    ):
        reply = here.send(method, path)
        assert reply.error == (405, "InvalidArgument")
        assert reply.headers["allow"] == allowed


def test_a_body_of_another_kind(here: Served) -> None:
    body = json.dumps({"spec": "a", "size": 1}).encode()
    reply = here.send("POST", "/v1/images", body, Content_Type="text/plain")
    assert reply.error == (400, "InvalidArgument")
    assert here.send("POST", "/v1/images", body).status == 204


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(here: Served, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(callers, "LARGEST_BODY", 1000)
    body = json.dumps({"spec": "a", "key": "k", "value": "x" * 1000}).encode()
    connection = here.connect()
    sent = iter([body[:500], body[500:]]) if chunked else body
    connection.request("PUT", "/v1/metadata", sent, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["class"] == "InvalidArgument"
    connection.close()


def test_more_may_be_sent_to_an_object(here: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LARGEST_BODY", 1000)
    monkeypatch.setattr(callers, "LARGEST_OBJECT_BODY", 3000)
    for length, status in ((1000, 200), (3000, 413)):
        written = {"do": "append", "data": base64.b64encode(bytes(length)).decode()}
        body = {"pool": "rbd", "name": "o", "steps": [written]}
        assert here.send("POST", "/v1/object", body).status == status
    assert here.call("stat_object", pool="rbd", name="o").size == 1000


@pytest.mark.parametrize("data", ["x", "x===", "ü", "eA==\n", "eA", 5, ["eA=="]])
def test_bytes_are_in_base64(here: Served, data: object) -> None:
    body = {"pool": "rbd", "name": "o", "steps": [{"do": "append", "data": data}]}
    assert here.send("POST", "/v1/object", body).error == (400, "InvalidArgument")


def test_steps_have_their_form(here: Served) -> None:
    for step in (
        {"do": "nothing"},
        {"offset": 0},
        {"do": "create", "more": 1},
        {"do": "write", "offset": "0"},
    ):
        body = {"pool": "rbd", "name": "o", "steps": [step]}
        assert here.send("POST", "/v1/object", body).error == (400, "InvalidArgument")


@pytest.mark.parametrize("name", ["client.", "client.x", "client.1x", "me", "", "client." + "1" * 21])
def test_a_client_has_a_name_of_the_right_form(here: Served, name: str) -> None:
    reply = here.send("GET", "/v1/pools", Cowshed_Client=name)
    assert reply.error == (400, "InvalidArgument")
    assert "Cowshed-Client" in reply.json["error"]["message"]


def test_an_address_has_bounds(here: Served) -> None:
    for address in ("x" * 256, "\x7f"):
        reply = here.send("GET", "/v1/pools", Cowshed_Client="client.1", Cowshed_Address=address)
        assert reply.error == (400, "InvalidArgument")


def test_another_protocol(here: Served) -> None:
    assert here.send("GET", "/v1/pools", Cowshed_Protocol=str(PROTOCOL)).status == 200
    for other in (str(PROTOCOL + 1), "", "x"):
        reply = here.send("GET", "/v1/pools", Cowshed_Protocol=other)
        assert reply.error == (400, "InvalidArgument")
        assert "same version" in reply.json["error"]["hint"]
        assert reply.headers["cowshed-protocol"] == str(PROTOCOL)


def test_who_answers(here: Served, store: LocalStore) -> None:
    found = here.send("GET", "/v1/daemon").json
    assert (found["protocol"], found["target"], found["nbd"]) == (PROTOCOL, store.target, [])


def test_a_fault_is_told_without_its_words(
    here: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: LocalStore) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(LocalStore, "pools", broken)
    with caplog.at_level(logging.ERROR):
        reply = here.send("GET", "/v1/pools")
        # The answer is sent before the log has it.
        deadline = time.monotonic() + 20
        while "a secret" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.005)
    assert reply.error == (500, "CowshedError")
    assert b"secret" not in reply.body
    assert b"ZeroDivision" not in reply.body
    assert "a secret" in caplog.text


def test_a_closed_store(here: Served, store: LocalStore) -> None:
    other = LocalStore.__new__(LocalStore)
    other.__dict__.update(store.__dict__, _closed=True)
    here.services.store = other
    assert here.send("GET", "/v1/pools").error == (410, "Closed")
    here.services.store = store
