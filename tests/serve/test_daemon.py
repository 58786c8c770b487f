"""A daemon from its start to its end, as its operator meets it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import cowshed
from cowshed.wire import sockets
from serve.daemons import PATIENCE, Daemon, environment, run, serving


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    cowshed.init(path)
    return path


def create(daemon: Daemon, spec: str, size: int) -> None:
    assert daemon.ask("POST", "/v1/images", {"spec": spec, "size": size}).status in (200, 201, 204)


def answers(path: Path) -> bool:
    try:
        sockets.connect(str(path), PATIENCE).close()
    except OSError:
        return False
    return True


def in_store(store: Path) -> set[str]:
    return {each.name for each in store.iterdir()}


def test_it_is_ready_when_it_says_so(store: Path) -> None:
    before = in_store(store)
    with serving(store) as daemon:
        # Nothing is waited for here: all must answer from READY on.
        assert daemon.ask("GET", "/readyz").status == 200
        assert daemon.ask("GET", "/healthz").status == 200
        assert answers(store / "nbd.sock")
        assert [stat.S_IMODE((store / name).stat().st_mode) for name in ("daemon.sock", "nbd.sock")] == [
            0o600
        ] * 2
        assert daemon.said[-1]["STATUS"] == "serving: 0 NBD connections, 0 tasks"
        info = daemon.ask("GET", "/v1/daemon").json
        assert (info["target"], info["pid"]) == (str(store), daemon.process.pid)
        assert info["nbd"] == [f"unix:{store}/nbd.sock"]
        create(daemon, "a", 1 << 20)
        assert daemon.end() == 0
    assert [e["event"] for e in daemon.events if e["event"].startswith("daemon.")] == [
        "daemon.opened",
        "daemon.ready",
        "daemon.ending",
        "daemon.ended",
    ]
    assert in_store(store) == before
    with cowshed.open(store) as opened:
        assert list(opened.images("rbd")) == ["a"]
        assert opened.check() == []


def test_a_second_one_is_refused_at_once(store: Path) -> None:
    with serving(store) as daemon:
        # It would wait for a command: a daemon is not waited for. It names the first one and its socket.
        said = run(store, "--lock-wait", 3600, "serve", status=11)
        assert f"in use by cowshed serve at {store}/daemon.sock (pid {daemon.process.pid})" in said
        assert "stop that one first" in said
        assert daemon.ask("GET", "/readyz").status == 200
        assert daemon.end() == 0


def test_a_command_is_waited_for(store: Path) -> None:
    with (
        cowshed.open(store, owner="cowshed cp") as held,
        serving(store, "--lock-wait", "60", ready=False) as daemon,
    ):
        assert f"(pid {os.getpid()})" in daemon.event("daemon.waiting")["message"]
        assert not (store / "daemon.sock").exists()
        held.close()
        daemon.hear("READY")
        assert daemon.end() == 0


def test_without_patience_it_says_who_has_the_store(store: Path) -> None:
    with cowshed.open(store, owner="cowshed cp"):
        said = run(store, "--lock-wait", 0, "serve", status=11)
        assert f"in use by cowshed cp (pid {os.getpid()})" in said


def test_after_a_kill_the_next_one_takes_over(store: Path) -> None:
    with serving(store) as daemon:
        create(daemon, "kept", 1 << 20)
        daemon.signal(signal.SIGKILL)
        assert daemon.wait() == -signal.SIGKILL
    assert {"daemon.sock", "nbd.sock"} <= in_store(store)
    assert not answers(store / "daemon.sock")
    with serving(store) as daemon:
        assert daemon.ask("GET", "/v1/images?pool=rbd").json == ["kept"]
        assert daemon.end() == 0
    assert not {"daemon.sock", "nbd.sock"} & in_store(store)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_clients_do_not_hold_it_up(store: Path, number: signal.Signals) -> None:
    with serving(store, "--drain", 3600) as daemon:
        idle = [sockets.connect(str(store / name), PATIENCE) for name in ("daemon.sock", "nbd.sock")]
        follower = sockets.connect(str(store / "daemon.sock"), PATIENCE)
        follower.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert follower.recv(1000).startswith(b"HTTP/1.1 200 ")
        daemon.signal(number)
        assert daemon.hear("STOPPING")["STATUS"] == "letting work in flight end"
        assert daemon.wait() == 0
        for each in (*idle, follower):
            each.close()


def test_the_service_managers_watchdog_and_status(store: Path) -> None:
    with serving(store, WATCHDOG_USEC="200000") as daemon:
        for _ in range(3):
            assert daemon.hear("WATCHDOG") == {"WATCHDOG": "1"}
        daemon.signal(signal.SIGHUP)
        daemon.hear("RELOADING")
        daemon.hear("READY")
        assert daemon.event("daemon.reloaded")
        assert daemon.end() == 0


ACTIVATE = """
import os, sys
for number, fd in enumerate(map(int, sys.argv[1].split(",")), 3):
    if fd != number:
        os.dup2(fd, number)
    os.set_inheritable(number, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_sockets_of_the_service_manager(store: Path, tmp_path: Path) -> None:
    places = {name: tmp_path / f"{name}.sock" for name in ("control", "nbd")}
    given = []
    for path in places.values():
        one = socket.socket(socket.AF_UNIX)
        one.bind(str(path))
        one.listen()
        given.append(one)
    # A client that came before the daemon did: it waits, and is served.
    early = sockets.connect(str(places["control"]), PATIENCE)
    early.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    # Beyond what they are to become, so that none is overwritten.
    high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 100) for one in given]
    with serving(
        store,
        wrapper=[sys.executable, "-c", ACTIVATE, ",".join(map(str, high))],
        pass_fds=high,
        LISTEN_FDS="2",
        LISTEN_FDNAMES="control:nbd",
    ) as daemon:
        assert early.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        assert not {"daemon.sock", "nbd.sock"} & in_store(store)
        ready = daemon.event("daemon.ready")
        assert (ready["control"], ready["nbd"]) == (f"unix:{places['control']}", f"unix:{places['nbd']}")
        assert answers(places["nbd"])
        assert daemon.end() == 0
    # They are still the service manager's, who holds them open for the next daemon.
    assert [name for name, path in places.items() if answers(path)] == ["control", "nbd"]
    for one in (*given, early):
        one.close()
    for fd in high:
        os.close(fd)


