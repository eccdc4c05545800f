"""`millrace list`: the pipelines of this project."""

from __future__ import annotations

from typing import Any

from deployments.cli.run import AS_JSON


def list_pipelines(as_json: AS_JSON = False) -> None:
    """List all pipelines: source, table, contract and schedule.

    \b
    Examples:
      millrace list
      millrace list --json
    """
    from deployments.cli.pipelines import names, schedules
    from deployments.cli.printing import print_json, stdout, table

    planned = schedules()
    rows = [_row(name, planned.get(name, "")) for name in names()]
    if as_json:
        print_json(rows)
    elif rows:
        lines = [row | {"columns": len(row["columns"]), "key": ", ".join(row["key"])} for row in rows]
        stdout().print(table(lines, ["name", "source", "load", "table", "key", "columns", "schedule"]))
    else:
        stdout().print("There is no pipeline yet. Write one in flows/; the README shows it in 30 lines.")


def _row(name: str, schedule: str) -> dict[str, Any]:
    from deployments.cli.pipelines import load
    from flows import spec_of

    spec = spec_of(load(name))
    columns = {column.name: str(column.dtype) + (" or null" if column.nullable else "") for column in spec.terms.columns}
    return {
        "name": name,
        "source": spec.source.describe(),
        "load": type(spec.destination).__name__,
        "table": spec.destination.table,
        "key": list(spec.destination.key),
        "columns": columns,
        "schedule": schedule,
    }
