"""The documentation is part of the program: what it names exists."""

import re
from pathlib import Path

import pytest

from settings import documented_variables, load_settings
from tests.architecture.doc_checks import (
    broken_links,
    documents,
    layer_table,
    listed_variables,
    missing_files,
    subcommands,
    wrong_commands,
)
from tests.architecture.source_checks import LAYERS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = documents(ROOT)
RUN_SOURCES = (ROOT / "tools" / "bootstrap.py", ROOT / "tools" / "stack.py")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def run_commands() -> frozenset[str]:
    sources = [path.read_text(encoding="utf-8") for path in RUN_SOURCES if path.exists()]
    return frozenset().union(*(subcommands(source) for source in sources))


def _text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    assert list(broken_links(document, ROOT)) == []


@every_document
def test_files_that_are_named_exist(document: Path) -> None:
    assert list(missing_files(document, ROOT)) == []


@every_document
def test_commands_that_are_shown_exist(document: Path) -> None:
    assert list(wrong_commands(document, ROOT, run_commands())) == []


def test_the_example_environment_lists_the_settings_and_nothing_else() -> None:
    listed = listed_variables(_text_of(".env.example"))
    assert listed == documented_variables()


def test_the_example_environment_shows_the_defaults_of_the_code() -> None:
    needed = {
        "DATABASE_URL": "postgresql://owner:password@localhost/iiot",
        "REDIS_URL": "redis://localhost",
        "MQTT_URL": "mqtt://localhost",
        "IIOT_SECRET_KEY": "0123456789-abcdefghijklmnopqrstuvwxyz",
    }
    shown = dict(re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.+)$", _text_of(".env.example"), re.MULTILINE))
    assert load_settings({**needed, **shown}) == load_settings(needed)
    assert len(shown) > 30


def test_the_architecture_page_shows_the_layers_that_are_checked() -> None:
    assert layer_table(_text_of("docs/architecture.md")) == list(LAYERS.values())


def test_every_reason_for_a_dead_letter_is_explained() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "ingest").glob("*.py"))
    given = re.findall(
        r"""(?:(?:Refused|Undecodable)\(\s*|reason=|return (?="too_)|Rejection\(\w+, )"([a-z_0-9]+)\"""",
        source,
    )
    table = _text_of("docs/mqtt.md").partition("## Dead letters")[2].partition("## ")[0]
    explained = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(explained) == sorted(set(given))


def test_planted_mistakes_are_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "Makefile").write_text("check test:\n\t./run gate\n", encoding="utf-8")
    (tmp_path / "run").write_text("", encoding="utf-8")
    page = tmp_path / "docs" / "page.md"
    page.write_text(
        "# A page\n## Its `second` part\n"
        "[good](#its-second-part) [good](../run) [good](https://example.org/x)\n"
        "[bad](#third) [bad](../gone.md)\n"
        '<img src="picture.svg">\n'
        "`docs/page.md` `page.md` `var/services.json` `migrations/versions/NNNN_x.sql`\n"
        "`tools/gone.py` `a.b`\n"
        "```\n$ IIOT_PORT=0 ./run serve\n./run --help\n./run dance # not a command\nmake check\nmake tea\n"
        "[no link](inside.md)\npython -m tools.gone\n```\n",
        encoding="utf-8",
    )
    assert documents(tmp_path) == [page]
    assert list(broken_links(page, tmp_path)) == [
        "docs/page.md: #third names no heading",
        "docs/page.md: ../gone.md does not exist",
        "docs/page.md: picture.svg does not exist",
    ]
    assert list(missing_files(page, tmp_path)) == ["docs/page.md: tools/gone.py does not exist"]
    assert list(wrong_commands(page, tmp_path, frozenset({"serve"}))) == [
        "docs/page.md: there is no `./run dance`",
        "docs/page.md: there is no `make tea`",
        "docs/page.md: there is no `python -m tools.gone`",
    ]


def test_sub_commands_are_read_from_parsers_and_tables() -> None:
    source = "sub.add_parser('test', help='x')\nCOMMANDS: dict[str, str] = {'serve': ''}\nother = {'no': 1}"
    assert subcommands(source) == {"test", "serve"}


def test_variables_are_read_with_and_without_a_comment_sign() -> None:
    assert listed_variables(
        "# About it\nREDIS_URL=redis://x\n# IIOT_PORT=5002\n#IIOT_HOST=\n# see A=1 b\n"
    ) == [
        "REDIS_URL",
        "IIOT_PORT",
        "IIOT_HOST",
    ]


def test_the_layer_table_is_read_row_by_row() -> None:
    page = "text\n\n| layer | members |\n|---|---|\n| 1 entry | tools, api |\n| 2 base | `settings` |\n\nmore"
    assert layer_table(page) == [("tools", "api"), ("settings",)]
