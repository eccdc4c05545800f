"""The embedded PostgreSQL: one per state folder, found by all, and whole after any of its processes was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from blocks.embedded import Server, ensure, running, stop
from blocks.embedded.binaries import NOBODY
from blocks.embedded.files import Files
from blocks.embedded.processes import orphans, postmaster
from blocks.errors import Misconfigured

ASK = """
import json, sys
from pathlib import Path
from blocks.embedded import ensure
server = ensure(Path(sys.argv[1]), idle=float(sys.argv[2]), durable=False)
with server.connect() as c:
    started = c.execute("select pg_postmaster_start_time()::text").fetchone()[0]
print(json.dumps([server.port, started]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose server is stopped after the test."""
    yield tmp_path / "state"
    stop(tmp_path / "state")


def ask(state: Path, idle: float = 30, **options) -> subprocess.Popen[str]:
    """A process that asks for the server, says where it is, and stays until its input closes."""
    command = [*options.pop("wrapped", []), sys.executable, "-c", ASK, str(state), str(idle)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def answer(process: subprocess.Popen[str]) -> tuple[int, str]:
    return tuple(json.loads(process.stdout.readline()))


def filled(state: Path) -> Server:
    server = ensure(state, idle=30, durable=False)
    with server.connect() as connection:
        connection.execute("create table kept as select 42 as x")
    return server


def kept(state: Path) -> int:
    with ensure(state, idle=30, durable=False).connect() as connection:
        return connection.execute("select x from kept").fetchone()[0]


def supervisor(state: Path) -> int:
    """Process id of the state folder's supervisor."""
    wanted = f"blocks.embedded\0{state}\0".encode()
    found = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if wanted in read(p)]
    assert len(found) == 1
    return found[0]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_until(true, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_racing_processes_get_one_postmaster(state):
    processes = [ask(state) for _ in range(4)]
    answers = {answer(process) for process in processes}
    for process in processes:
        process.communicate()
    assert len(answers) == 1


def test_server_outlives_a_killed_starter(state):
    starter = ask(state)
    port, started = answer(starter)
    starter.kill()
    starter.communicate()
    second = ask(state)
    assert answer(second) == (port, started)
    second.communicate()


def test_killed_supervisor_is_replaced(state):
    filled(state)
    first = supervisor(state)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: Files(state).is_free("supervisor"))
    assert kept(state) == 42
    assert supervisor(state) != first


def test_committed_rows_survive_a_killed_postmaster(state):
    server = filled(state)
    os.kill(postmaster(Files(state)), signal.SIGKILL)
    assert kept(state) == 42
    assert running(state) == server  # on the port of before


def test_server_of_a_starter_killed_halfway_is_kept(state):
    filled(state)
    first = postmaster(Files(state))
    Files(state).port.unlink()  # the last thing that a starter writes
    assert kept(state) == 42
    assert postmaster(Files(state)) == first


def test_server_that_recovers_from_a_killed_backend_is_kept(state):
    client = filled(state).connect()
    first = postmaster(Files(state))
    os.kill(client.info.backend_pid, signal.SIGKILL)
    assert kept(state) == 42
    assert postmaster(Files(state)) == first
    client.close()


def test_starts_although_a_backend_of_a_killed_postmaster_is_busy(state):
    busy = filled(state).connect()
    busy.execute("create function spin() returns void language plpgsql as 'begin loop end loop; end'")
    busy.pgconn.send_query(b"select spin()")
    wait_until(lambda: any(b"SELECT" in read(Path(f"/proc/{pid}/cmdline")) for pid in orphans(Files(state))))
    os.kill(postmaster(Files(state)), signal.SIGKILL)
    assert kept(state) == 42
    busy.close()


def test_stale_pid_file_of_a_reused_pid_is_no_server(state):
    filled(state)
    stop(state)
    (Files(state).data / "postmaster.pid").write_text(f"{os.getpid()}\n{Files(state).data}\n0\n1\n\n127.0.0.1\n\nready\n")
    assert kept(state) == 42


def test_half_made_cluster_is_made_again(state):
    files = Files(state)
    files.create()
    (files.folder / "data.new").mkdir()
    (files.folder / "data.new" / "PG_VERSION").write_text("18\n")
    assert ensure(state, idle=30, durable=False).connect().closed is False


def test_idle_server_stops_and_comes_back(state):
    process = ask(state, idle=0.5)
    answer(process)
    wait_until(lambda: running(state) is None and Files(state).is_free("alive"))
    process.communicate()
    ensure(state, idle=30, durable=False)
    assert running(state) is not None


def test_connected_client_keeps_the_server_up(state):
    server = ensure(state, idle=0.3, durable=False)
    with server.connect() as connection:
        connection.execute("select pg_sleep(1.5)")
        assert running(state) == server


def test_stop_leaves_no_process(state):
    ensure(state, idle=30, durable=False)
    files = Files(state)
    pid, helper = postmaster(files), supervisor(state)
    stop(state)
    assert running(state) is None
    assert list(orphans(files)) == []
    wait_until(lambda: read(Path(f"/proc/{pid}/cmdline")) == read(Path(f"/proc/{helper}/cmdline")) == b"", seconds=2)


def test_full_server_is_found_and_not_started_twice(state):
    server = filled(state)
    connections = []
    with pytest.raises(psycopg.OperationalError, match=r"connection slots|too many clients"):
        connections.extend(server.connect() for _ in range(100))
    assert ensure(state, idle=30, durable=False) == server
    for connection in connections:
        connection.close()


def test_other_server_on_its_port_is_not_taken_for_it(state, postgres):
    filled(state)
    stop(state)
    Files(state).port.write_text(str(postgres.port))
    assert running(state) is None
    assert kept(state) == 42


def test_password_is_shown_nowhere(state):
    server = filled(state)
    secret = server.password.get_secret_value()
    files = Files(state)
    assert secret not in f"{server!r} {server}"
    assert secret not in read(Path(f"/proc/{postmaster(files)}/cmdline")).decode() + files.log.read_text()
    assert files.password.stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=server.host, port=server.port, user=server.user, dbname=server.database, password="wrong")


def test_works_below_a_private_folder_and_changes_no_permission(tmp_path):
    private = tmp_path / "home"
    private.mkdir(mode=0o700)
    state = private / "checkout" / ".millrace"
    state.mkdir(parents=True)
    above = [state, state.parent, private, tmp_path]
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in above]
    filled(state)
    assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before
    stop(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as a plain user already")
def test_plain_user_gets_a_server(tmp_path):
    """The interpreter may lie below root's own folder, so the user keeps the one capability of passing by file modes."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    caps = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *caps, "--"]
    process = ask(home / ".millrace", wrapped=plain, cwd="/", env={**os.environ, "HOME": str(home)})
    port, _ = answer(process)
    assert running(home / ".millrace").port == port
    assert Files(home / ".millrace").password.stat().st_uid == NOBODY
    process.communicate()
    stop(home / ".millrace")


def test_unusable_state_folder_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="MILLRACE_STATE"):
        ensure(tmp_path / "file" / "state")
