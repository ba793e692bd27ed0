"""Fetches the console's front-end packages without Node: pinned by npm's lock file, verified, unpacked.

`console/package-lock.json` (lockfileVersion 3) pins versions and sha512 digests. `console/package.json` says
which files the browser needs, `"vendorFiles": {"<package>": ["<file or pattern>", ...]}`; without that key
the `dist` folder of every direct dependency. They land in `console/vendor/<package>/`, beside a stamp.
"""

import base64
import configparser
import fnmatch
import hashlib
import hmac
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tools import apt

DOWNLOAD_TIMEOUT_S = 30
MAX_TARBALL_BYTES = 64 * 1024 * 1024
STAMP = ".stamp"
_DEFAULT_REGISTRY = re.compile(r"registry:\s*'(https://[^']+)'")


class FrontendError(Exception):
    """A front-end package could not be fetched or is not the pinned one; the message holds the remedy."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package to fetch: `files` are names or patterns inside its tarball."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]


def locked_packages(console: Path) -> list[Package]:
    """Return the packages that the browser needs, as the lock file pins them.

    Raises:
        FrontendError: when a needed package or its digest is missing from the lock file.
    """
    manifest = json.loads((console / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((console / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    wanted: Mapping[str, Sequence[str]] = manifest.get("vendorFiles") or dict.fromkeys(
        manifest.get("dependencies", {}), ("dist/*",)
    )
    packages = []
    for name, files in sorted(wanted.items()):
        entry = locked.get(f"node_modules/{name}")
        if entry is None or not str(entry.get("integrity", "")).startswith("sha512-"):
            raise FrontendError(
                f"console/package-lock.json pins no sha512 digest for {name}: run `npm install` there."
            )
        packages.append(Package(name, entry["version"], entry["integrity"], tuple(files)))
    return packages


def is_stale(console: Path) -> bool:
    """Tell whether `console/vendor` is missing or was fetched for other pins."""
    if not (console / "package-lock.json").exists():
        return False
    try:
        return (console / "vendor" / STAMP).read_text(encoding="ascii") != stamp_text(console)
    except OSError:
        return True


def stamp_text(console: Path) -> str:
    """Return the stamp of today's manifest and lock file."""
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((console / name).read_bytes())
    return digest.hexdigest()


def registry(environ: Mapping[str, str], config_files: Sequence[Path], scratch: Path) -> str:
    """Return npm's registry, ending in a slash: from the environment, npmrc files, npm, or npm's own default.

    Without npm on this machine its default is read from the distribution's package of npm, which is
    unpacked into `scratch`; nothing is installed.

    Raises:
        FrontendError: when none of them tells.
    """
    found = environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY")
    for path in config_files:
        if not found:
            found = _registry_in(path)
    npm = shutil.which("npm", path=environ.get("PATH"))
    if not found and npm:
        asked = subprocess.run(
            [npm, "config", "get", "registry"], capture_output=True, text=True, check=False
        )
        answer = asked.stdout.strip()
        found = answer if answer.startswith(("http://", "https://")) else None
    return (found or _default_of_npm(scratch)).rstrip("/") + "/"


def _default_of_npm(scratch: Path) -> str:
    try:
        unpacked = apt.unpack(["npm"], scratch, with_dependencies=False)
    except apt.AptError as error:
        raise FrontendError(
            f"npm's registry is not known here ({error}): set npm_config_registry to its address."
        ) from error
    try:
        for options in unpacked.glob("**/npm-registry-fetch/lib/default-opts.js"):
            if match := _DEFAULT_REGISTRY.search(options.read_text(encoding="utf-8")):
                return match[1]
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    raise FrontendError("npm does not tell its registry: set npm_config_registry to its address.")


