"""The one command: arguments, and a whole start and end with a stand-in for the application."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tools.services.child import command_line
from tools.services.place import POINTER
from tools.stack import COMMANDS, HELP, Stack, pytest_arguments, run

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE_S = 40.0

APPLICATION = """
import http.server, os, signal, sys
command = sys.argv[1]
if command == "serve":
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *arguments):
            pass
    signal.signal(signal.SIGTERM, lambda *arguments: sys.exit(0))
    http.server.HTTPServer(("127.0.0.1", int(os.environ["IIOT_PORT"])), Answers).serve_forever()
elif command == "demo":
    signal.pause()
elif command == "migrate" and "BROKEN" in os.environ:
    sys.exit("no administrator today")
"""
START = """
import os, sys
from tools.stack import Stack, guarded
stack = Stack(os.environ, app=(sys.executable, sys.argv[1]))
sys.exit(guarded(stack, sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("given", "workers"),
    [
        ([], True),
        (["tests/domain", "-k", "pressure"], True),
        (["-n", "4"], False),
        (["-n4"], False),
        (["--numprocesses=1"], False),
        (["--pdb"], False),
        (["-p", "no:xdist"], False),
    ],
)
def test_tests_run_on_two_workers_unless_the_user_decides(given: list[str], workers: bool) -> None:
    arguments = pytest_arguments(given)
    assert (arguments[:4] == ["-p", "no:valkey", "-n", "2"]) is workers
    assert arguments[-len(given) or len(arguments) :] == given


def test_help_names_every_command_on_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Stack({}), ["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown == HELP
    assert all(f"./run {name}" in shown for name in COMMANDS)
    assert len(shown.splitlines()) < 24


@pytest.mark.parametrize("words", [["dance"], ["serve", "now"], ["exec"]])
def test_an_unknown_command_shows_the_list(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Stack({}), words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"Unknown command: {' '.join(words)}\n")
    assert HELP in captured.err


class Copy:
    """A copy of the stack in a folder of its own, started like `./run` with the stand-in application."""

    def __init__(self, folder: Path) -> None:
        self.var = folder / "my plänt" / "var"
        self.application = folder / "application.py"
        self.application.write_text(APPLICATION, encoding="utf-8")
        self.processes: list[subprocess.Popen[str]] = []

    def run(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        gone = ("DATABASE_URL", "REDIS_URL", "MQTT_URL", "IIOT_SECRET_KEY")
        base = {name: value for name, value in os.environ.items() if name not in gone}
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(self.application), *words],
            cwd=PROJECT,
            env={**base, "VAR_DIR": str(self.var), "IIOT_PORT": "0", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def described(self, *, platform_is_not: int = 0) -> dict[str, str | dict[str, int]]:
        """Wait until `services.json` describes the copy."""
        path = self.var / "services.json"
        deadline = time.monotonic() + DEADLINE_S
        while True:
            if path.exists():
                found: dict[str, str | dict[str, int]] = json.loads(path.read_text(encoding="utf-8"))
                pids = found["pids"]
                if isinstance(pids, dict) and pids.get("platform") not in (None, platform_is_not):
                    return found
            assert self.processes[0].poll() is None, self.processes[0].communicate()[0]
            assert time.monotonic() < deadline, "not ready in time"
            threading.Event().wait(0.02)

    def pids(self, *, platform_is_not: int = 0) -> dict[str, int]:
        found = self.described(platform_is_not=platform_is_not)["pids"]
        assert isinstance(found, dict)
        return found

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE_S)
        pointer = self.var / POINTER
        if pointer.exists():
            shutil.rmtree(Path(pointer.read_text(encoding="utf-8")))


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    made = Copy(tmp_path)
    yield made
    made.end()


def wait_gone(pids: Mapping[str, int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while any(command_line(pid) is not None for pid in pids.values()):
        assert time.monotonic() < deadline, f"still there: {pids}"
        threading.Event().wait(0.02)


@pytest.mark.services
def test_a_run_describes_itself_restarts_the_platform_and_ends_clean(copy: Copy) -> None:
    running = copy.run()
    described = copy.described()
    pids = copy.pids()
    assert set(described) == {"DATABASE_URL", "REDIS_URL", "MQTT_URL", "BASE_URL", "pids"}
    assert set(pids) == {"stack", "postgres", "redis", "mqtt", "platform", "demo"}
    assert (copy.var / "services.json").stat().st_mode & 0o777 == 0o600

    second = copy.run()
    assert f"Already running at {described['BASE_URL']}" in second.communicate(timeout=DEADLINE_S)[0]
    assert second.returncode == 1

    beside = copy.run("exec", "sh", "-c", 'echo "$DATABASE_URL $IIOT_PORT"; exit 3')
    port = str(described["BASE_URL"]).rpartition(":")[2]
    assert beside.communicate(timeout=DEADLINE_S)[0] == f"{described['DATABASE_URL']} {port}\n"
    assert beside.returncode == 3

    os.kill(pids["platform"], signal.SIGKILL)
    again = copy.pids(platform_is_not=pids["platform"])

    running.send_signal(signal.SIGINT)
    shown = running.communicate(timeout=DEADLINE_S)[0]
    assert running.returncode == 0
    assert "platform ended (code -9); starting it again in 0.5 s" in shown
    assert "mosquitto_pub" in shown
    assert "Stopped in" in shown
    assert not (copy.var / "services.json").exists()
    wait_gone(again)


@pytest.mark.services
def test_nothing_is_left_when_the_supervisor_is_killed_and_the_next_start_works(copy: Copy) -> None:
    running = copy.run("serve")
    pids = copy.pids()
    assert "demo" not in pids
    running.kill()
    wait_gone(pids)
    after = copy.run("exec", "true")
    assert (after.communicate(timeout=DEADLINE_S)[0], after.returncode) == ("", 0)


@pytest.mark.services
def test_a_dead_data_service_ends_the_run_with_the_end_of_its_log(copy: Copy) -> None:
    running = copy.run("serve")
    pids = copy.pids()
    os.kill(pids["redis"], signal.SIGKILL)
    shown = running.communicate(timeout=DEADLINE_S)[0]
    assert running.returncode == 1
    assert "redis ended unexpectedly (code -9)" in shown
    assert "Ready to accept connections" in shown
    wait_gone(pids)


@pytest.mark.services
def test_a_failing_first_step_stops_the_start_and_shows_why(copy: Copy) -> None:
    running = copy.run(BROKEN="1")
    shown = running.communicate(timeout=DEADLINE_S)[0]
    assert running.returncode == 1
    assert "`migrate` failed (code 1)" in shown
    assert "no administrator today" in shown


def test_a_taken_port_is_refused_before_anything_starts(copy: Copy) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        refused = copy.run("serve", IIOT_PORT=str(port))
        shown = refused.communicate(timeout=DEADLINE_S)[0]
    assert refused.returncode == 1
    assert shown.startswith(f"Port {port} is taken by another program. Remedy: ")


def test_production_without_its_secrets_is_refused(copy: Copy) -> None:
    refused = copy.run("serve", IIOT_ENV="production")
    assert "set IIOT_SECRET_KEY" in refused.communicate(timeout=DEADLINE_S)[0]
    assert refused.returncode == 1
    with_demo = copy.run(IIOT_ENV="production", IIOT_SECRET_KEY="x" * 40)
    assert "start with `./run serve`" in with_demo.communicate(timeout=DEADLINE_S)[0]


def test_an_external_service_that_is_away_is_named(copy: Copy) -> None:
    refused = copy.run("exec", "true", REDIS_URL="redis://:hidden@127.0.0.1:1/0")
    shown = refused.communicate(timeout=DEADLINE_S)[0]
    assert refused.returncode == 1
    assert "REDIS_URL (redis://:***@127.0.0.1:1/0) cannot be used" in shown
    assert "hidden" not in shown
