"""Set-up behind `./run`: makes `.venv` from the hashed locks, fetches the console's packages, hands over.

Standard library only: it runs before anything is installed, on a Python without pip, ensurepip, make or curl.
A stamp in `.venv` makes every later start skip the whole set-up.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import apt, frontend, package_index
from tools.steps import Steps

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
LOCKS = (PROJECT / "requirements.txt", PROJECT / "requirements-dev.txt")
STAMP = "iiot-stamp"


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def stamp_text(locks: Sequence[Path], python_version: str, folder: Path) -> str:
    """Return what the stamp holds when `.venv` fits these lock files, this Python and this folder."""
    digest = hashlib.sha256()
    for lock in locks:
        digest.update(lock.read_bytes())
    digest.update(f"{python_version} {platform.machine()} {folder}".encode())
    return digest.hexdigest()


def locked_names(text: str) -> list[str]:
    """Return the names of the packages that a lock file pins."""
    return re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", text, re.MULTILINE)


def locked_entry(text: str, name: str) -> str:
    """Return the lock file's entry (version and hashes) of one package."""
    found = re.search(rf"^{re.escape(name)}==.*(?:\n[ \t]+--hash=.*)+", text, re.MULTILINE)
    if found is None:
        raise SetupError(f"{name} is missing from the lock files: run `make lock`.")
    return found.group(0) + "\n"


def venv_python() -> Path:
    """Return the Python of the project's virtual environment."""
    return VENV / "bin" / "python"


def venv_is_current() -> bool:
    """Tell whether `.venv` was completed from today's lock files with this Python."""
    stamp = VENV / STAMP
    try:
        return (
            stamp.read_text(encoding="ascii") == stamp_text(LOCKS, platform.python_version(), PROJECT)
            and venv_python().exists()
        )
    except OSError:
        return False


def run(argv: Sequence[str | Path], *, what: str) -> None:
    """Run one installation command quietly; its last lines become the error when it fails."""
    done = subprocess.run(
        [str(part) for part in argv],
        env={**os.environ, **package_index.installer_environment(os.environ)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-12:])
        raise SetupError(f"{what} failed:\n{tail}")


def working_uv() -> str | None:
    """Return the uv on PATH when it really runs (a version manager's shim may not)."""
    uv = shutil.which("uv")
    if uv is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if subprocess.run([uv, "--version"], capture_output=True, check=False, timeout=20).returncode == 0:
            return uv
    return None


def make_venv() -> None:
    """Make an empty `.venv`; pip is not needed in it, so neither is ensurepip on the host."""
    shutil.rmtree(VENV, ignore_errors=True)
    run([sys.executable, "-m", "venv", "--without-pip", VENV], what="Making the virtual environment .venv")


def pip_command() -> list[str]:
    """Return a pip that can install into `.venv`: the host's, ensurepip's wheel, or Debian's wheel by apt."""
    probe = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, check=False
    )
    version = re.match(r"pip (\d+)\.(\d+)", probe.stdout)
    if probe.returncode == 0 and version and (int(version[1]), int(version[2])) >= (22, 3):
        return [sys.executable, "-m", "pip", "--python", str(venv_python())]
    wheel_folders = [
        Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled",
        Path("/usr/share/python-wheels"),
    ]
    for folder in wheel_folders:
        for wheel in sorted(folder.glob("pip-*.whl"), reverse=True):
            return [str(venv_python()), f"{wheel}/pip"]
    try:
        unpacked = apt.unpack(["python3-pip-whl"], VENV / "pip-from-apt")
    except apt.AptError as error:
        raise SetupError(
            f"This Python has neither pip nor ensurepip, and fetching pip with apt-get failed ({error}). "
            "Remedy: install the package python3-venv, or uv."
        ) from error
    if package_index.system_bundle() is None:
        bundle = package_index.unpacked_bundle(unpacked, VENV / "certificates.pem")
        os.environ.setdefault("PIP_CERT", str(bundle or ""))
    wheel = next(unpacked.glob("usr/share/python-wheels/pip-*.whl"))
    return [str(venv_python()), f"{wheel}/pip"]


def installed_count() -> int:
    """Return how many packages `.venv` holds already."""
    return sum(1 for _ in VENV.glob("lib/python*/site-packages/*.dist-info"))


