"""What runs: one file per pipeline, named for its table; operators' flows in `operate/`."""

from flows._pipeline import pipeline, spec_of

__all__ = ["pipeline", "spec_of"]