def _registry_in(path: Path) -> str | None:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    try:
        parser.read_string("[npmrc]\n" + path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return None
    value = parser.get("npmrc", "registry", fallback=None)
    return value.strip().strip("\"'") if value else None


def npmrc_files(console: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return where npm looks for its settings, the nearest first."""
    home = Path(environ.get("HOME") or "~").expanduser()
    user = Path(environ["NPM_CONFIG_USERCONFIG"]) if environ.get("NPM_CONFIG_USERCONFIG") else home / ".npmrc"
    return [console / ".npmrc", user, Path("/etc/npmrc")]


def tarball_url(package: Package, registry_url: str) -> str:
    """Return where the tarball lies in a registry."""
    bare = package.name.rpartition("/")[2]
    return f"{registry_url}{urllib.parse.quote(package.name, safe='@/')}/-/{bare}-{package.version}.tgz"


def verified(tarball: bytes, package: Package) -> bytes:
    """Return the tarball when its sha512 digest is the pinned one.

    Raises:
        FrontendError: when it is not.
    """
    actual = b"sha512-" + base64.b64encode(hashlib.sha512(tarball).digest())
    pinned = package.integrity.split()
    if not any(hmac.compare_digest(actual, digest.encode()) for digest in pinned):
        raise FrontendError(
            f"{package.name} {package.version} does not have the digest that the lock file pins."
        )
    return tarball


def unpack(tarball: bytes, package: Package, folder: Path) -> None:
    """Write the wanted files, and the licence, of one tarball into `folder`.

    Raises:
        FrontendError: when a wanted file is not in it.
    """
    missing = set(package.files)
    with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive:
        for member in archive:
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])  # npm puts all under one folder
            if not member.isfile() or ".." in inside.parts or inside.is_absolute():
                continue
            matching = {pattern for pattern in package.files if fnmatch.fnmatch(str(inside), pattern)}
            if not matching and not inside.name.upper().startswith("LICEN"):
                continue
            missing -= matching
            content = archive.extractfile(member)
            if content is not None:
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    if missing:
        raise FrontendError(f"{package.name} {package.version} has no {', '.join(sorted(missing))}.")


def download(url: str, certificates: Path | None = None) -> bytes:
    """Return what `url` answers; the proxies and certificates of the environment are honoured.

    Args:
        url: Where to fetch from.
        certificates: A file of trusted certificates, for a system that has none of its own.

    Raises:
        FrontendError: when it cannot be reached or is too large.
    """
    if not url.startswith(("https://", "http://")):
        raise FrontendError(f"Refused to fetch {url}: neither http nor https.")
    trust = ssl.create_default_context()
    if certificates is not None:
        trust.load_verify_locations(certificates)
    try:
        with urllib.request.urlopen(  # noqa: S310 - the scheme is checked above
            url, timeout=DOWNLOAD_TIMEOUT_S, context=trust
        ) as response:
            body: bytes = response.read(MAX_TARBALL_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise FrontendError(
            f"Cannot fetch {url} ({error}). Remedy: check the network, or name your registry with "
            "`npm_config_registry=https://... ./run` or in ~/.npmrc."
        ) from error
    if len(body) > MAX_TARBALL_BYTES:
        raise FrontendError(f"{url} is larger than {MAX_TARBALL_BYTES} bytes.")
    return body


def fetch(console: Path, *, on_package: Callable[[str], object], certificates: Path | None = None) -> None:
    """Fill `console/vendor` anew; `on_package` hears the name of each package that is in place.

    Raises:
        FrontendError: when a package cannot be fetched, is not the pinned one, or lacks a wanted file.
    """
    registry_url = registry(os.environ, npmrc_files(console, os.environ), console / "npm.new")
    unfinished = console / "vendor.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    for package in locked_packages(console):
        tarball = verified(download(tarball_url(package, registry_url), certificates), package)
        unpack(tarball, package, unfinished / package.name)
        on_package(package.name)
    unfinished.mkdir(exist_ok=True)
    (unfinished / STAMP).write_text(stamp_text(console), encoding="ascii")
    shutil.rmtree(console / "vendor", ignore_errors=True)
    unfinished.rename(console / "vendor")
