"""Where an instance keeps its data and as whom its services run.

An ordinary user: everything in the instance's folder, as that user. Root: PostgreSQL refuses to run, so
services run as a system user; where that user cannot reach the project (a 0700 home) the data and a copy of
the programs go to `/var/lib/insa-iiot`. The modes of folders above are never changed.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.services.child import Account, ServiceError

STATE = Path("/var/lib/insa-iiot")
ACCOUNT_NAME = "insa-iiot"
POINTER = "data-location"
DATA_FOLDERS = ("pg", "pg.new", "redis", "mqtt")


def account_named(name: str) -> Account | None:
    """Return the account with that name, if the system has it."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def service_account(folder: Path) -> Account | None:
    """Return as whom services run: None for the current user, else a system user (made once).

    Root continues data that an ordinary user owns as that user.

    Raises:
        ServiceError: when the current user has no name, which PostgreSQL refuses.
    """
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise ServiceError(
                f"User id {os.geteuid()} has no entry in the user database, which PostgreSQL needs. "
                "Remedy: start as a named user, or set DATABASE_URL to a PostgreSQL of your own."
            ) from error
        return None
    try:
        owner = pwd.getpwuid((folder / "pg").stat().st_uid)
        if owner.pw_uid != 0:
            return Account(owner.pw_name, owner.pw_uid, owner.pw_gid)
    except (OSError, KeyError):
        pass
    found = account_named(ACCOUNT_NAME)
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin")
    if found is None and useradd:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", str(STATE)]
        subprocess.run(
            [*command, "--shell", "/usr/sbin/nologin", ACCOUNT_NAME], capture_output=True, check=False
        )
        found = account_named(ACCOUNT_NAME)
    found = found or account_named("nobody")
    if found is None:
        raise ServiceError(
            f"Root needs a system user for the services. Remedy: add one named {ACCOUNT_NAME}."
        )
    return found


def can_use(account: Account | None, path: Path) -> bool:
    """Tell whether the account can reach, read and execute `path`; the kernel is asked, nothing computed."""
    if account is None:
        return os.access(path, os.R_OK | os.X_OK)
    asked = subprocess.run(
        ["/usr/bin/test", "-r", str(path), "-a", "-x", str(path)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return asked.returncode == 0


@dataclass(frozen=True, slots=True)
class Place:
    """One instance: `folder` is what the user sees (`var`), `data` where the services write."""

    folder: Path
    data: Path
    account: Account | None

    def private_folder(self, name: str) -> Path:
        """Return a 0700 folder inside `data` that belongs to the services' user."""
        path = self.data / name
        path.mkdir(mode=0o700, exist_ok=True)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make the services' user the owner of `path`."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def write(self, path: Path, text: str) -> None:
        """Write a file that only the services' user can read."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(text)
        self.give(path)

    def programs(self, sources: Sequence[Path]) -> list[Path]:
        """Return `sources` (siblings) where the services' user can execute them, copied if need be."""
        if all(can_use(self.account, source) for source in sources):
            return list(sources)
        label = hashlib.sha256()
        for source in sources:
            label.update(f"{source} {source.stat().st_mtime_ns}".encode())
        home = STATE / "programs" / label.hexdigest()[:16]
        if not home.exists():
            unfinished = home.with_name(f"{home.name}.{os.getpid()}")
            _make_public(unfinished)
            for source in sources:
                if source.is_dir():
                    shutil.copytree(source, unfinished / source.name, symlinks=True)
                else:
                    shutil.copy2(source, unfinished / source.name)
            for copied in unfinished.rglob("*"):
                if not copied.is_symlink():
                    copied.chmod(copied.stat().st_mode | (0o555 if copied.stat().st_mode & 0o100 else 0o444))
            (unfinished / "origin").write_text(str(sources[0]), encoding="utf-8")
            for outdated in home.parent.glob("*/origin"):
                if outdated.parent != unfinished and outdated.read_text(encoding="utf-8") == str(sources[0]):
                    shutil.rmtree(outdated.parent)
            unfinished.rename(home)
        return [home / source.name for source in sources]


def find_place(folder: Path) -> Place:
    """Return the place of the instance in `folder`, making what is missing."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ServiceError(
            f"{folder} is not writable for you: an instance belongs to the user who started it first. "
            "Remedy: start as that user, or name another folder with VAR_DIR."
        )
    account = service_account(folder)
    if account is None or can_use(account, folder):
        return Place(folder, folder, account)
    return Place(folder, _state_folder(folder), account)


def clear(place: Place, *, keep_logs: bool = False) -> None:
    """Delete an instance's data and logs (for instances that start afresh each time)."""
    for name in DATA_FOLDERS if keep_logs else (*DATA_FOLDERS, "log"):
        for parent in {place.data, place.folder}:
            shutil.rmtree(parent / name, ignore_errors=True)


def _state_folder(folder: Path) -> Path:
    pointer = folder / POINTER
    if pointer.exists():
        data = Path(pointer.read_text(encoding="utf-8"))
    else:
        # The folder was deleted and made again: what its predecessor left can have no reader any more.
        for origin in (STATE / "data").glob("*/origin"):
            if origin.read_text(encoding="utf-8") == str(folder):
                shutil.rmtree(origin.parent)
        data = STATE / "data" / uuid.uuid4().hex[:16]
    if not data.exists():
        _make_public(data)
        (data / "origin").write_text(str(folder), encoding="utf-8")
        pointer.write_text(str(data), encoding="utf-8")
    return data


def _make_public(folder: Path) -> None:
    for part in (STATE, folder.parent, folder):
        part.mkdir(exist_ok=True)
        part.chmod(0o755)
