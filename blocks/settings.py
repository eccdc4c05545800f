"""The settings of one Millrace process, read from the environment at each call and never at import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from blocks.errors import Misconfigured


def project_root() -> Path:
    """The nearest folder at or above the working directory that holds a `prefect.yaml`, else the working directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "prefect.yaml").is_file()), here)


class Settings(BaseSettings):
    """What can be set with `MILLRACE_…` variables; every field is the variable's name without the prefix."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore", env_ignore_empty=True)

    state: Path = Field(default_factory=lambda: project_root() / ".millrace", description="Folder for all that this project keeps on disk.")
    landing: str = Field(default="", description="Folder where batches land. Default: `landing` in the state folder.")
    batch_rows: int = Field(default=250_000, gt=0, description="Rows per batch; memory follows it.")
    ahead: int = Field(default=2, ge=0, description="Batches that extraction may land ahead of loading.")
    loaders: int = Field(default=2, gt=0, description="Batches of one run that are loaded side by side.")
    lock_wait: float = Field(default=60, ge=0, description="Seconds a run waits for another run of the same pipeline before it gives up.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least severe message to log.")
    embedded_idle: float = Field(default=120, ge=0, description="Seconds without use after which the embedded PostgreSQL stops; 0: never.")
    embedded_durable: bool = Field(default=True, description="False lets the embedded PostgreSQL forget commits in a power cut: for tests.")

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """Make the state folder absolute, so that a later change of directory means nothing, and put the landing below it."""
        object.__setattr__(self, "state", self.state.expanduser().absolute())
        object.__setattr__(self, "landing", self.landing or str(self.state / "landing"))
        return self


def settings() -> Settings:
    """The settings as the environment has them now.

    Raises
    ------
    Misconfigured: a variable holds a value that its field does not accept; all of them are named.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [("MILLRACE_" + "_".join(map(str, e["loc"])).upper(), e["msg"], e.get("input")) for e in error.errors()]
        what = "; ".join(f"{name}: {message}" for name, message, _ in problems)
        raise Misconfigured(
            f"Not a usable setting: {what}", do="Correct or unset it.", setting=problems[0][0], value=problems[0][2]
        ) from None
