"""What a failed connection to a database means, and what to do about it."""

from __future__ import annotations

from blocks.errors import MillraceError, Misconfigured, Transient

WRONG = {
    "password authentication failed": "Correct the user or the password.",
    "no password supplied": "Give the password.",
    "authentication failed": "Correct the user, the password or the certificate.",
    "no pg_hba.conf entry": "Let the server admit this host and user (pg_hba.conf), or turn TLS on with sslmode=require.",
    "permission denied for database": "Grant CONNECT on the database to the user.",
    "role": "Create the user, or correct its name.",
    "database": "Create the database, or correct its name.",
    "could not translate host name": "Correct the host name.",
    "certificate": "Give the right root certificate (sslrootcert), or correct sslmode.",
    "does not support ssl": "Set sslmode=prefer or disable, or turn TLS on at the server.",
    "invalid": "Correct the connection options.",
}
"""Part of the server's or libpq's message → what to do; the first that fits. The rest of failures may pass."""

PASSING = (
    "starting up",
    "shutting down",
    "in recovery mode",
    "not yet accepting",
    "too many clients",
    "connection slots",
    "temporary failure",
)


def explained(error: Exception, where: str, password: str) -> MillraceError:
    """The failure to connect as an error of ours.

    Parameters
    ----------
    where: host and database, for people. password: what must not be shown, whatever the driver wrote.
    """
    said = " ".join(str(error).split()).removesuffix(" Is the server running on that host and accepting TCP/IP connections?")
    if password:
        said = said.replace(password, "***")
    low = said.lower()
    # Names are quoted in the messages ("role "x" does not exist"), so what they are called must not decide.
    missing = "does not exist" in low
    for part, do in WRONG.items():
        if part in low and not any(sign in low for sign in PASSING) and (missing or part not in ("role", "database")):
            return Misconfigured(f"Cannot connect to {where}: {said}", do=do, setting="warehouse")
    return Transient(f"Cannot connect to {where}: {said}", do="Check that the server runs and is reachable, then run again.")
