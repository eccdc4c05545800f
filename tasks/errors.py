"""The errors of Millrace, for everything above the blocks. They live in `blocks.errors`, since imports go one way."""

from blocks.errors import BadData, MillraceError, Misconfigured, Transient, shortened

__all__ = ["BadData", "MillraceError", "Misconfigured", "Transient", "shortened"]
