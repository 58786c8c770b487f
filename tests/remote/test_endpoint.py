"""`cowshed://` targets: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cowshed.errors import InvalidArgument, NotFound
from cowshed.remote.endpoint import TcpEndpoint, parse_endpoint


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COWSHED_TOKEN", raising=False)


def test_host_and_port() -> None:
    assert parse_endpoint("cowshed://shed.example:7700") == TcpEndpoint(
        target="cowshed://shed.example:7700", host="shed.example", port=7700
    )
    endpoint = parse_endpoint("cowshed://[::1]:7700/")
    assert (endpoint.host, endpoint.port) == ("::1", 7700)


def test_the_token_is_the_environments_or_a_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_endpoint("cowshed://h:1").token is None
    monkeypatch.setenv("COWSHED_TOKEN", "from-the-environment\n")
    assert parse_endpoint("cowshed://h:1").token == "from-the-environment"
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    endpoint = parse_endpoint(f"cowshed://h:1?token-file={file}")
    assert endpoint.token == "from-the-file"
    assert "from-the-file" not in repr(endpoint)
    assert "from-the-file" not in endpoint.target


@pytest.mark.parametrize("content", [b"two words", b"\xff\xfe", b"t\xc3\xb6ken", b"a\nb"])
def test_what_is_no_token(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InvalidArgument, match="holds no token"):
        parse_endpoint(f"cowshed://h:1?token-file={file}")


def test_files_must_be_there(tmp_path: Path) -> None:
    there, nowhere = tmp_path / "there", tmp_path / "nowhere"
    there.touch()
    for options in (f"ca={nowhere}", f"token-file={nowhere}", f"cert={nowhere}&key={there}"):
        with pytest.raises(NotFound, match="nowhere"):
            parse_endpoint(f"cowshed://h:1?{options}")
    endpoint = parse_endpoint(f"cowshed://h:1?ca={there}&cert={there}&key={there}")
    assert (endpoint.ca, endpoint.certificate, endpoint.key) == (str(there),) * 3


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_without_tls_on_this_machine_only(host: str) -> None:
    assert parse_endpoint(f"cowshed://{host}:1").tls
    assert not parse_endpoint(f"cowshed://{host}:1?insecure=yes").tls
    assert parse_endpoint(f"cowshed://{host}:1?insecure=no").tls
    with pytest.raises(InvalidArgument, match="another machine"):
        parse_endpoint("cowshed://127.0.0.1.example:1?insecure=yes")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("cowshed://", "no host"),
        ("cowshed://:1", "no host"),
        ("cowshed://h", "no port"),
        ("cowshed://h:0", "no port"),
        ("cowshed://h:x", "x"),
        ("cowshed://h:70000", "70000|range"),
        ("cowshed://[::1:1", "IPv6"),
        ("cowshed://u:p@h:1", "more than host and port"),
        ("cowshed://h:1/store", "more than host and port"),
        ("cowshed://h:1#x", "more than host and port"),
        ("cowshed://h:1?colour=blue", "colour"),
        ("cowshed://h:1?ca", "ca"),
        ("cowshed://h:1?insecure=perhaps", "perhaps"),
        ("cowshed://h:1?cert=x", "only one"),
        ("cowshed://h:1?key=x", "only one"),
    ],
)
def test_what_is_no_target(target: str, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        parse_endpoint(target)
