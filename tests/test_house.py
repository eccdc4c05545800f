"""How the house is built: imports one way, names that agree, files of a readable size, and imports that do nothing."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["blocks", "tasks", "flows", "deployments"]
FILES = sorted(file for layer in LAYERS for file in (ROOT / layer).rglob("*.py"))
MODULES = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in FILES]
PREFECT = ("flows/", "blocks/", "deployments/", "tasks/stages.py")
PIPELINES = sorted(file.stem for file in (ROOT / "flows").glob("[!_]*.py"))
UNSAID = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
LOADED_BY_ALEMBIC = "tasks.ledger.migrations.env"


def imported(file: Path) -> set[str]:
    """Names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def ids(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_imports_go_one_way(file: Path) -> None:
    layer = LAYERS.index(file.relative_to(ROOT).parts[0])
    assert not {name for name in imported(file) if name.split(".")[0] in LAYERS[layer + 1 :]}


@pytest.mark.parametrize("file", [file for file in FILES if not ids(file).startswith(PREFECT)], ids=ids)
def test_only_the_outer_rooms_import_prefect(file: Path) -> None:
    assert not {name for name in imported(file) if name.split(".")[0].startswith("prefect")}


def test_no_file_is_past_three_hundred_lines() -> None:
    files = [*FILES, *(ROOT / "tests").rglob("*.py")]
    assert [ids(file) for file in files if len(file.read_text().splitlines()) > 300] == []


def test_names_say_what_is_inside() -> None:
    assert [ids(file) for file in FILES if UNSAID & {*file.relative_to(ROOT).with_suffix("").parts}] == []


def test_dbt_folder_is_no_package() -> None:
    assert list((ROOT / "dbt").rglob("__init__.py")) == []


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_file_holds_one_flow_and_one_table_of_its_name(name: str) -> None:
    from prefect import Flow

    from flows import spec_of

    module = importlib.import_module(f"flows.{name}")
    flows = {attribute: value for attribute, value in vars(module).items() if isinstance(value, Flow)}
    assert list(flows) == [name]
    assert (flows[name].name, spec_of(flows[name]).destination.table) == (name, f"raw.{name}")


@pytest.mark.parametrize("module", [name for name in MODULES if name != LOADED_BY_ALEMBIC])
def test_exported_names_exist(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in getattr(loaded, "__all__", ()) if not hasattr(loaded, name)] == []


def test_ledger_version_is_the_newest_migration() -> None:
    from tasks.ledger.schema import VERSION

    newest = max(file.stem.partition("_")[0] for file in (ROOT / "tasks/ledger/migrations/versions").glob("[0-9]*.py"))
    assert newest == VERSION


IMPORT_ALL = """
import os, socket, sys
import prefect, pandera.polars, alembic, httpx  # what others do while they are imported is not ours
def refuse(event, arguments):
    if event == "socket.connect":
        raise RuntimeError(f"{event} while importing: {arguments}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise RuntimeError(f"{event} while importing: {arguments}")
sys.dont_write_bytecode = True
sys.addaudithook(refuse)
asked = []
whole = type(os.environ).__getitem__
type(os.environ).__getitem__ = lambda self, name: (asked.append(name), whole(self, name))[1]
for module in sys.argv[1:]:
    __import__(module)
print([name for name in asked if name.startswith(("MILLRACE_", "PG"))])
"""


def test_importing_everything_does_nothing(tmp_path: Path) -> None:
    """No environment of ours is read, no socket opened, no file written, and the folder that it runs in may be read-only (L11)."""
    tmp_path.chmod(0o500)
    modules = [name for name in MODULES if name != LOADED_BY_ALEMBIC]
    environment = {"PATH": os.environ["PATH"], "PREFECT_HOME": os.environ["PREFECT_HOME"]}
    ended: Any = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.strip().splitlines()[-1] == "[]"
    assert list(tmp_path.iterdir()) == []
