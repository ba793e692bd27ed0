"""The shape of the code: who may import whom, and a few habits that a tree of code can show."""

from pathlib import Path, PurePosixPath

import pytest

from tests.architecture.source_checks import JOINS_SQL, LONG_FILES, MAX_FILE_LINES, check_file, check_tree

ROOT = Path(__file__).resolve().parents[2]


def test_the_code_keeps_its_shape() -> None:
    assert check_tree(ROOT) == []


def test_no_file_is_excused_from_being_short() -> None:
    assert not LONG_FILES


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("domain/reading.py", "import storage.pool", "domain imports the standard library only"),
        ("domain/reading.py", "import orjson", "domain imports the standard library only"),
        ("domain/reading.py", "from settings import Settings", "domain imports the standard library only"),
        ("storage/devices.py", "from api.problems import problem", "imports go downward only"),
        ("storage/devices.py", "import cache", "imports go downward only"),
        ("settings.py", "def load():\n    from domain import unit", "imports go downward only"),
        ("fleet/registry.py", "if TYPE_CHECKING:\n    import ingest.pipeline", "imports go downward only"),
        ("fleet/registry.py", "importlib.import_module('api.paging')", "imports go downward only"),
        ("tools/replay.py", "import app_advanced", "imports go downward only"),
        ("api/devices.py", "from tests.conftest import alice", "must not import tests"),
        ("api/devices.py", "import psycopg2.extras", "psycopg2 is confined to migrations, storage"),
        ("rbac.py", "from redis import Redis", "redis is confined to cache"),
        ("ingest/writer.py", "import paho.mqtt.client", "paho is confined to mqtt, mqtt_client, tools"),
        ("scheduler.py", "from flask import current_app", "flask is confined to"),
        (
            "fleet/registry.py",
            "from flask_jwt_extended import jwt_required",
            "flask_jwt_extended is confined",
        ),
        ("app_advanced.py", "import apscheduler", "apscheduler is confined to scheduler"),
        ("app_advanced.py", "import os\nport = os.environ['PORT']", "only settings reads the environment"),
        ("cache.py", "from os import getenv", "only settings reads the environment"),
        ("cache.py", "def show(x):\n    print(x)", "only commands print"),
        ("shop.py", "", "'shop' has no layer"),
        ("api/utils.py", "", "'utils' says nothing"),
        ("tests/db_helpers.py", "", "'db_helpers' says nothing"),
        ("tools/process.py", "", "'process' says nothing"),
        ("storage/common/rows.py", "", "'common' says nothing"),
        ("api/devices.py", "\n" * (MAX_FILE_LINES + 1), "split the file"),
        ("console/app.js", "\n" * (MAX_FILE_LINES + 1), "split the file"),
    ],
)
def test_a_planted_violation_is_found(path: str, source: str, complaint: str) -> None:
    violations = check_file(PurePosixPath(path), source)
    assert len(violations) == 1
    assert violations[0].startswith(f"{path}:")
    assert complaint in violations[0]


@pytest.mark.parametrize(
    "statement",
    [
        "cursor.execute(f'SELECT * FROM {table}')",
        "cursor.execute('SELECT %s' % name)",
        "cursor.execute('SELECT ' + name)",
        "cursor.execute('SELECT 1 ' + 'FROM ' + name)",
        "cursor.execute('SELECT {}'.format(name))",
        "cursor.execute(query='SELECT {}'.format(name))",
        "cursor.executemany(', '.join(parts), rows)",
        "execute_values(cursor, f'INSERT INTO {table} VALUES %s', rows)",
        "cursor.copy_expert(f'COPY {table} FROM STDIN', stream)",
        "sql = f'SELECT {column}'\ncursor.execute(sql)",
        "sql = 'SELECT 1'\nsql += where\ncursor.execute(sql)",
        "QUERY = 'SELECT {}'\ndef read():\n    cursor.execute(QUERY.format(name))",
        "def read():\n    sql = 'SELECT %s' % name\n    with cursor:\n        cursor.execute(sql)",
    ],
)
def test_sql_from_strings_is_found(statement: str) -> None:
    violations = check_file(PurePosixPath("tests/storage/test_devices.py"), statement)
    assert ["SQL is put together" in violation for violation in violations] == [True]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "app_advanced.py",
            "import api.devices, storage.pool, settings\nfrom flask_socketio import SocketIO",
        ),
        ("app_advanced.py", "def demo():\n    from tools import plant\n    print('ready')"),
        ("api/devices.py", "from api.problems import problem\nfrom . import paging\nimport rbac"),
        ("storage/pool.py", "import psycopg2.pool\nfrom domain.errors import Unavailable"),
        ("settings.py", "import os\nvalue = os.environ['DATABASE_URL']"),
        ("domain/unit.py", "import fractions\nfrom domain.errors import RuleBroken"),
        ("benchmarks/ingest.py", "import psycopg2, os\nprint(os.environ)"),
        ("storage/devices.py", "cursor.execute(queries['device_by_id'], {'device_id': device_id})"),
        ("storage/devices.py", "cursor.execute('SELECT 1 ' + 'FROM devices')"),
        ("storage/partitions.py", "cursor.execute(sql.SQL('CREATE TABLE {}').format(sql.Identifier(name)))"),
        ("storage/devices.py", "message = f'{n} rows'\ncursor.execute(queries['device_by_id'], (message,))"),
        ("cache.py", "pipeline.execute()"),
        ("tests/architecture/test_information.py", ""),
    ],
)
def test_good_code_is_left_alone(path: str, source: str) -> None:
    assert check_file(PurePosixPath(path), source) == []


@pytest.mark.parametrize(("path", "function"), JOINS_SQL)
def test_an_excuse_for_joined_sql_is_still_needed(path: str, function: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8").replace(f"def {function}(", "def other(")
    assert any("SQL is put together" in violation for violation in check_file(PurePosixPath(path), source))


def test_a_whole_tree_is_read_except_what_was_installed(tmp_path: Path) -> None:
    for folder in ("api", "var", ".venv/lib", "console/vendor"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "utils.py").write_text("import redis\n", encoding="utf-8")
    assert sorted(check_tree(tmp_path)) == [
        "api/utils.py:1: redis is confined to cache",
        "api/utils.py:1: the name 'utils' says nothing: name the thing that it owns",
    ]