def install_packages(uv: str | None) -> None:
    """Install exactly the locked packages into `.venv`, with uv where possible, else with pip."""
    locks = [argument for lock in LOCKS for argument in ("-r", str(lock))]
    pip: list[str] | None = None
    if uv is None:
        pip = pip_command()
        entry = VENV / "uv-lock.txt"
        entry.write_text(locked_entry(LOCKS[1].read_text(encoding="utf-8"), "uv"), encoding="utf-8")
        with contextlib.suppress(SetupError):  # no uv for this machine: pip below does the same, slower
            run([*pip, "install", "--no-deps", "--require-hashes", "-r", entry], what="Installing uv")
            uv = str(VENV / "bin" / "uv")
    if uv is not None:
        sync: list[str | Path] = [uv, "pip", "sync", "--require-hashes", "--python", venv_python(), *LOCKS]
        try:
            run(sync, what="Installing the packages with uv")
            return
        except SetupError as error:
            print(f"\n{error}\n  Trying pip instead.", file=sys.stderr)
    pip = pip if pip is not None else pip_command()
    try:
        run(
            [*pip, "install", "--no-deps", "--require-hashes", *locks],
            what="Installing the packages with pip",
        )
    except SetupError as error:
        raise SetupError(
            f"{error}\n  Remedy: check that this machine reaches its Python package index "
            "(PIP_INDEX_URL and UV_INDEX_URL are honoured), then start again."
        ) from error


def set_up(steps: Steps) -> None:
    """Make `.venv` current.

    Raises:
        SetupError: with one sentence about the cause and the remedy.
    """
    uv = working_uv()
    names = {name for lock in LOCKS for name in locked_names(lock.read_text(encoding="utf-8"))}
    with steps.step(f"Virtual environment .venv (Python {platform.python_version()}, {sys.executable})"):
        make_venv()
    with steps.step(
        f"{len(names)} locked packages with {'uv' if uv else 'pip and uv'}",
        progress=lambda: f"{installed_count()} installed",
    ):
        install_packages(uv)
    (VENV / STAMP).write_text(stamp_text(LOCKS, platform.python_version(), PROJECT), encoding="ascii")


def fetch_console(steps: Steps) -> None:
    """Fetch the console's front-end packages.

    Raises:
        SetupError: with one sentence about the cause and the remedy.
    """
    console = PROJECT / "console"
    certificates = None
    if package_index.system_bundle() is None:
        certificates = next(VENV.glob("lib/python*/site-packages/certifi/cacert.pem"), None)
    try:
        count = len(frontend.locked_packages(console))
        fetched: list[str] = []
        with steps.step(f"{count} front-end packages", progress=lambda: f"{len(fetched)} of {count}"):
            frontend.fetch(console, on_package=fetched.append, certificates=certificates)
    except frontend.FrontendError as error:
        raise SetupError(str(error)) from error


@contextlib.contextmanager
def only_one_set_up() -> Iterator[None]:
    """Hold the project folder's lock, so that two first starts do not build `.venv` at the same time."""
    handle = os.open(PROJECT, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def prepare() -> None:
    """Do whatever part of the set-up is still missing, and say how long it took."""
    started = time.monotonic()
    with only_one_set_up():
        missing_packages = not venv_is_current()
        missing_console = frontend.is_stale(PROJECT / "console")
        if not (missing_packages or missing_console):
            return
        print("Set-up (only when something is missing; later starts skip it)", file=sys.stderr)
        steps = Steps(2 * missing_packages + missing_console)
        if missing_packages:
            set_up(steps)
        if missing_console:
            fetch_console(steps)
        print(f"Set-up took {time.monotonic() - started:.1f} s.", file=sys.stderr)


def main() -> None:
    """Set up what is missing and become `python -m tools.stack` in the virtual environment."""
    started = time.monotonic()
    try:
        prepare()
    except SetupError as error:
        print(f"Set-up stopped. {error}", file=sys.stderr)
        sys.exit(1)
    except PermissionError as error:
        print(
            f"Set-up stopped: {error}. Remedy: start as the user who owns this folder, or use your own copy.",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nSet-up interrupted; the next start begins it again.", file=sys.stderr)
        sys.exit(130)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "VIRTUAL_ENV": str(VENV)}
    python = str(venv_python())
    os.execve(  # noqa: S606  # nosec B606
        python, [python, "-P", "-m", "tools.stack", f"--started={started}", *sys.argv[1:]], environment
    )


if __name__ == "__main__":
    main()
