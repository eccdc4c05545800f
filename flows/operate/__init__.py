"""Flows for operators: backfill, the warehouse models."""
