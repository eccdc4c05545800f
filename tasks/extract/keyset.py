"""The SELECT of a SQL source: typed columns, cursor bounds, and where to continue, composed so that no value is ever pasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal, LiteralString

from psycopg import sql

from tasks.extract.since import Bounds, encode

Reading = Literal["plain", "text", "numeric", "array"]
"""How a column crosses the wire: as it is, as text, as text that becomes Decimal, as JSON text."""

Stored = str | int | float | bool | None
"""A value of the order as JSON keeps it."""

PLAIN = frozenset({16, 17, 18, 19, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184})
"""OIDs of the types that arrive typed: bool, bytea, text, integers, floats, date, time, timestamp, timestamptz."""

TEXTS = frozenset({25, 1042, 1043})
NUMERIC = 1700


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of the source: name, type OID, whether it is an array; digits and scale of a numeric that declares them."""

    name: str
    oid: int
    array: bool = False
    digits: int | None = None
    scale: int | None = None

    @property
    def reading(self) -> Reading:
        """How it crosses the wire."""
        if self.oid == NUMERIC:
            return "numeric"
        if self.array:
            return "array"
        return "plain" if self.oid in PLAIN else "text"

    def selected(self) -> sql.Composed:
        """The column as it stands in the SELECT list."""
        forms: dict[Reading, LiteralString] = {
            "plain": "{0}",
            "text": "{0}::text",
            "numeric": "{0}::text",
            "array": "array_to_json({0})::text",
        }
        name = sql.Identifier(self.name)
        return sql.SQL("{} AS {}").format(sql.SQL(forms.get(self.reading, "{}::text")).format(sql.SQL("source.{}").format(name)), name)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The order in which a source is read, and the query for it.

    Parameters
    ----------
    source: the table or the query in parentheses. columns: all of them. order: names to sort by, the cursor first.
    cursor: name of the cursor column. windowed: nulls of the cursor lie outside of what is read.
    """

    source: sql.Composable
    columns: Sequence[SourceColumn]
    order: Sequence[str]
    cursor: str | None = None

    def query(self, bounds: Bounds, last: Sequence[Stored] | None, limit: int | None) -> sql.Composed:
        """The SELECT.

        Parameters
        ----------
        last: values of `order` in the last row that was read, as `stored` made them; None at the beginning.
        """
        parts = [
            sql.SQL("SELECT {} FROM {} AS source").format(sql.SQL(", ").join(column.selected() for column in self.columns), self.source)
        ]
        conditions = [*self._bounded(bounds), *([self._behind(last)] if last is not None else [])]
        if conditions:
            parts.append(sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(conditions)))
        if self.order:
            parts.append(sql.SQL("ORDER BY {}").format(sql.SQL(", ").join(self._ordered(name) for name in self.order)))
        if limit is not None:
            parts.append(sql.SQL("LIMIT {}").format(sql.Literal(limit)))
        return sql.SQL(" ").join(parts)

    def _bounded(self, bounds: Bounds) -> list[sql.Composed]:
        if self.cursor is None or (bounds.low is None and bounds.high is None):
            return []
        column = self._ordered(self.cursor)
        tests = [("{} >= {}", bounds.low), ("{} < {}", bounds.high)]
        inside = sql.SQL(" AND ").join(
            sql.SQL(test).format(column, sql.Literal(stored(value))) for test, value in tests if value is not None
        )
        return [sql.SQL("({})" if bounds.window else "({} OR {} IS NULL)").format(*([inside] if bounds.window else [inside, column]))]

    def _behind(self, last: Sequence[Stored]) -> sql.Composed:
        """Strictly behind these values; nulls come last, so behind a null there is only what comes later in the order."""
        ways = []
        for depth, name in enumerate(self.order):
            if last[depth] is None:
                continue
            same = [self._same(each, value) for each, value in zip(self.order[:depth], last[:depth], strict=True)]
            column = self._ordered(name)
            beyond = sql.SQL("({} > {} OR {} IS NULL)").format(column, sql.Literal(last[depth]), column)
            ways.append(sql.SQL("({})").format(sql.SQL(" AND ").join([*same, beyond])))
        return sql.SQL("({})").format(sql.SQL(" OR ").join(ways)) if ways else sql.SQL("FALSE").format()

    def _same(self, name: str, value: object) -> sql.Composed:
        column = self._ordered(name)
        return sql.SQL("{} IS NULL").format(column) if value is None else sql.SQL("{} = {}").format(column, sql.Literal(value))

    def _ordered(self, name: str) -> sql.Composed:
        """The column as it is compared; a cursor of text by its bytes, as Python compares what was seen."""
        column = sql.SQL("source.{}").format(sql.Identifier(name))
        text = name == self.cursor and any(each.name == name and each.oid in TEXTS for each in self.columns)
        return sql.SQL('{} COLLATE "C"').format(column) if text else column


def stored(value: object) -> Stored:
    """A value of the order as JSON keeps it and PostgreSQL reads it back, exactly."""
    if isinstance(value, (datetime, date)):
        return encode(value)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)
