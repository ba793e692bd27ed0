"""The documentation, checked against what it speaks of: links, files, commands and settings.

Everything here works on text and a folder, so that the checks can be tried on planted mistakes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|sql|md|toml|ini|yml|yaml|conf|txt|js|html|sh|example)")
_VARIABLE = re.compile(r"^#? ?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
# Made at run time, so never in a clone.
_GENERATED = ("var/", ".venv/", "htmlcov/")


def documents(root: Path) -> list[Path]:
    """Return the documents that users and contributors read."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def broken_links(document: Path, root: Path) -> Iterator[str]:
    """Yield relative links to files or headings that do not exist."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        target = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:|/", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        if not file.exists() or not file.is_relative_to(root.resolve()):
            yield f"{document.relative_to(root)}: {target} does not exist"
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file):
            yield f"{document.relative_to(root)}: {target} names no heading"


def missing_files(document: Path, root: Path) -> Iterator[str]:
    """Yield file names in inline code that are found neither below the root nor beside the document."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for match in _INLINE_CODE.finditer(text):
        name = match[1].removeprefix("./")
        if not _FILE.fullmatch(name) or name.startswith(_GENERATED) or "NNNN" in name:
            continue
        if not (root / name).exists() and not (document.parent / name).exists():
            yield f"{document.relative_to(root)}: {name} does not exist"


def fenced_commands(document: Path) -> Iterator[list[str]]:
    """Yield the words of every command line inside code fences, without prompt and variables."""
    for fence in _FENCE.findall(document.read_text(encoding="utf-8")):
        for line in fence.splitlines()[1:-1]:
            words = line.split("#")[0].split()
            while words and (words[0] == "$" or re.fullmatch(r"[A-Z_]+=\S*", words[0])):
                words.pop(0)
            if words:
                yield words


def wrong_commands(document: Path, root: Path, run_commands: frozenset[str]) -> Iterator[str]:
    """Yield commands that `./run`, `make` or `python -m tools...` do not know.

    Args:
        document: The document to read.
        root: The project's folder, for the Makefile and the modules.
        run_commands: The sub-commands of `./run`; none when they are not known.
    """
    targets = _make_targets(root / "Makefile")
    for words in fenced_commands(document):
        complaint = ""
        match words:
            case ["./run", command, *_] if run_commands and not command.startswith("-"):
                complaint = "" if command in run_commands else f"./run {command}"
            case ["make", target, *_] if targets:
                complaint = "" if target in targets else f"make {target}"
            case [str(), "-m", module, *_] if module.startswith("tools."):
                path = root.joinpath(*module.split("."))
                found = path.with_suffix(".py").exists() or path.is_dir()
                complaint = "" if found else f"python -m {module}"
        if complaint:
            yield f"{document.relative_to(root)}: there is no `{complaint}`"


def subcommands(source: str) -> frozenset[str]:
    """Return the sub-commands that a command-line module defines, from its text.

    They are the first arguments of `add_parser(...)` calls and the keys of a dictionary named `COMMANDS`.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_parser"), args=[ast.Constant(value=str(name)), *_]):
                found.add(name)
            case (
                ast.Assign(targets=[ast.Name(id="COMMANDS")], value=ast.Dict(keys=keys))
                | ast.AnnAssign(target=ast.Name(id="COMMANDS"), value=ast.Dict(keys=keys))
            ):
                found |= {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    return frozenset(found)


def listed_variables(text: str) -> list[str]:
    """Return the variables that an `.env` file sets or shows in a comment, in order."""
    return _VARIABLE.findall(text)


def layer_table(text: str) -> list[tuple[str, ...]]:
    """Return the members of each row of the table headed `| layer | members |`, top to bottom."""
    rows = re.search(r"^\| *layer *\| *members *\|\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    if rows is None:
        return []
    members = [row.split("|")[2] for row in rows[1].splitlines()]
    return [tuple(name.strip().strip("`") for name in row.split(",")) for row in members]


def _anchors(file: Path) -> set[str]:
    headings = _HEADING.findall(_FENCE.sub("", file.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def _make_targets(makefile: Path) -> frozenset[str]:
    if not makefile.exists():
        return frozenset()
    text = makefile.read_text(encoding="utf-8")
    return frozenset(
        target for line in re.findall(r"^([\w ./-]+):(?!=)", text, re.MULTILINE) for target in line.split()
    )
