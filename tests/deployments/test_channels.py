"""Notification channels made from the environment."""

from __future__ import annotations

import pytest

from deployments.deploy.channels import apprise_url, email_block, slack_block
from deployments.deploy.saved_blocks import wanted_blocks
from tasks.errors import Misconfigured

SECRET = "https://hooks.example.com/services/T0/B0/s3cret"


@pytest.mark.parametrize(
    ("smtp", "url"),
    [
        pytest.param("smtp://mail:25", "mailto://mail:25/?from=millrace%40b.c&to=a%40b.c&smtp=mail", id="plain"),
        pytest.param(
            "smtp+starttls://u:p%40w@mail:587",
            "mailtos://u:p%40w@mail:587/?from=millrace%40b.c&to=a%40b.c&smtp=mail&mode=starttls",
            id="starttls",
        ),
        pytest.param("smtps://u:p@mail", "mailtos://u:p@mail/?from=millrace%40b.c&to=a%40b.c&smtp=mail&mode=ssl", id="tls"),
    ],
)
def test_a_mail_server_becomes_an_apprise_address(smtp: str, url: str) -> None:
    assert apprise_url(smtp, ["a@b.c"], {}) == url


@pytest.mark.parametrize("smtp", ["", "mail:25", "http://u:s3cret@mail"])
def test_a_wrong_mail_server_is_refused_without_showing_it(smtp: str) -> None:
    with pytest.raises(Misconfigured, match="MILLRACE_SMTP_URL") as error:
        apprise_url(smtp, ["a@b.c"], {})
    assert "s3cret" not in str(error.value)


def test_an_address_that_mail_cannot_use_is_refused() -> None:
    with pytest.raises(Misconfigured, match="no usable mail address"):
        list(email_block({"MILLRACE_ALERT_EMAIL": "operator", "MILLRACE_SMTP_URL": "smtp://127.0.0.1:25"}))


def test_the_webhook_address_is_kept_as_a_secret() -> None:
    [(name, block)] = slack_block({"MILLRACE_SLACK_URL": SECRET})
    assert name == "millrace-slack"
    assert "s3cret" not in repr(block)
    assert "s3cret" not in block.model_dump_json()


def test_nothing_configured_makes_no_channel() -> None:
    assert [*slack_block({}), *email_block({})] == []


def test_credentials_in_the_environment_become_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WAREHOUSE_URL", "postgresql://u:pw@db:5433/analytics?sslmode=require")
    monkeypatch.setenv("MILLRACE_WAREHOUSE_NYC_SOURCE_URL", "postgresql://u:pw@db/source")
    monkeypatch.setenv("MILLRACE_API_NYC_URL", "https://api.example.com")
    monkeypatch.setenv("MILLRACE_API_NYC_TOKEN", "t0ken")
    blocks = wanted_blocks()
    assert set(blocks) == {"postgres-warehouse/warehouse", "postgres-warehouse/nyc-source", "rest-api/nyc"}
    warehouse = blocks["postgres-warehouse/warehouse"].model_dump()
    assert (warehouse["host"], warehouse["port"], warehouse["database"], warehouse["sslmode"]) == ("db", 5433, "analytics", "require")
