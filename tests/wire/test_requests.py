"""Calls as requests."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

from cowshed.store import ImageSpec, SnapSpec
from cowshed.wire.operations import OPERATIONS
from cowshed.wire.requests import request


def test_a_query() -> None:
    spec = SnapSpec("p", "n", "ä&b=c d", "s+%")
    sent = request(OPERATIONS["usage"], {"spec": spec})
    assert (sent.method, sent.body) == ("GET", None)
    assert urlsplit(sent.path).path == "/v1/usage"
    assert parse_qsl(urlsplit(sent.path).query) == [("spec", str(spec))]
    assert request(OPERATIONS["pools"], {}).path == "/v1/pools"


def test_values_in_a_query() -> None:
    sent = request(
        OPERATIONS["trash_remove"], {"pool": "p", "image_id": "1f", "namespace": "", "force": True}
    )
    pairs = parse_qsl(urlsplit(sent.path).query, keep_blank_values=True)
    assert pairs == [("pool", "p"), ("image_id", "1f"), ("namespace", ""), ("force", "true")]
    assert request(OPERATIONS["config"], {"where": None, "pool": "p"}).path == "/v1/config?pool=p"


def test_a_body() -> None:
    spec = ImageSpec("p", "", "a")
    sent = request(OPERATIONS["create"], {"spec": spec, "size": 5, "order": None, "features": ("layering",)})
    assert (sent.method, sent.path) == ("POST", "/v1/images")
    assert json.loads(sent.body or b"") == {
        "spec": "p/a",
        "size": 5,
        "order": None,
        "features": ["layering"],
    }
