"""Making a Prefect server equal to the project's files: checked first, idempotent, pruned only when asked."""

from deployments.deploy.apply import deploy
from deployments.deploy.report import Change, Report

__all__ = ["Change", "Report", "deploy"]
