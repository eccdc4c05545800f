"""Tables: every figure is whole, however narrow the terminal."""

from __future__ import annotations

import pytest

from deployments.cli import counts, printing
from deployments.cli.counts import counts_line, print_counts

RUN = {"kind": "incremental", "derived": 0, "run": 7, "seconds": {"total": 2.0}, "duplicate": 0, "filtered": 0}
LINE = RUN | {"landed": 336_776, "inserted": 280_481, "updated": 0, "unchanged": 0, "quarantined": 56_295}


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_no_figure_is_cut(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(printing, "PIPED_WIDTH", width)
    print_counts([{"pipeline": name} | counts_line(LINE) for name in ("nyc_flights", "nyc_planes", "nyc_weather")], ["pipeline"])
    written = capsys.readouterr().out
    assert all(written.count(figure) == 3 for figure in ("336,776", "280,481", "56,295", "168,388"))
    assert max(map(len, written.splitlines())) <= width
    assert "…" not in written


def test_balance_is_what_is_not_accounted_for() -> None:
    assert counts_line(LINE)["balance"] == 0
    assert counts_line(LINE | {"inserted": 0})["balance"] == 280_481
    assert counts.ROWS[0] == "landed"
