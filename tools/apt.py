"""Debian packages without root: download with a private apt state, verify as apt does, unpack into a folder.

Nothing is installed, no service starts and nothing outside the folder changes.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

NETWORK_TIMEOUT_S = 20
COMMAND_TIMEOUT_S = 120


class AptError(Exception):
    """The packages could not be fetched; the message holds apt's last words."""


def names_to_fetch(print_uris: str) -> list[str]:
    """Return the package names in the output of `apt-get install --print-uris`."""
    return re.findall(r"^'[^']+' ([^_\s]+)_\S+\.deb ", print_uris, re.MULTILINE)


def unpack(packages: Sequence[str], folder: Path, *, with_dependencies: bool = True) -> Path:
    """Unpack `packages`, by default with what this system lacks of their dependencies, into `folder`.

    Raises:
        AptError: when this is no Debian-like system, or its packages cannot be reached.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise AptError("this system has no apt-get")
    downloads = folder.with_name(folder.name + ".download")
    for part in ("lists/partial", "cache/archives/partial", "debs"):
        (downloads / part).mkdir(parents=True, exist_ok=True)
    options = [
        "-qq",
        *("-o", f"Dir::State::Lists={downloads / 'lists'}"),
        *("-o", f"Dir::Cache={downloads / 'cache'}"),
        *("-o", "APT::Sandbox::User="),
        *("-o", "Acquire::Languages=none"),
        *("-o", "Acquire::Retries=0"),
        *("-o", f"Acquire::http::Timeout={NETWORK_TIMEOUT_S}"),
        *("-o", f"Acquire::https::Timeout={NETWORK_TIMEOUT_S}"),
    ]
    try:
        # One broken third-party source makes `update` fail although the distribution's own lists arrived:
        # the next command is the judge.
        _run(["apt-get", *options, "update"], downloads, accept_failure=True)
        names = list(packages)
        if with_dependencies:
            install = ["install", "--print-uris", "-y", "--no-install-recommends"]
            names = names_to_fetch(_run(["apt-get", *options, *install, *packages], downloads))
        if not names:
            raise AptError(f"apt offers no {' '.join(packages)}")
        _run(["apt-get", *options, "download", *names], downloads / "debs")
        unfinished = folder.with_name(folder.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        for deb in sorted((downloads / "debs").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(deb), str(unfinished)], downloads)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _run(argv: Sequence[str], folder: Path, *, accept_failure: bool = False) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise AptError(f"{argv[0]} took longer than {COMMAND_TIMEOUT_S} s") from error
    if done.returncode != 0 and not accept_failure:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AptError(f"{argv[0]}: {last}")
    return done.stdout
