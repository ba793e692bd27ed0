"""The one command, inside the virtual environment: services, platform, demo plant, tests and tools.

`./run --help` lists the commands. Only this process and `tools/bootstrap.py` decide what is generated,
started, supervised and stopped; the application sees nothing but its environment variables.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from tools.bootstrap import PROJECT
from tools.services import environment, ports, welcome
from tools.services.child import POLL_S, Child, ServiceError
from tools.services.cluster import URL_NAMES, Cluster
from tools.services.instance import AlreadyRunning, Instance
from tools.services.place import Place, clear, find_place
from tools.services.supervisor import Interrupted, Supervisor, run_in_foreground
from tools.steps import Steps

HELP = """\
./run                      start everything: PostgreSQL, Redis, MQTT broker, the platform and the demo plant
./run serve                the same without the demo plant (production: IIOT_ENV=production, your secrets)
./run test [ARGS]          run the tests against services of their own; ARGS go to pytest
./run exec COMMAND...      run a command with DATABASE_URL, REDIS_URL and MQTT_URL of the services
./run check                say what is wrong with this installation and how to put it right
./run migrate              bring the database to the current schema
./run create-admin [ARGS]  add an administrator
./run create-reader NAME   add a login that reads one tenant's views, for Grafana
./run grafana [ARGS]       write the Grafana dashboards anew, or put them into a Grafana
./run seed [ARGS]          load the demo plant's devices and history
./run demo [--fault F2]    the demo plant; with --fault, break something in the running one
./run replay FILE [ARGS]   publish a CSV file of sensor data over MQTT
./run bench NAME...        measure, on services of its own
./run chaos [ARGS]         kill things while telemetry flows and count what is lost, on services of its own
./run fuzz [ARGS]          send generated requests to a platform on services of its own, judge every answer
./run gate [CHECK...]      lint, format, types, security and the tests that need no service

Data, logs and generated secrets live in var/ (VAR_DIR moves it). The platform listens on IIOT_PORT (5002;
0 = any free port). DATABASE_URL, REDIS_URL and MQTT_URL replace the embedded services;
IIOT_MQTT_MAX_QUEUED_BYTES bounds the embedded broker's queue (512 MB). .env.example explains the settings.
"""
READY_TIMEOUT_S = 60.0
APP_STOP_TIMEOUT_S = 20.0
TEST_WORKERS = 2


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """Return pytest's arguments: two workers, unless the user decided about workers or wants the debugger."""
    decided = any(
        argument.startswith(("-n", "--numprocesses", "--pdb", "--trace"))
        or argument in ("no:xdist", "-pno:xdist")
        for argument in arguments
    )
    # The plug-in of the cache server's wheel would load itself into every test run; nothing here uses it.
    return ["-p", "no:valkey", *([] if decided else ["-n", str(TEST_WORKERS)]), *arguments]


