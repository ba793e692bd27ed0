"""Front-end packages: pinned, verified, from npm's configured registry, only the wanted files."""

import base64
import hashlib
import http.server
import io
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import frontend
from tools.frontend import FrontendError, Package


def tarball(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


CHART = tarball(
    {
        "package/dist/chart.esm.js": "export default 1",
        "package/dist/chart.umd.js": "var chart",
        "package/LICENSE": "MIT",
        "package/../../escape.js": "bad",
    }
)
CHART_DIGEST = "sha512-" + base64.b64encode(hashlib.sha512(CHART).digest()).decode()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A registry on loopback that knows one package; yields the paths that it was asked for."""
    asked: list[str] = []

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = self.path == "/npm/chart/-/chart-1.2.3.tgz"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(CHART if found else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/npm")
    monkeypatch.setenv("no_proxy", "*")
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def console(folder: Path, *, version: str = "1.2.3", digest: str = CHART_DIGEST) -> Path:
    manifest = {"dependencies": {"chart": version}, "vendorFiles": {"chart": ["dist/chart.esm.js"]}}
    locked = {
        "lockfileVersion": 3,
        "packages": {"node_modules/chart": {"version": version, "integrity": digest}},
    }
    (folder / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "package-lock.json").write_text(json.dumps(locked), encoding="utf-8")
    return folder


def test_the_wanted_files_are_fetched_once(tmp_path: Path, registry: list[str]) -> None:
    folder = console(tmp_path)
    assert frontend.is_stale(folder)
    seen: list[str] = []
    frontend.fetch(folder, on_package=seen.append)
    assert seen == ["chart"]
    assert registry == ["/npm/chart/-/chart-1.2.3.tgz"]
    assert not frontend.is_stale(folder)
    placed = {
        str(path.relative_to(folder / "vendor")) for path in folder.glob("vendor/**/*") if path.is_file()
    }
    assert placed == {".stamp", "chart/dist/chart.esm.js", "chart/LICENSE"}
    console(folder, version="1.2.4")
    assert frontend.is_stale(folder)


def test_a_package_with_another_digest_is_refused_and_nothing_is_replaced(
    tmp_path: Path, registry: list[str]
) -> None:
    frontend.fetch(console(tmp_path), on_package=lambda name: None)
    with pytest.raises(FrontendError, match="digest"):
        frontend.fetch(console(tmp_path, digest="sha512-AAAA"), on_package=lambda name: None)
    assert (tmp_path / "vendor/chart/dist/chart.esm.js").exists()


def test_an_unknown_version_says_how_to_name_another_registry(tmp_path: Path, registry: list[str]) -> None:
    with pytest.raises(FrontendError, match="npm_config_registry"):
        frontend.fetch(console(tmp_path, version="9.9.9"), on_package=lambda name: None)


def test_without_a_lock_file_there_is_nothing_to_fetch(tmp_path: Path) -> None:
    assert not frontend.is_stale(tmp_path)


def test_a_package_without_a_pinned_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrontendError, match="pins no sha512"):
        frontend.locked_packages(console(tmp_path, digest="sha1-AAAA"))


def test_a_missing_file_in_a_package_is_named(tmp_path: Path) -> None:
    package = Package("chart", "1.2.3", CHART_DIGEST, ("dist/gone.js",))
    with pytest.raises(FrontendError, match=r"dist/gone\.js"):
        frontend.unpack(CHART, package, tmp_path / "chart")
    assert not (tmp_path / "escape.js").exists()


def test_the_registry_is_found_where_npm_finds_it(tmp_path: Path) -> None:
    npmrc = tmp_path / ".npmrc"
    npmrc.write_text(
        "nodedir=/usr\n//mirror.example/:x=1\nregistry=https://mirror.example/npm\n", encoding="utf-8"
    )
    nowhere = {"PATH": str(tmp_path)}
    scratch = tmp_path / "npm"
    assert frontend.registry(nowhere, [npmrc], scratch) == "https://mirror.example/npm/"
    chosen = {**nowhere, "npm_config_registry": "https://a.example"}
    assert frontend.registry(chosen, [npmrc], scratch) == "https://a.example/"


@pytest.mark.services
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="the distribution's npm is read through apt")
def test_without_npm_the_registry_is_the_one_that_npm_would_use(tmp_path: Path) -> None:
    address = frontend.registry({"PATH": str(tmp_path)}, [], tmp_path / "npm")
    assert re.fullmatch(r"https://[a-z.]+/", address)
    assert not (tmp_path / "npm").exists()


def test_without_npm_and_apt_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FrontendError, match="npm_config_registry"):
        frontend.registry({"PATH": str(tmp_path)}, [], tmp_path / "npm")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("chart", "https://m.example/chart/-/chart-1.0.0.tgz"),
        ("@scope/part", "https://m.example/@scope/part/-/part-1.0.0.tgz"),
    ],
)
def test_a_tarball_comes_from_the_registry(name: str, url: str) -> None:
    assert frontend.tarball_url(Package(name, "1.0.0", "", ()), "https://m.example/") == url


def test_only_http_is_fetched() -> None:
    with pytest.raises(FrontendError, match="neither http nor https"):
        frontend.download("file:///etc/passwd")
