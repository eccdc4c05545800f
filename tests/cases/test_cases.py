"""Cases as folders: `<pipeline>/<case>/` holds page_1.json, …, what is then in the table and what is in quarantine.

To add a case, add a folder. `expect.ndjson` has the contract's columns, in order of the key; `rejects.ndjson` the raw records, each
with its rules under `_rules`. A file that is missing stands for no rows. `<pipeline>/pipeline.py` says CONTRACT, LOAD and transform.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row

from blocks.warehouse import Warehouse
from tasks.engine.closing import Report
from tasks.engine.plain import run_plainly
from tasks.extract.records import frame
from tasks.pipeline import Pipeline
from tests.engine.memory import Rows

HERE = Path(__file__).parent
CASES = sorted({page.parent for page in HERE.glob("*/*/page_1.json")})


@pytest.mark.parametrize("folder", CASES, ids=[f"{folder.parent.name}/{folder.name}" for folder in CASES])
def test_case_gives_the_rows_and_rejects_of_its_folder(folder: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", warehouse.dsn.get_secret_value())
    said = runpy.run_path(str(folder.parent / "pipeline.py"))
    report = run(folder, said)
    assert table(warehouse, said) == lines(folder / "expect.ndjson")
    assert quarantine(warehouse) == lines(folder / "rejects.ndjson")
    assert report.counts.balanced


def run(folder: Path, said: dict[str, Any]) -> Report:
    pages = [frame(json.loads(path.read_text())) for path in sorted(folder.glob("page_*.json"))]
    return run_plainly(Pipeline(folder.parent.name, Rows(pages), said["CONTRACT"], said["LOAD"], said["transform"]))


def table(warehouse: Warehouse, said: dict[str, Any]) -> list[dict[str, Any]]:
    columns = ", ".join(said["CONTRACT"].to_schema().columns)
    return rows(warehouse, f"SELECT {columns} FROM {said['LOAD'].table} ORDER BY {', '.join(said['LOAD'].key) or columns}")


def quarantine(warehouse: Warehouse) -> list[dict[str, Any]]:
    found = rows(warehouse, "SELECT raw, errors FROM ledger.quarantine ORDER BY batch_id, row")
    return [{**each["raw"], "_rules": sorted(error["rule"] for error in each["errors"])} for each in found]


def rows(warehouse: Warehouse, query: str) -> list[dict[str, Any]]:
    """Rows as JSON would have them."""
    with warehouse.connect(autocommit=True) as conn, conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query.encode()).fetchall()
    as_json: list[dict[str, Any]] = json.loads(json.dumps(found, default=lambda value: value.isoformat()))
    return as_json


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()] if path.is_file() else []
