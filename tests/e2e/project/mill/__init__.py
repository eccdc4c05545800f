"""Flows of the smallest project."""
