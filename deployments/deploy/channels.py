"""Where notifications go: a Slack-compatible webhook and e-mail, as blocks of Prefect's core, which any Prefect server can load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode, urlsplit

from tasks.errors import Misconfigured

if TYPE_CHECKING:
    from prefect.blocks.core import Block

SLACK, EMAIL = "custom-webhook/millrace-slack", "slack-webhook/millrace-email"
CHANNELS = (SLACK, EMAIL)
"""The blocks that our automations notify, as far as they exist on the server."""

_MODES = {"smtp": ("mailto", {}), "smtp+starttls": ("mailtos", {"mode": "starttls"}), "smtps": ("mailtos", {"mode": "ssl"})}


def slack_block(environ: Mapping[str, str]) -> Iterator[tuple[str, Block]]:
    """The webhook of MILLRACE_SLACK_URL. Its address is itself a secret and is kept as one; the SlackWebhook block would send
    nothing, in silence, to any host but Slack's own."""
    if url := environ.get("MILLRACE_SLACK_URL"):
        from prefect.blocks.notifications import CustomWebhookNotificationBlock
        from prefect.types import SecretDict

        yield (
            SLACK.partition("/")[2],
            CustomWebhookNotificationBlock(
                name="millrace-slack",
                url="{{url}}",
                json_data={"text": "*{{subject}}*\n{{body}}"},
                secrets=SecretDict({"url": url}),
                headers=None,
                cookies=None,
            ),
        )


def email_block(environ: Mapping[str, str]) -> Iterator[tuple[str, Block]]:
    """The mail to MILLRACE_ALERT_EMAIL through MILLRACE_SMTP_URL. Core has no block for SMTP, but its SlackWebhook hands any
    address that is not Slack's to Apprise, which speaks it."""
    if to := environ.get("MILLRACE_ALERT_EMAIL"):
        from prefect.blocks.notifications import SlackWebhook
        from pydantic import SecretStr

        recipients = [one.strip() for one in to.split(",") if one.strip()]
        url = apprise_url(environ.get("MILLRACE_SMTP_URL", ""), recipients, environ)
        _try(url, recipients)
        yield EMAIL.partition("/")[2], SlackWebhook(url=SecretStr(url))


def apprise_url(smtp: str, recipients: list[str], environ: Mapping[str, str]) -> str:
    """The Apprise address of an SMTP server: `smtp://host:25`, `smtp+starttls://user:password@host:587` or `smtps://…:465`.

    Raises
    ------
    Misconfigured: it is none of these; the value is not shown, since it may hold a password.
    """
    parts = urlsplit(smtp)
    if parts.scheme not in _MODES or not parts.hostname:
        raise Misconfigured(
            "MILLRACE_ALERT_EMAIL is set, but MILLRACE_SMTP_URL names no mail server",
            do="Set it to smtp://host:25, smtp+starttls://user:password@host:587 or smtps://user:password@host:465, %-encoded",
            setting="MILLRACE_SMTP_URL",
        )
    scheme, options = _MODES[parts.scheme]
    sender = environ.get("MILLRACE_ALERT_FROM") or f"millrace@{recipients[0].partition('@')[2]}"
    login = (
        "".join((quote(unquote(parts.username), safe=""), ":", quote(unquote(parts.password or ""), safe=""), "@"))
        if parts.username
        else ""
    )
    port = f":{parts.port}" if parts.port else ""
    query = urlencode({"from": sender, "to": ",".join(recipients), "smtp": parts.hostname, **options}, quote_via=quote)
    return f"{scheme}://{login}{parts.hostname}{port}/?{query}"


def _try(url: str, recipients: list[str]) -> None:
    """Ask Apprise now, since later it would ignore, in silence, what it cannot read."""
    from apprise import Apprise

    if Apprise.instantiate(url) is None:
        raise Misconfigured(
            "MILLRACE_ALERT_EMAIL, MILLRACE_ALERT_FROM and MILLRACE_SMTP_URL make no usable mail address",
            do="Check that recipients and sender are full addresses, as in operator@example.com",
            setting="MILLRACE_ALERT_EMAIL",
            value=recipients,
        )
