"""Finding Chromium: the system's own first, else the unpacked one with its libraries."""

from __future__ import annotations

import os
from pathlib import Path

from tools.browser import Browser, installed_browser, unpacked_browser


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="ascii")
    path.chmod(0o755)
    return path


def test_the_browser_of_the_system_comes_first(tmp_path: Path) -> None:
    program = _program(tmp_path / "google-chrome")
    assert installed_browser(str(tmp_path)) == Browser(program)
    assert installed_browser(str(tmp_path / "empty")) is None


def test_an_unpacked_browser_finds_the_libraries_beside_it(tmp_path: Path) -> None:
    assert unpacked_browser(tmp_path) is None
    program = _program(tmp_path / "usr/lib/chromium/chromium")
    folder = tmp_path / "usr/lib/x86_64-linux-gnu"
    (folder / "deeper").mkdir(parents=True)
    (folder / "libone.so.1").touch()
    (folder / "deeper" / "libtwo.so").touch()
    found = unpacked_browser(tmp_path)
    assert found == Browser(program, (folder, folder / "deeper"))
    assert found.environment()["LD_LIBRARY_PATH"] == os.pathsep.join([str(folder), str(folder / "deeper")])
