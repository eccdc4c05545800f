"""How it works: the nouns a pipeline file is written in, and the plain Python under them.

The nouns are looked up when first used, so that a process that needs one part does not import all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.contract import Contract, Field, Utc, rule
    from tasks.extract.delimited import Csv
    from tasks.extract.files import Files
    from tasks.extract.paging import LinkHeader, NextCursor, Offset, PageNumber, SinglePage
    from tasks.extract.rest import Rest
    from tasks.extract.since import Since
    from tasks.extract.sql import Sql
    from tasks.load.append import Append
    from tasks.load.replace import Replace
    from tasks.load.upsert import Upsert

_HOMES = {
    "tasks.contract": ("Contract", "Field", "Utc", "rule"),
    "tasks.extract.delimited": ("Csv",),
    "tasks.extract.files": ("Files",),
    "tasks.extract.paging": ("LinkHeader", "NextCursor", "Offset", "PageNumber", "SinglePage"),
    "tasks.extract.rest": ("Rest",),
    "tasks.extract.since": ("Since",),
    "tasks.extract.sql": ("Sql",),
    "tasks.load.append": ("Append",),
    "tasks.load.replace": ("Replace",),
    "tasks.load.upsert": ("Upsert",),
}
_HOME_OF = {noun: home for home, nouns in _HOMES.items() for noun in nouns}

__all__ = [
    "Append",
    "Contract",
    "Csv",
    "Field",
    "Files",
    "LinkHeader",
    "NextCursor",
    "Offset",
    "PageNumber",
    "Replace",
    "Rest",
    "Since",
    "SinglePage",
    "Sql",
    "Upsert",
    "Utc",
    "rule",
]


def __getattr__(noun: str) -> Any:
    """Import a noun from the file that defines it."""
    if noun not in _HOME_OF:
        raise AttributeError(f"module 'tasks' has no noun {noun!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME_OF[noun]), noun)
