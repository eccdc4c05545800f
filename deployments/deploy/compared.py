"""Putting what the files want and what the server has into one form, so that they can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


def plain(model: BaseModel) -> object:
    """A trigger or action as JSON-like data, without the ids that the server gives and with sets in one order."""
    return in_order(model.model_dump(mode="json", exclude={"id"}))


def in_order(value: object) -> object:
    """The same data with every list sorted; only for lists whose order means nothing."""
    if isinstance(value, dict):
        return {key: in_order(inner) for key, inner in value.items()}
    return sorted(map(in_order, value), key=repr) if isinstance(value, list) else value


def without_empty(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter schema without empty sections, which the server drops."""
    return {key: value for key, value in schema.items() if value not in ({}, [], None)}
