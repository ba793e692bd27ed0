"""How this machine reaches its package index: certificates it trusts and the index that pip is set to use.

uv and the pip inside a wheel know neither the system's certificates nor pip's configuration by themselves.
"""

import configparser
from collections.abc import Mapping, Sequence
from pathlib import Path

SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
PIP_FILES = (Path("~/.config/pip/pip.conf"), Path("~/.pip/pip.conf"), Path("/etc/pip.conf"))


def system_bundle(candidates: Sequence[Path] = SYSTEM_BUNDLES) -> Path | None:
    """Return the file with the certificates that this system trusts, if it has one."""
    return next((path for path in candidates if path.exists()), None)


def unpacked_bundle(packages: Path, target: Path) -> Path | None:
    """Write `target` from an unpacked ca-certificates package, for a system that has no certificates."""
    certificates = sorted(packages.glob("usr/share/ca-certificates/mozilla/*.crt"))
    if not certificates:
        return None
    target.write_bytes(b"".join(certificate.read_bytes() for certificate in certificates))
    return target


def configured_index(environ: Mapping[str, str], files: Sequence[Path] = PIP_FILES) -> str | None:
    """Return the index that pip is set to use, None for its default."""
    if environ.get("PIP_INDEX_URL"):
        return environ["PIP_INDEX_URL"]
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(path.expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, RuntimeError, configparser.Error):
            continue
        index = parser.get("global", "index-url", fallback=None)
        if index:
            return index
    return None


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what installers are told beyond `environ`; what the user set himself stays."""
    told = {"UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    bundle = system_bundle()
    if bundle is not None:
        told |= {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", "PIP_CERT": str(bundle)}
    index = configured_index(environ)
    if index is not None and not {"UV_INDEX_URL", "UV_DEFAULT_INDEX"} & environ.keys():
        told["UV_DEFAULT_INDEX"] = index
    return {name: value for name, value in told.items() if name not in environ}
