"""Chromium for the tests: from PATH, else unpacked without root from the distribution's packages."""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import apt

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
REMEDY = (
    "Remedy: install Chromium so that it is found in PATH, or leave the browser's tests out with "
    "`./run test --no-browser`."
)


class BrowserError(Exception):
    """There is no browser here; the message holds the remedy."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A runnable Chromium and the folders of libraries that were unpacked with it, if any."""

    path: Path
    libraries: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the environment to run it in."""
        if not self.libraries:
            return dict(os.environ)
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, self.libraries))}


def installed_browser(search: str | None = None) -> Browser | None:
    """Return a Chromium of this system."""
    found = next((path for name in NAMES if (path := shutil.which(name, path=search))), None)
    return Browser(Path(found)) if found else None


def unpacked_browser(folder: Path) -> Browser | None:
    """Return the Chromium that was unpacked into `folder` earlier."""
    path = folder / "usr" / "lib" / "chromium" / "chromium"
    if not path.exists():
        return None
    libraries = {library.parent for library in folder.glob("usr/lib/*-linux-*/**/*.so*")}
    return Browser(path, tuple(sorted(libraries)))


def find_browser(vendor: Path, announce: Callable[[str], object]) -> Browser:
    """Return a Chromium, fetching it the first time; parallel callers wait for the one that fetches.

    Raises:
        BrowserError: this system has none and none can be fetched.
    """
    found = installed_browser()
    if found is not None:
        return found
    vendor.mkdir(parents=True, exist_ok=True)
    folder = vendor / "chromium"
    handle = os.open(vendor / "chromium.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if unpacked_browser(folder) is None:
            announce("Fetching Chromium from the distribution's packages (nothing is installed)")
            apt.unpack(["chromium"], folder)
    except apt.AptError as error:
        raise BrowserError(f"There is no Chromium here ({error}). {REMEDY}") from error
    finally:
        os.close(handle)
    found = unpacked_browser(folder)
    if found is None:
        raise BrowserError(f"The distribution's Chromium is not where it should be. {REMEDY}")
    return found
