"""Settings: from a file and the command line, and what is refused, in one sentence."""

from __future__ import annotations

import grp
import os
import re
from pathlib import Path
from typing import Any

import pytest

from cowshed.errors import CowshedError, InvalidArgument, NotFound
from cowshed.serve.settings import SETTINGS, Address, Settings, load

DOCS = Path(__file__).resolve().parents[2] / "docs" / "serve.md"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A file that is there; what it holds is looked at later."""
    path = tmp_path / "x.pem"
    path.touch()
    return path


def from_file(tmp_path: Path, text: str, **given: Any) -> Settings:
    path = tmp_path / "cowshed.toml"
    path.write_text(text)
    return load("/srv/cows", given, config=str(path))


def test_defaults() -> None:
    assert load("/srv/./cows/", {}) == Settings(
        store="/srv/cows", control_socket="/srv/cows/daemon.sock", nbd_socket="/srv/cows/nbd.sock"
    )


def test_everything_from_a_file(tmp_path: Path, pem: Path) -> None:
    group = grp.getgrgid(os.getgid())
    found = from_file(
        tmp_path,
        f"""
        nbd-socket = "run/nbd.sock"
        nbd-listen = "0.0.0.0:10809"
        nbd-hidden = true
        listen = "[::1]:7180"
        tls-cert = "x.pem"
        tls-key = "{pem}"
        tls-client-ca = "x.pem"
        insecure = false
        group = "{group.gr_name}"
        cache = "1G"
        drain = 2.5
        log-format = "json"
        log-level = "debug"
        """,
    )
    assert found == Settings(
        store="/srv/cows",
        control_socket="/srv/cows/daemon.sock",
        nbd_socket=f"{tmp_path}/run/nbd.sock",
        nbd_listen=Address("0.0.0.0", 10809),
        nbd_hidden=True,
        listen=Address("::1", 7180),
        tls_cert=str(pem),
        tls_key=str(pem),
        tls_client_ca=str(pem),
        group=group.gr_gid,
        cache=1 << 30,
        drain=2.5,
        log_format="json",
        log_level="debug",
    )
    assert found.tls == (str(pem), str(pem))


def test_the_command_line_wins(tmp_path: Path) -> None:
    text = 'drain = 5\ncache = "1G"\nnbd-hidden = true'
    found = from_file(tmp_path, text, drain=7.0, cache=None, nbd_socket="here.sock")
    assert (found.drain, found.cache, found.nbd_hidden) == (7.0, 1 << 30, True)
    assert found.nbd_socket == str(Path.cwd() / "here.sock")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nbd-sockt = 'x'", "unknown setting 'nbd-sockt'.*did you mean 'nbd-socket'"),
        ("frobnicate = 1", "unknown setting 'frobnicate'.*it may hold"),
        ("drain = 'soon'", "'drain' in .* must be a number of seconds"),
        ("drain = true", "must be a number of seconds"),
        ("drain = -1", "from 0 to 86400"),
        ("drain = nan", "must be a number"),
        ("cache = '12X'", "'cache' in .* must be a size such as 256M"),
        ("cache = '1K'", "from 1M"),
        ("cache = true", "must be a size"),
        ("nbd-hidden = 1", "must be true or false"),
        ("nbd-socket = 7", "must be a text"),
        ("nbd-socket = ''", "must be a text"),
        ("listen = 'host'", "must be HOST:PORT"),
        ("listen = ':80'", "must be HOST:PORT"),
        ("listen = 'host:99999'", "must be HOST:PORT"),
        ("listen = '::1:80'", r"in brackets: \[::1\]:80"),
        ("log-format = 'xml'", "must be one of text, json"),
        ("log-level = 'DEBUG'", "must be one of debug, info, warning, error"),
        ("group = 'no-such-group'", "there is no group 'no-such-group'"),
        ("drain", "is not TOML"),
        ("[nbd]\nsocket = 'x'", "unknown setting 'nbd'"),
        ("listen = '0.0.0.0:80'\ninsecure = true", "loopback addresses only"),
        ("listen = 'example.org:80'\ninsecure = true", "loopback addresses only"),
        ("nbd-listen = '10.0.0.1:10809'\ninsecure = true", "--nbd-listen 10.0.0.1:10809 needs TLS"),
        ("tls-cert = 'x.pem'", "--tls-key is missing"),
        ("tls-key = 'x.pem'", "--tls-cert is missing"),
        ("tls-client-ca = 'x.pem'\ninsecure = true", "--tls-client-ca needs"),
        ("tls-cert = 'x.pem'\ntls-key = 'gone.pem'", "--tls-key: there is no file"),
        ("nbd-socket = '/srv/cows/daemon.sock'", "cannot be the control socket"),
    ],
)
def test_what_is_refused(tmp_path: Path, pem: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_file(tmp_path, text)
    assert re.search(complaint, str(caught.value))
    assert "\n" not in caught.value.message.removesuffix("\n") or "TOML" in caught.value.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="configuration"):
        load("/srv/cows", {}, config=str(tmp_path / "gone"))
    with pytest.raises(CowshedError, match="reading"):
        load("/srv/cows", {}, config=str(tmp_path))
    (tmp_path / "latin").write_bytes(b"# \xe4\n")
    with pytest.raises(InvalidArgument, match="not TOML"):
        load("/srv/cows", {}, config=str(tmp_path / "latin"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_without_tls_when_said_so(host: str) -> None:
    found = load("/x", {"listen": f"[{host}]:0" if ":" in host else f"{host}:0", "insecure": True})
    assert found.listen == Address(host, 0)


def test_who_may_name_images_over_tcp(pem: Path) -> None:
    tls = {"tls_cert": str(pem), "tls_key": str(pem), "nbd_listen": "0.0.0.0:1"}
    assert not load("/x", tls).named_exports_over_tcp
    assert load("/x", {**tls, "tls_client_ca": str(pem)}).named_exports_over_tcp
    assert load("/x", {"nbd_listen": "127.0.0.1:1", "insecure": True}).named_exports_over_tcp


def test_insecure_alone_opens_nothing_beyond_loopback(pem: Path) -> None:
    # With TLS the address may be any, so `--insecure` must not stand in for certificates of clients there.
    tls = {"tls_cert": str(pem), "tls_key": str(pem), "nbd_listen": "0.0.0.0:1", "insecure": True}
    assert not load("/x", tls).named_exports_over_tcp


def test_the_manual_has_each_setting() -> None:
    section = DOCS.read_text().partition("## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| `?([^|`]*)`? \| (.*) \|$", section, re.MULTILINE)
    wanted = [(one.name, ", ".join(one.words) or one.metavar or "true") for one in SETTINGS]
    assert [(name, shown.strip()) for name, shown, _ in rows] == wanted
    defaults = {name: words.rpartition("Default: ")[2] for name, _, words in rows if "Default: " in words}
    for one in SETTINGS:
        told = one.help.rpartition("Default: ")[2] if "Default: " in one.help else None
        if one.name not in ("group", "nbd-socket"):
            assert defaults.get(one.name) == told, one.name
