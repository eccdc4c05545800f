"""Log lines of a run on standard error, as text or as one JSON object per line, the same with and without Prefect."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

PLACE = re.compile(r"^(?P<pipeline>\w+) run (?P<run>\d+)(?: batch (?P<batch>\d+))?\b")
"""How every line of the engine begins; see `Session.where`."""

TOLD_AT_THE_END = {"flow_engine", "task_engine"}
"""Prefect's engines repeat failures with their tracebacks; the command itself says them once, readably."""


class LogFormat(StrEnum):
    """How log lines look."""

    text = "text"
    json = "json"


class _Json(logging.Formatter):
    """One JSON object per line, with the place in the run where the line has one."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        place = PLACE.match(message)
        known = {name: value if name == "pipeline" else int(value) for name, value in (place.groupdict() if place else {}).items() if value}
        said = {"time": datetime.fromtimestamp(record.created, UTC).isoformat(), "level": record.levelname, **known, "message": message}
        flow_run = getattr(record, "flow_run_id", None)
        return json.dumps(said | ({"flow_run": str(flow_run)} if flow_run else {}), ensure_ascii=False)


class _Text(logging.Formatter):
    """Time, level where it is worse than INFO, message."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname} " if record.levelno > logging.INFO else ""
        return f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {level}{record.getMessage()}"


class _Lines(logging.StreamHandler[TextIO]):
    """Our handler, known by its class."""


class _Ours(logging.Filter):
    """Lines of ours from the wanted level on, warnings of others, and nothing that the command tells at its end anyway."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        if record.module in TOLD_AT_THE_END and not os.environ.get("MILLRACE_DEBUG"):
            return record.levelno >= logging.INFO and "Retry" in record.msg and self._level <= logging.INFO
        ours = record.name == "millrace" or record.name.startswith("prefect.flow_runs")
        return record.levelno >= (self._level if ours else logging.WARNING)


def start_logging(form: LogFormat, *, quiet: bool) -> None:
    """Send log lines to standard error, and nowhere else but to Prefect's server where there is one.

    Parameters
    ----------
    form: text or JSON. quiet: warnings and worse alone, as under a progress bar.
    """
    from blocks.settings import settings

    level = logging.WARNING if quiet else logging.getLevelNamesMapping()[settings().log_level]
    handler = _Lines(sys.stderr)
    handler.setFormatter(_Json() if form is LogFormat.json else _Text())
    handler.addFilter(_Ours(level))
    root = logging.getLogger()
    for other in list(root.handlers):
        if isinstance(other, _Lines):  # of an earlier command in this process
            root.removeHandler(other)
        # Prefect's console prints tracebacks; a filter outlives its reconfigurations, a removal does not.
        if type(other).__name__ == "PrefectConsoleHandler":
            other.addFilter(_refuse)
    root.addHandler(handler)
    logging.getLogger("millrace").setLevel(level)


def _refuse(record: logging.LogRecord) -> bool:
    return False