def test_a_new_store_is_made_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "new"
    assert "cowshed serve --create" in run(path, "serve", status=2)
    for _ in range(2):
        with serving(path, "--create") as daemon:
            assert [pool["name"] for pool in daemon.ask("GET", "/v1/pools").json] == ["rbd"]
            assert daemon.end() == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    run(tmp_path / "other", "serve", "--create", status=17)


def test_a_store_at_a_long_path(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 120) / "store"
    path.parent.mkdir()
    with serving(path, "--create") as daemon:
        assert daemon.ask("GET", "/v1/daemon").json["nbd"] == [f"unix:{path}/nbd.sock"]
        assert answers(path / "nbd.sock")
        assert daemon.end() == 0


def test_a_group_may_use_the_sockets(store: Path) -> None:
    group = os.getgid()
    with serving(store, "--group", group) as daemon:
        for name in ("daemon.sock", "nbd.sock"):
            found = (store / name).stat()
            assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group)
        assert daemon.end() == 0


def test_settings_from_a_file(store: Path, tmp_path: Path) -> None:
    config = tmp_path / "cowshed.toml"
    config.write_text('nbd-socket = "disks.sock"\nlog-level = "warning"\n')
    with serving(store, "--config", config, "--log-level", "info") as daemon:
        assert daemon.event("daemon.ready")["nbd"] == f"unix:{tmp_path}/disks.sock"
        assert answers(tmp_path / "disks.sock")
        assert daemon.end() == 0
    config.write_text("nbd-sock = 1")
    assert "did you mean 'nbd-socket'" in run(store, "serve", "--config", config, status=22)


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--listen", "0.0.0.0:1", "--insecure"], 22, "needs TLS"),
        (["--drain", "soon"], 22, "--drain"),
        (["--log-format", "xml"], 22, "--log-format"),
        (["--cache", "much"], 22, "--cache"),
        (["--group", "no-such-group"], 22, "there is no group"),
        (["--config", "/nowhere.toml"], 2, "no configuration file"),
        (["--nbd-socket", "/nowhere/nbd.sock"], 2, "making the socket"),
    ],
)
def test_a_bad_setting_is_told_in_words(store: Path, words: list[str], status: int, complaint: str) -> None:
    said = run(store, "serve", *words, status=status)
    assert complaint in said
    assert in_store(store) == {"blocks", "catalog", "lock", "reserve"}


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(store: Path, missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from cowshed.cli.main import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, "--store", str(store), "serve"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 93
    assert f"needs '{missing}'" in ended.stderr
    assert "pip install 'cowshed[serve]'" in ended.stderr


def test_every_line_of_the_log_is_json(store: Path) -> None:
    with serving(store, "--log-level", "debug") as daemon:
        create(daemon, "a", 1 << 20)
        daemon.ask("GET", "/nonsense")
        daemon.ask("GET", "/metrics")
        sockets.connect(str(store / "nbd.sock"), PATIENCE).close()
        bad = sockets.connect(str(store / "daemon.sock"), PATIENCE)
        bad.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        bad.close()
        assert daemon.end() == 0
    found = [e for e in daemon.events if e["event"] == "request"]
    asked = [(e["operation"], e["method"], e["status"], e["level"]) for e in found]
    assert asked == [
        ("create", "POST", found[0]["status"], "info"),
        ("unknown", "GET", 404, "info"),
        ("metrics", "GET", 200, "debug"),
    ]
    for each in found:
        assert each["ms"] > 0
        assert each["principal"] == "owner"


def test_a_store_that_failed_is_not_ready(store: Path) -> None:
    with serving(store) as daemon:
        create(daemon, "kept", 1 << 20)
        # No file of its may grow any more: the next commit fails in a way that nothing in the process heals.
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        refused = daemon.ask("POST", "/v1/images", {"spec": "lost", "size": 1 << 20})
        assert refused.json["error"]["class"] == "IOFailure"
        answer = daemon.ask("GET", "/readyz")
        assert answer.status == 503
        assert "reopen" in answer.json["why"]
        assert daemon.ask("GET", "/healthz").status == 200
        assert "cowshed_ready 0.0" in daemon.ask("GET", "/metrics").body.decode()
        assert daemon.ask("GET", "/v1/images?pool=rbd").status == 200
        assert daemon.end() == errno.EIO
    said = "\n".join(daemon.lines)
    assert '"event": "daemon.failed"' in said
    assert '"event": "daemon.ended"' not in said
    assert "Traceback" not in said
    assert not {"daemon.sock", "nbd.sock"} & in_store(store)
    with cowshed.open(store) as opened:
        assert list(opened.images("rbd")) == ["kept"]
        assert opened.check() == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze (apt install systemd)")
def test_the_units_are_well_formed(tmp_path: Path) -> None:
    units = Path(__file__).resolve().parents[2] / "packaging" / "systemd"
    for unit in ("cowshed@.service", "cowshed@.socket"):
        # The program is not installed where it will be.
        text = (units / unit).read_text().replace("/usr/bin/cowshed", sys.executable)
        (tmp_path / unit).write_text(text)
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
