"""`[alerts]`: who is told of which incidents, by which channels and how often.

Secrets are never written here: a key that ends in `_env` names the environment variable that has it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["page", "digest", "notice"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class WebhookConfig(_Section, frozen=True, kw_only=True):
    """`[alerts.webhook]`: where messages are POSTed; `secret_env` names the variable with the secret."""

    url: str = ""
    secret_env: str = ""
    severities: tuple[Severity, ...] = ()


class EmailConfig(_Section, frozen=True, kw_only=True):
    """`[alerts.email]`: the SMTP server; `password_env` names the variable with the password."""

    host: str = ""
    port: int = 587
    starttls: bool = True
    user: str = ""
    password_env: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()


class AlertsConfig(_Section, frozen=True, kw_only=True):
    """`[alerts]`: which channels are told of which incidents, and how often at most.

    `to` names notifiers ("log", "webhook", "email" or a plug-in, whose settings are
    `[alerts.options.NAME]`). What is to be read by the way goes out every `digest`, together; a cause
    that comes back within `cooldown` of its resolution is the same incident. `url` is where people
    open the page.
    """

    to: tuple[str, ...] = ("log",)
    severities: tuple[Severity, ...] = ("page", "digest")
    cooldown: str = "1d"
    digest: str = "1d"
    timeout: str = "5s"
    tell_resolved: bool = False
    url: str = ""
    webhook: WebhookConfig = WebhookConfig()
    email: EmailConfig = EmailConfig()
    options: dict[str, dict[str, Any]] = {}

    @property
    def spans(self) -> tuple[str, ...]:
        """The keys that are spans of time."""
        return (self.cooldown, self.digest, self.timeout)

    def severities_of(self, channel: str) -> tuple[Severity, ...]:
        """Which incidents a channel is told of."""
        own: dict[str, tuple[Severity, ...]] = {
            "webhook": self.webhook.severities, "email": self.email.severities
        }  # fmt: skip
        return own.get(channel) or self.severities
