"""What the demo shows of the warehouse: counts of the last runs, a few quarantined records, the head of a mart."""

from __future__ import annotations

import json
from typing import Any

from psycopg.rows import dict_row

from blocks.warehouse import Warehouse
from tasks.ledger.reading import pipelines_status

MART = """
SELECT carrier_name, to_char(month, 'YYYY-MM') AS month, flights, cancelled, late_percent, mean_departure_delay_minutes AS departure_delay,
       mean_arrival_delay_in_fair_weather_minutes AS delay_fair_weather, mean_arrival_delay_in_bad_weather_minutes AS delay_bad_weather
FROM marts.delay_by_carrier_month ORDER BY flights DESC, month LIMIT %s
"""

EXAMPLES = """
SELECT DISTINCT ON (q.pipeline, e ->> 'column', e ->> 'rule') q.id, q.pipeline, e ->> 'column' AS column, e ->> 'rule' AS rule, e ->> 'value' AS value, q.raw
FROM ledger.quarantine q CROSS JOIN LATERAL jsonb_array_elements(q.errors) e
WHERE q.status = 'open' AND e ->> 'severity' <> 'warn' ORDER BY q.pipeline, e ->> 'column', e ->> 'rule', q.id LIMIT %s
"""


def last_runs(warehouse: Warehouse, pipelines: tuple[str, ...]) -> list[dict[str, Any]]:
    """The last run of each pipeline, in the order given."""
    with warehouse.connect(autocommit=True) as conn:
        found = {row["pipeline"]: row for row in pipelines_status(conn)}
    return [found[name] for name in pipelines if name in found]


def quarantine_examples(warehouse: Warehouse, limit: int = 6) -> list[dict[str, Any]]:
    """One quarantined record for each reason, its raw input as JSON text."""
    with warehouse.connect(autocommit=True) as conn, conn.cursor(row_factory=dict_row) as cursor:
        return [row | {"raw": json.dumps(row["raw"], ensure_ascii=False)} for row in cursor.execute(EXAMPLES, (limit,)).fetchall()]


def mart_head(warehouse: Warehouse, limit: int = 5) -> list[dict[str, Any]]:
    """The busiest carriers and months, with their delays in fair and in bad weather."""
    with warehouse.connect(autocommit=True) as conn, conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(MART, (limit,)).fetchall()