@dataclass(slots=True)
class Stack:
    """One call of `./run`. `app` is how the application is started; a test puts another program there."""

    environ: Mapping[str, str]
    app: Sequence[str] = (sys.executable, str(PROJECT / "app_advanced.py"))
    started: float = field(default_factory=time.monotonic)
    output: TextIO = field(default_factory=lambda: sys.stderr)
    in_step: bool = field(default=False, init=False)

    @property
    def folder(self) -> Path:
        """The instance's folder: `VAR_DIR`, else `var` in the project."""
        return Path(self.environ.get("VAR_DIR") or PROJECT / "var").absolute()

    def announce(self, text: str) -> None:
        """Tell the user something, also while a step is showing its progress."""
        print(f"\n      {text}" if self.in_step else text, file=self.output, flush=True)

    def run_platform(self, *, with_demo: bool) -> int:
        """Start everything, keep it alive, stop it when asked; return the exit code."""
        if environment.is_production(self.environ):
            environment.refuse_incomplete_production(self.environ)
            if with_demo:
                raise ServiceError("IIOT_ENV=production has no demo plant: start with `./run serve`.")
        place = find_place(self.folder)
        instance = Instance(place.folder)
        instance.lock()
        port = self._free_platform_port()
        cluster = self._cluster(place, instance.secrets(), environment.external_urls(self.environ))
        supervisor = Supervisor(cluster.children, self.announce)
        with supervisor.signals():
            try:
                self._start_platform(cluster, instance, supervisor, port, with_demo=with_demo)
                supervisor.watch(lambda: self._describe(cluster, instance, supervisor, port))
            except Interrupted:
                print("\nStopping ...", file=self.output, flush=True)
            finally:
                supervisor.ignore_further_signals()
                stopping = time.monotonic()
                supervisor.stop_applications(APP_STOP_TIMEOUT_S)
                cluster.stop()
                instance.services_file.unlink(missing_ok=True)
        print(f"Stopped in {time.monotonic() - stopping:.1f} s.", file=self.output, flush=True)
        return 0

    def _start_platform(
        self, cluster: Cluster, instance: Instance, supervisor: Supervisor, port: int, *, with_demo: bool
    ) -> None:
        steps = Steps(3, stream=self.output)
        self.in_step = True
        with steps.step("Services: PostgreSQL, Redis, MQTT broker"):
            urls = cluster.start()
        given = environment.application_environment(self.environ, urls, cluster.secrets, port)
        if with_demo:
            given.setdefault("IIOT_TENANT_NAME", "Riverside Utilities")
        log = instance.folder / "log" / "platform.log"
        with steps.step("Database schema and first administrator"):
            self._run_to_end(self._app_child("migrate", ("migrate", "--with-admin"), given, log))
        platform = self._app_child("platform", ("serve",), given, log)
        address = self._address(port)
        with steps.step(f"Platform at {address}"):
            supervisor.add(platform)
            self._wait_ready(platform, address)
        self.in_step = False
        if with_demo:
            supervisor.add(
                # Its progress (the history of the first start) is for the terminal, its log lines are not.
                self._app_child(
                    "demo", ("demo",), given, instance.folder / "log" / "demo.log", errors_to_terminal=True
                )
            )
        self._describe(cluster, instance, supervisor, port)
        elapsed_s = time.monotonic() - self.started
        production = environment.is_production(self.environ)
        shown = welcome.welcome(
            address, given, instance.folder, elapsed_s, with_demo=with_demo, secret=production
        )
        print(shown, file=self.output, flush=True)

    def _app_child(
        self,
        name: str,
        arguments: Sequence[str],
        given: Mapping[str, str],
        log: Path | None,
        *,
        errors_to_terminal: bool = False,
    ) -> Child:
        command = [*self.app, *arguments]
        return Child(
            name, command, cwd=PROJECT, environment=given, log=log, errors_to_terminal=errors_to_terminal
        )

    def _run_to_end(self, child: Child) -> None:
        child.spawn()
        try:
            while child.is_running:
                time.sleep(POLL_S)
        finally:
            child.stop()
        if child.exit_code != 0:
            raise ServiceError(
                f"`{child.name}` failed (code {child.exit_code}); {child.log}:\n{child.log_tail()}"
            )

    def _wait_ready(self, platform: Child, address: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not welcome.is_ready(address):
            if platform.exit_code is not None:
                raise ServiceError(
                    f"The platform ended (code {platform.exit_code}); {platform.log}:\n{platform.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{address}/health/ready did not turn 200 within {READY_TIMEOUT_S:.0f} s; "
                    f"{platform.log}:\n{platform.log_tail()}"
                )
            time.sleep(POLL_S)

    def _address(self, port: int) -> str:
        host = environment.variable(self.environ, "IIOT_HOST") or ports.LOOPBACK
        return f"http://{ports.LOOPBACK if ports.is_wildcard(host) else host}:{port}"

    def _free_platform_port(self) -> int:
        wanted = environment.number(self.environ, "IIOT_PORT", environment.DEFAULT_PORT)
        if wanted and not ports.is_free(wanted):
            raise ServiceError(
                f"Port {wanted} is taken by another program. Remedy: stop it, or choose another port with "
                f"`IIOT_PORT={wanted + 1} ./run` (0 = any free port)."
            )
        return ports.choose(wanted)

    def _describe(self, cluster: Cluster, instance: Instance, supervisor: Supervisor, port: int) -> None:
        urls = {**cluster.urls(), "BASE_URL": self._address(port)}
        instance.describe(urls, {"stack": os.getpid(), **supervisor.pids()})

    def _cluster(
        self,
        place: Place,
        secrets: Mapping[str, str],
        external: Mapping[str, str],
        *,
        fresh: bool = False,
        durable: bool = True,
    ) -> Cluster:
        shared = PROJECT / "var" / "vendor"
        return Cluster(
            place,
            shared if shared.exists() else self.folder / "vendor",
            secrets,
            external,
            tenant=environment.variable(self.environ, "IIOT_TENANT") or "default",
            with_demo_devices=not environment.is_production(self.environ),
            fresh=fresh,
            durable=durable,
            max_queued_bytes=environment.max_queued_bytes(self.environ),
            announce=self.announce,
        )

    def run_tests(self, arguments: Sequence[str]) -> int:
        """Run pytest against services that exist only for it; return pytest's exit code."""
        external = environment.external_urls(self.environ, "TEST_")
        folder = self.folder / "test"
        base = environment.without(self.environ, URL_NAMES)
        command = [sys.executable, "-m", "pytest", *pytest_arguments(arguments)]

        def given(urls: Mapping[str, str], _secrets: Mapping[str, str]) -> dict[str, str]:
            return {**base, **{f"TEST_{name}": url for name, url in urls.items()}, "VAR_DIR": str(folder)}

        return self._run_fresh(folder, external, command, given, durable=False)

    def run_measurement(self, command: Sequence[str]) -> int:
        """Run a benchmark on fresh, durable services in `bench/`."""
        folder = self.folder / "bench"

        def given(urls: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
            own = {**self.environ, "VAR_DIR": str(folder)}
            return environment.application_environment(own, urls, secrets, ports.choose())

        return self._run_fresh(folder, {}, command, given, durable=True)

    def run_alone(self, name: str, arguments: Sequence[str]) -> int:
        """Run a module of the project that needs no service, or starts its own."""
        command = [sys.executable, "-m", name, *arguments]
        return run_in_foreground(Child(name, command, cwd=PROJECT, environment=dict(self.environ)))

    def run_beside_services(self, command: Sequence[str]) -> int:
        """Run a command with the running instance's environment, or with services started for it."""
        instance = Instance(self.folder)
        external = environment.external_urls(self.environ)
        if instance.is_locked():
            running = instance.described()
            if running is None:
                raise ServiceError(
                    f"The instance in {self.folder} is still starting or busy: try again when it is ready."
                )
            urls = {**{name: running[name] for name in URL_NAMES}, **external}
            port = urlsplit(running["BASE_URL"]).port or environment.DEFAULT_PORT
            return self._foreground(
                command, urls, instance.secrets(), port, os.environ.get("PATH", os.defpath)
            )
        place = find_place(self.folder)
        instance.lock()
        cluster = self._cluster(place, instance.secrets(), external)
        with Supervisor(cluster.children, self.announce).signals():
            try:
                urls = cluster.start()
                port = environment.number(self.environ, "IIOT_PORT", environment.DEFAULT_PORT)
                return self._foreground(command, urls, cluster.secrets, port, cluster.search_path())
            finally:
                cluster.stop()

    def _foreground(
        self,
        command: Sequence[str],
        urls: Mapping[str, str],
        secrets: Mapping[str, str],
        port: int,
        path: str,
    ) -> int:
        given = environment.application_environment(self.environ, urls, secrets, port)
        return run_in_foreground(
            Child(command[0], command, cwd=Path.cwd(), environment={**given, "PATH": path})
        )

    def _run_fresh(
        self,
        folder: Path,
        external: Mapping[str, str],
        command: Sequence[str],
        given: Callable[[Mapping[str, str], Mapping[str, str]], dict[str, str]],
        *,
        durable: bool,
    ) -> int:
        place = find_place(folder)
        instance = Instance(folder)
        instance.lock()
        clear(place)
        cluster = self._cluster(place, instance.secrets(), external, fresh=True, durable=durable)
        with Supervisor(cluster.children, self.announce).signals():
            try:
                urls = cluster.start()
                own = {**given(urls, cluster.secrets), "PATH": cluster.search_path()}
                return run_in_foreground(Child(command[0], command, cwd=PROJECT, environment=own))
            finally:
                cluster.stop()
                clear(place, keep_logs=True)


Command = Callable[[Stack, list[str]], int]


def application(name: str) -> Command:
    """Return what runs one command of the application beside the services."""
    return lambda stack, arguments: stack.run_beside_services([*stack.app, name, *arguments])


def module(name: str) -> Command:
    """Return what runs one module of the project beside the services."""
    return lambda stack, arguments: stack.run_beside_services([sys.executable, "-m", name, *arguments])


def measurement(name: str) -> Command:
    """Return what runs one module of the project on fresh services of its own."""
    return lambda stack, arguments: stack.run_measurement([sys.executable, "-m", name, *arguments])


COMMANDS: dict[str, Command] = {
    "serve": lambda stack, arguments: stack.run_platform(with_demo=False),
    "test": lambda stack, arguments: stack.run_tests(arguments),
    "exec": lambda stack, arguments: stack.run_beside_services(arguments),
    "check": application("check"),
    "migrate": application("migrate"),
    "create-admin": application("create-admin"),
    "create-reader": application("create-reader"),
    "grafana": lambda stack, arguments: stack.run_alone("tools.grafana", arguments),
    "seed": application("seed"),
    "demo": application("demo"),
    "replay": module("tools.replay"),
    "bench": measurement("benchmarks"),
    "chaos": lambda stack, arguments: stack.run_alone("tools.chaos", arguments),
    "fuzz": measurement("tools.fuzz"),
    "gate": lambda stack, arguments: stack.run_alone("tools.gate", arguments),
}


def run(stack: Stack, words: Sequence[str]) -> int:
    """Run what the words of the command line ask for; 2 for what nobody knows."""
    if not words:
        return stack.run_platform(with_demo=True)
    name, *arguments = words
    if name in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if name not in COMMANDS or (name == "serve" and arguments) or (name == "exec" and not arguments):
        print(f"Unknown command: {' '.join(words)}\n\n{HELP}", end="", file=sys.stderr)
        return 2
    return COMMANDS[name](stack, arguments)


def guarded(stack: Stack, words: Sequence[str]) -> int:
    """Run the words of the command line; what the user can put right becomes a sentence and exit code 1."""
    try:
        return run(stack, words)
    except (ServiceError, AlreadyRunning) as error:
        print(f"\n{error}" if stack.in_step else error, file=sys.stderr)
        return 1
    except (Interrupted, KeyboardInterrupt):
        print("\nInterrupted.", file=sys.stderr)
        return 130


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    words = sys.argv[1:]
    stack = Stack(os.environ)
    if words and words[0].startswith("--started="):
        stack.started = float(words.pop(0).partition("=")[2])
    return guarded(stack, words)


if __name__ == "__main__":
    sys.exit(main())
