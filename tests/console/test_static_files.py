"""The live page's files: pinned packages, closed imports, full catalogues, nothing from elsewhere."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

CONSOLE = Path(__file__).parents[2] / "console"
SERVED = sorted(
    path
    for path in CONSOLE.rglob("*")
    if path.suffix in {".html", ".css", ".js", ".svg"}
    and not {"vendor", "node_modules"} & set(path.relative_to(CONSOLE).parts)
)
SCRIPTS = [path for path in SERVED if path.suffix == ".js"]
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def _name(path: Path) -> str:
    return path.relative_to(CONSOLE).as_posix()


def _json(name: str) -> Any:
    return json.loads((CONSOLE / name).read_text(encoding="utf-8"))


def _vendor_files() -> set[str]:
    listed: dict[str, list[str]] = _json("package.json")["vendorFiles"]
    return {f"vendor/{package}/{file}" for package, files in listed.items() for file in files}


def _catalogue(language: str) -> dict[str, str]:
    text = (CONSOLE / "i18n" / f"{language}.js").read_text(encoding="utf-8")
    entries = re.findall(r'^  "([\w.]+)": "(.*)",$', text, re.MULTILINE)
    assert len(entries) == text.count("\n") - 2, "each line between the braces is one entry"
    return dict(entries)


def test_every_locked_package_has_an_integrity_and_no_download_address() -> None:
    lock = _json("package-lock.json")
    assert lock["lockfileVersion"] == 3
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert packages
    for path, package in packages.items():
        assert package["integrity"].startswith("sha512-"), path
        assert "resolved" not in package, path


def test_the_lock_pins_the_packages_whose_files_are_taken() -> None:
    manifest, lock = _json("package.json"), _json("package-lock.json")
    assert lock["packages"][""]["dependencies"] == manifest["dependencies"]
    assert manifest["vendorFiles"].keys() == manifest["dependencies"].keys()
    for package, version in manifest["dependencies"].items():
        assert lock["packages"][f"node_modules/{package}"]["version"] == version


def test_every_vendor_file_stays_inside_its_package() -> None:
    for file in _vendor_files():
        assert ".." not in PurePosixPath(file).parts


@pytest.mark.parametrize("script", SCRIPTS, ids=_name)
def test_every_import_is_a_file_of_the_console_or_a_vendor_file(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for target in re.findall(r'^(?:import|export) [^;]*?from "([^"]+)";', text, re.MULTILINE):
        assert target.startswith("."), f"{target}: a bare name needs an import map, an inline script"
        path = (script.parent / target).resolve().relative_to(CONSOLE.resolve()).as_posix()
        assert path in _vendor_files() or (CONSOLE / path).is_file(), target


@pytest.mark.parametrize("file", SERVED, ids=_name)
def test_no_file_refers_to_another_host(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace(SVG_NAMESPACE, "")
    assert not re.findall(r"(?:https?:|wss?:|[\"'(])//[\w.]+", text)


def test_the_page_has_no_inline_script_or_style() -> None:
    page = (CONSOLE / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", page)
    for target in re.findall(r'(?:src|href)="console/([^"]+)"', page):
        assert target in _vendor_files() or (CONSOLE / target).is_file(), target


def test_all_languages_have_the_same_texts_with_the_same_places() -> None:
    english, german = _catalogue("en"), _catalogue("de")
    assert english.keys() == german.keys()
    for key, text in english.items():
        assert text
        assert german[key]
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", german[key])), key


def test_every_text_asked_for_is_in_the_catalogue_and_every_text_is_asked_for() -> None:
    keys = _catalogue("en").keys()
    code = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.parent.name != "i18n")
    asked_for = set(re.findall(r'\bt\("([\w.]+)"', code))
    assert asked_for <= keys
    quoted = asked_for | set(re.findall(r'"(\w+\.\w+)"', code))
    prefixes = tuple(re.findall(r"\bt\(`(\w+\.)\$\{", code))
    assert {key for key in keys if key not in quoted and not key.startswith(prefixes)} == set()
