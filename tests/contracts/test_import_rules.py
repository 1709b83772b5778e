"""Who may import whom: read from every module's syntax, and seen in fresh interpreters."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("edge_agent", "nas_service", "workers", "cluster")

EDGE_AGENT = {"numpy", "onnxruntime", "paramiko"}
HEAVY = ("torch", "torchvision", "ray")
WIRE = "edge_agent.records"


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide who is meant"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(path: Path) -> set[str]:
    return set(imports(ast.walk(ast.parse(path.read_text()))))


def imports_at_load(path: Path) -> set[str]:
    """What importing the module runs: nothing that is inside functions."""

    def outside(node: ast.AST) -> Iterator[ast.AST]:
        yield node
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                yield from outside(child)

    return set(imports(outside(ast.parse(path.read_text()))))


def tops(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def third_party(names: Iterable[str]) -> set[str]:
    return tops(names) - set(sys.stdlib_module_names) - set(PACKAGES)


def ours_beyond_the_wire(path: Path) -> set[str]:
    """The packages of ours that a module imports, the values on the wire left out."""
    return tops(name for name in all_imports(path) if not (name == WIRE or name.startswith(f"{WIRE}."))) & set(PACKAGES)


def every_module(*packages: str) -> pytest.MarkDecorator:
    paths = [path for package in packages for path in modules(package)]
    return pytest.mark.parametrize("path", paths, ids=named)


def test_there_is_something_to_check():
    assert {package: len(modules(package)) > 5 for package in PACKAGES} == dict.fromkeys(PACKAGES, True)


@every_module("edge_agent")
def test_edge_agent_needs_only_what_a_board_has(path):
    inside_functions = {"cryptography", "PIL"}  # the first comes with paramiko, the second with the extra `image`
    assert third_party(imports_at_load(path)) <= EDGE_AGENT
    assert third_party(all_imports(path)) <= EDGE_AGENT | inside_functions
    assert tops(all_imports(path)) & set(PACKAGES) <= {"edge_agent"}


def test_the_wire_values_need_the_standard_library_only():
    for path in (ROOT / "edge_agent/records.py", *modules("edge_agent/wire")):
        beyond = {name for name in all_imports(path) if not name.startswith("edge_agent.wire.")}
        assert tops(beyond) <= set(sys.stdlib_module_names), named(path)


def test_the_wire_values_are_taken_from_records_and_nowhere_else():
    others = {path for package in PACKAGES for path in modules(package)} - {ROOT / "edge_agent/records.py"}
    suspects = {path for path in others - set(modules("edge_agent/wire")) if "wire" in path.read_text()}
    takers = {path for path in suspects if any(name.startswith("edge_agent.wire") for name in all_imports(path))}
    assert takers == set()


@every_module("nas_service")
def test_nas_service_knows_no_torch_no_workers_no_cluster_and_of_the_agent_only_the_wire(path):
    allowed = {"nas_service", "cluster"} if named(path) == "nas_service.cli" else {"nas_service"}
    assert ours_beyond_the_wire(path) <= allowed
    assert not {"torch", "torchvision", "paramiko", "asyncssh"} & tops(all_imports(path))


@every_module("nas_service")
def test_ray_is_only_where_the_tune_driver_and_the_serve_app_live(path):
    has_ray = "ray" in tops(all_imports(path))
    assert not has_ray or named(path) == "nas_service.serve" or named(path).startswith("nas_service.tune.")


def test_nobody_in_nas_service_loads_the_modules_that_know_ray():
    entry_points = ("nas_service.serve", "nas_service.tune.driver")
    for path in modules("nas_service"):
        if not named(path).startswith(entry_points):
            assert not set(entry_points) & all_imports(path), named(path)


def test_the_entry_module_imports_cluster_inside_commands_only():
    path = ROOT / "nas_service/cli.py"
    assert "cluster" in tops(all_imports(path))
    assert tops(imports_at_load(path)) & {*PACKAGES} <= {"nas_service"}  # that one under TYPE_CHECKING
    assert third_party(all_imports(path)) == set()


@every_module("workers")
def test_workers_know_values_and_learning_and_nothing_of_who_calls_them(path):
    assert ours_beyond_the_wire(path) <= {"workers", "nas_service"}
    assert not {"paramiko", "asyncssh", "sqlalchemy", "fastapi", "click"} & tops(all_imports(path))
    assert named(path) == "workers.actors" or "ray" not in tops(all_imports(path))


@every_module("workers")
def test_workers_take_values_from_nas_service_and_no_service(path):
    taken = {name for name in all_imports(path) if name.startswith("nas_service.")}
    services = ("store", "api", "commands", "tune", "search", "report", "serve", "client", "home", "settings")
    assert not [name for name in taken if name.split(".")[1] in services]


# What a fresh interpreter holds after importing modules: the modules, and the packages that must not be there.

SEEN = "import importlib, json, sys\n{names}\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"


def seen_after_importing(names: Iterable[str]) -> set[str]:
    lines = "\n".join(f"importlib.import_module({name!r})" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", SEEN.format(names=lines)], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def importable(package: str, *, but: tuple[str, ...] = ()) -> list[str]:
    """A package's modules; entry points that run and migrations, which only alembic loads, left out."""
    names = [named(path) for path in modules(package)]
    return [n for n in names if not n.endswith("__main__") and ".migrations" not in n and not n.startswith(but)]


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (importable("edge_agent"), {*HEAVY, "pandas", "nas_service", "workers", "cluster", "sqlalchemy", "click"}),
        (["edge_agent"], {"numpy", "onnxruntime", "paramiko"}),
        (["edge_agent.agent", "edge_agent.cli"], {"onnxruntime", "onnx"}),  # the parent stays small
        (["edge_agent.records"], {"numpy", "onnxruntime", "paramiko", "cryptography"}),
        (["nas_service"], {"numpy", "pydantic", "sqlalchemy", "click"}),
        (["nas_service.cli"], {"numpy", "pydantic", "sqlalchemy", "click", "httpx", "cluster"}),
        (
            importable("nas_service", but=("nas_service.serve", "nas_service.tune.driver")),
            {*HEAVY, "workers", "cluster", "onnxruntime", "paramiko"},
        ),
        pytest.param(["nas_service.serve"], {"torch", "workers", "cluster"}, marks=pytest.mark.slow),
        (["nas_service.tune.session"], {*HEAVY, "sqlalchemy", "fastapi"}),
        pytest.param(["nas_service.tune.driver"], {"torch", "workers", "cluster"}, marks=pytest.mark.slow),
        (["workers", "cluster"], {"torch", "ray", "numpy"}),
        pytest.param(
            importable("workers", but=("workers.actors",)),
            {"ray", "cluster", "paramiko", "asyncssh", "sqlalchemy"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=[
        "edge_agent", "edge_agent package", "agent's parent", "wire", "nas_service package", "nas", "nas_service",
        "serve", "session", "driver", "bare packages", "workers",
    ],
)  # fmt: skip
def test_a_fresh_interpreter_holds_nothing_that_is_not_allowed(names, absent):
    assert seen_after_importing(names) & absent == set()


def test_the_command_without_any_third_party_package_says_how_to_install_them():
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sys; from nas_service.cli import main; sys.exit(main(['jobs']))"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("install them: pip install 'biglittle-nas[service]'")
