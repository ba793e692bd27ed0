"""The shape of the code, read from its syntax trees.

The table of layers is the one of docs/architecture.md (test_docs compares them). Everything here works
on source text, so that the checks can be tried on planted violations.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

# Top to bottom: a module imports only from layers below its own.
LAYERS: dict[str, tuple[str, ...]] = {
    "entry": ("app_advanced", "tools", "benchmarks"),
    "commands": ("administration", "doctor", "server"),
    "composition": ("runtime",),
    "watch": ("health",),
    "edges": ("api", "mqtt_client", "protocols", "scheduler"),
    "wire": ("mqtt",),
    "engines": ("ingest", "analytics", "ml", "retention", "fleet"),
    "rules": ("rule_engine",),
    "people": ("alerting", "rbac"),
    "adapters": ("storage", "cache", "webhook", "email_notifier"),
    "SQL": ("analytics_sql", "migrations"),
    "domain": ("domain",),
    "base": ("settings", "observability"),
}
DEPTH = {member: depth for depth, members in enumerate(LAYERS.values()) for member in members}

# Imports inside a layer that are wanted all the same, with the reason.
SIDEWAYS = {
    ("app_advanced", "tools"): "`app_advanced.py demo` runs the simulated plant",
}

# Third party, by prefix of its import name -> the members that may import it.
CONFINED: dict[str, frozenset[str]] = {
    "psycopg2": frozenset({"storage", "migrations"}),
    "redis": frozenset({"cache"}),
    "paho": frozenset({"mqtt_client", "mqtt", "tools"}),
    "flask": frozenset({"app_advanced", "server", "runtime", "api", "rbac"}),
    "flasgger": frozenset({"app_advanced", "api"}),
    "apscheduler": frozenset({"scheduler"}),
}
READS_ENVIRONMENT = frozenset({"settings", "tools"})
PRINTS = frozenset({"app_advanced", "administration", "doctor", "tools"})

# Names under which everything and nothing ends up.
VAGUE_NAMES = frozenset(
    {"utils", "util", "helpers", "helper", "common", "manager", "data", "info", "process"}
)
VAGUE_WORDS = VAGUE_NAMES - {"data", "info", "process"}

# Functions that may join SQL texts all the same, with the reason.
JOINS_SQL = {
    ("storage/pool.py", "read"): "puts the tenant's setting before a named query: one round trip",
}

MAX_FILE_LINES = 400
# Files that may be longer. Empty on purpose: split the file instead.
LONG_FILES: frozenset[str] = frozenset()

OUTSIDE_THE_LAYERS = frozenset({"tests", "benchmarks", "docs"})
_SKIPPED_FOLDERS = frozenset({"var", "vendor", "node_modules", "htmlcov", "build", "__pycache__"})
_EXECUTES_SQL = frozenset(
    {"execute", "executemany", "copy_expert", "execute_values", "execute_batch", "mogrify"}
)


def check_tree(root: Path) -> list[str]:
    """Return every violation under `root`, each as `path:line: what is wrong`."""
    violations = []
    for path in sorted(_source_files(root)):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        violations += check_file(relative, path.read_text(encoding="utf-8"))
    return violations


def check_file(path: PurePosixPath, source: str) -> list[str]:
    """Return the violations of one file, given its path below the root and its text."""
    found = [*_check_name(path), *_check_length(path, source)]
    if path.suffix == ".py":
        tree = ast.parse(source)
        found += _check_sql(path, tree)
        if path.parts[0] not in OUTSIDE_THE_LAYERS:
            found += _check_member(member_of(path), tree)
    return [f"{path}:{line}: {message}" for line, message in found]


def member_of(path: PurePosixPath) -> str:
    """Return the root module or package that a file belongs to: `api` for `api/paging.py`."""
    return path.parts[0].removesuffix(".py")


Finding = tuple[int, str]


def _check_name(path: PurePosixPath) -> Iterator[Finding]:
    if path.suffix != ".py":
        return
    for part in (*path.parts[:-1], path.stem):
        if part in VAGUE_NAMES or VAGUE_WORDS & set(part.split("_")):
            yield 1, f"the name {part!r} says nothing: name the thing that it owns"


def _check_length(path: PurePosixPath, source: str) -> Iterator[Finding]:
    lines = source.count("\n")
    if lines > MAX_FILE_LINES and str(path) not in LONG_FILES:
        yield MAX_FILE_LINES, f"{lines} lines, more than {MAX_FILE_LINES}: split the file"


def _check_member(member: str, tree: ast.Module) -> Iterator[Finding]:
    if member not in DEPTH:
        yield 1, f"{member!r} has no layer: give it one here and in docs/architecture.md"
        return
    for line, target in _imports(tree):
        message = _import_violation(member, target)
        if message:
            yield line, message
    if member not in READS_ENVIRONMENT:
        yield from ((line, "only settings reads the environment") for line in _environment_reads(tree))
    if member not in PRINTS:
        yield from ((line, "only commands print; log an event instead") for line in _prints(tree))


def _import_violation(member: str, target: str) -> str | None:
    top = target.partition(".")[0]
    if top == member:
        return None
    if top in OUTSIDE_THE_LAYERS:
        return f"{member} must not import {top}"
    if member == "domain" and top not in sys.stdlib_module_names:
        return f"domain imports the standard library only, not {top}"
    if top in DEPTH and DEPTH[top] <= DEPTH[member] and (member, top) not in SIDEWAYS:
        return f"{member} must not import {top}: imports go downward only"
    for prefix, members in CONFINED.items():
        if (top == prefix or top.startswith(f"{prefix}_")) and member not in members:
            return f"{top} is confined to {', '.join(sorted(members))}"
    return None


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of every import, also local, conditional and dynamic ones."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module


def _environment_reads(tree: ast.Module) -> Iterator[int]:
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=attribute) if attribute in names:
                yield node.lineno
            case ast.ImportFrom(module="os", names=aliases) if names & {alias.name for alias in aliases}:
                yield node.lineno


def _prints(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def _check_sql(path: PurePosixPath, tree: ast.Module) -> Iterator[Finding]:
    """Find SQL put together from strings, in the call itself or in a variable of the same scope."""
    module_texts = _assigned(tree.body, lambda value: _is_text(value, frozenset()))
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (str(path), getattr(scope, "name", "")) in JOINS_SQL:
            continue
        texts = module_texts | _assigned(scope.body, lambda value: _is_text(value, frozenset()))
        built = _names_of_built_texts(scope.body, texts)
        for node in _own_nodes(scope.body):
            if isinstance(node, ast.Call) and _executes_sql(node) and _takes_built_text(node, texts, built):
                yield node.lineno, "SQL is put together from strings: use a named query with parameters"


def _executes_sql(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in _EXECUTES_SQL


def _takes_built_text(call: ast.Call, texts: frozenset[str], built: frozenset[str]) -> bool:
    # The statement comes first, or second after the cursor in psycopg2.extras.
    arguments = [*call.args[:2], *(keyword.value for keyword in call.keywords)]
    return any(
        _is_built(argument, texts) or (isinstance(argument, ast.Name) and argument.id in built)
        for argument in arguments
    )


def _is_built(node: ast.expr, texts: frozenset[str]) -> bool:
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.FormattedValue) for value in values)
        case ast.BinOp(op=ast.Add(), left=left, right=right) if _is_literal(left) and _is_literal(right):
            return False
        case ast.BinOp(op=ast.Mod() | ast.Add(), left=left, right=right):
            return any(_is_text(side, texts) or _is_built(side, texts) for side in (left, right))
        case ast.Call(func=ast.Attribute(value=receiver, attr="format" | "join" | "replace")):
            return _is_text(receiver, texts)
    return False


def _is_literal(node: ast.expr) -> bool:
    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _is_literal(left) and _is_literal(right)
    return isinstance(node, ast.Constant)


def _is_text(node: ast.expr, texts: frozenset[str]) -> bool:
    if _is_literal(node) and not isinstance(node, ast.Constant):
        return True
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.Name(id=name):
            return name in texts
    return False


def _assigned(body: list[ast.stmt], wanted: Callable[[ast.expr], bool]) -> frozenset[str]:
    """Return the names to which this scope assigns a wanted value."""
    names = set()
    for node in _own_nodes(body):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if wanted(value):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if wanted(value):
                names.add(name)
    return frozenset(names)


def _names_of_built_texts(body: list[ast.stmt], texts: frozenset[str]) -> frozenset[str]:
    extended = {
        node.target.id
        for node in _own_nodes(body)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in texts
    }
    return _assigned(body, lambda value: _is_built(value, texts)) | extended


def _own_nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Walk a scope without the functions inside it, which are scopes of their own."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def _source_files(root: Path) -> Iterator[Path]:
    for entry in root.iterdir():
        if entry.is_dir():
            if entry.name not in _SKIPPED_FOLDERS and not entry.name.startswith("."):
                yield from _source_files(entry)
        elif entry.suffix in {".py", ".js"}:
            yield entry
