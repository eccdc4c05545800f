"""A project of one small pipeline over JSON lines, and the command, called as a user's shell calls it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks.warehouse import Warehouse
from deployments.cli import main

PIPELINE = '''
    """Ships, from files."""
    {top}
    import polars as pl
    from flows import pipeline
    from tasks import Contract, Field, Files, Upsert

    class Ship(Contract):
        name: str
        masts: int = Field(ge=1, le=7)

    @pipeline(extract=Files("{folder}", glob="*.jsonl"), contract=Ship, load=Upsert("raw.test_ships", key=("name",)))
    def test_ships(page: pl.LazyFrame) -> pl.LazyFrame:
        """Ships, one row per name."""
        {body}
        return page
'''


@dataclass
class Answer:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Millrace = Callable[..., Answer]


@pytest.fixture
def millrace(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Millrace:
    """Calls the command in this process."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "no-prefect"))

    def call(*words: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        written = capsys.readouterr()
        return Answer(int(ended.value.code or 0), written.out, written.err)

    return call


@dataclass
class Ships:
    """The pipeline's files."""

    folder: Path
    flows: Path

    def arrive(self, name: str, *ships: dict[str, Any]) -> None:
        (self.folder / f"{name}.jsonl").write_text("".join(json.dumps(ship) + "\n" for ship in ships))

    def rewrite(self, body: str = "pass", top: str = "") -> None:
        text = textwrap.dedent(PIPELINE).format(folder=self.folder, body=body, top=top)
        (self.flows / "test_ships.py").write_text(text)


@pytest.fixture
def ships(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ships]:
    """A pipeline `test_ships` beside the shipped ones, three records of which one is bad, and an empty warehouse."""
    import flows

    made = Ships(tmp_path / "ships", tmp_path / "flows")
    made.folder.mkdir()
    made.flows.mkdir()
    made.rewrite()
    made.arrive("first", {"name": "Rickmer", "masts": 3}, {"name": "Gorch Fock", "masts": 3}, {"name": "Raft", "masts": 0})
    monkeypatch.setattr(flows, "__path__", [*flows.__path__, str(made.flows)])
    monkeypatch.setattr(flows.__spec__, "submodule_search_locations", flows.__path__)
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", warehouse.dsn.get_secret_value())
    yield made
    sys.modules.pop("flows.test_ships", None)
    vars(flows).pop("test_ships", None)
