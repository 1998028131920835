"""The notifier port and what comes with trimtab: the log, a webhook, e-mail.

A notifier delivers one message to one place, or raises; that is all. It is called at least once for
each message, so it hands the message's key on for the receiver to tell a repetition. What is kept,
repeated and given up is `loop/alerts/notify.py`'s.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final, Protocol

import msgspec

import trimtab
from trimtab import ids, plugins
from trimtab.alerting import AlertsConfig
from trimtab.config import duration
from trimtab.errors import ConfigError, StorageError

_said = logging.getLogger("trimtab.alerts")
SIGNATURE: Final = "X-Trimtab-Signature"
KEY: Final = "Idempotency-Key"
_MOST_ANSWER: Final = 200


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is told. `key` is the same at every attempt; `event` is opened, reopened, escalated or
    resolved. Times are RFC 3339.
    """

    key: str
    event: str
    incident: str
    kind: str
    title: str
    severity: str
    project: str
    endpoint: str
    owner: str = ""
    runbook: str = ""
    since: str = ""
    opened_at: str = ""
    features: list[str] = []
    why: str = ""
    link: str = ""


class DeliveryError(StorageError):
    """A message could not be delivered; it is tried again."""

    code = "delivery"


class Notifier(Protocol):
    """Delivers messages to one place.

    `deliver` returns what the far side said (at most a line) once the message is with it. Where it
    is not, it raises DeliveryError (or any exception) within the configured timeout or so; then the
    same message comes again later. It must be safe to deliver the same message twice: the key goes
    along unchanged. It keeps no state between calls and no secret in what it returns or raises.
    """

    def deliver(self, message: Message) -> str:
        """Hand a message over."""
        ...


class LogNotifier:
    """Writes a line to the logger `trimtab.alerts`: what is always there."""

    def __init__(self, settings: AlertsConfig) -> None:
        self._settings = settings

    def deliver(self, message: Message) -> str:
        """Log it, a page as an error and anything else as a warning."""
        level = logging.ERROR if message.severity == "page" else logging.WARNING
        _said.log(
            level,
            "%s %s at %s: %s (owner %s, incident %s)",
            message.severity, message.event, message.endpoint, message.title,
            message.owner or "nobody", message.incident,
        )  # fmt: skip
        return "logged"


class WebhookNotifier:
    """POSTs the message as JSON; with a secret, signed with HMAC-SHA256 over `time.body`.

    The header is `t=MICROSECONDS,v1=HEX`. Redirects are not followed: they could lead anywhere.
    """

    def __init__(self, settings: AlertsConfig) -> None:
        self._hook = settings.webhook
        if not self._hook.url.startswith(("https://", "http://")):
            raise ConfigError(
                "[alerts.webhook] url is no http address",
                hint='url = "https://hooks.example.org/x"',
            )
        self._seconds = max(duration(settings.timeout) / 1_000_000, 0.5)
        self._open = urllib.request.build_opener(_Unfollowing).open

    def deliver(self, message: Message) -> str:
        """Send it; anything but a 2xx is a failure."""
        body = msgspec.json.encode(message)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"trimtab/{trimtab.__version__}",
            KEY: message.key,
        }
        if self._hook.secret_env:
            now = ids.now()
            headers[SIGNATURE] = f"t={now},v1={sign(_secret(self._hook.secret_env), now, body)}"
        request = urllib.request.Request(self._hook.url, body, headers, method="POST")  # noqa: S310
        try:
            with self._open(request, timeout=self._seconds) as answer:
                return f"{answer.status} {answer.read(_MOST_ANSWER).decode('utf-8', 'replace')}"[
                    :_MOST_ANSWER
                ].strip()
        except urllib.error.HTTPError as error:
            with error:
                raise DeliveryError(f"the webhook answered {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DeliveryError(f"the webhook was not reached: {reason}") from None


class EmailNotifier:
    """Sends plain text by SMTP, over STARTTLS unless that is switched off."""

    def __init__(self, settings: AlertsConfig) -> None:
        self._mail = settings.email
        if not self._mail.host or not self._mail.to or not self._mail.sender:
            raise ConfigError(
                "[alerts.email] needs host, sender and to",
                hint='host = "smtp.example.org", sender = "trimtab@example.org", to = ["me@…"]',
            )
        self._seconds = max(duration(settings.timeout) / 1_000_000, 0.5)

    def deliver(self, message: Message) -> str:
        """Hand it to the server; a refused recipient is a failure."""
        mail = compose(message, self._mail.sender, self._mail.to)
        try:
            with smtplib.SMTP(self._mail.host, self._mail.port, timeout=self._seconds) as server:
                if self._mail.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self._mail.user:
                    server.login(self._mail.user, _secret(self._mail.password_env))
                refused = server.send_message(mail)
        except smtplib.SMTPAuthenticationError:
            raise DeliveryError("the mail server refused the user or the password") from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"the mail server did not take it: {_line(error)}") from None
        if refused:
            raise DeliveryError(f"refused recipients: {', '.join(refused)}")
        return f"taken by {self._mail.host}"


class _Unfollowing(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any, **more: Any) -> None:
        """Follow nothing."""


def make(name: str, settings: AlertsConfig) -> Notifier:
    """The notifier of a channel; raises NotFoundError, ConfigError."""
    found: Notifier = plugins.get("notifiers", name)(settings)
    return found


def sign(secret: str, moment: int, body: bytes) -> str:
    """The signature of a webhook's body, for whoever receives it to compare."""
    return hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


def compose(message: Message, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """A message as a mail; its Message-ID is made of the key, so a repetition is recognised."""
    mail = EmailMessage()
    mail["Subject"] = _line(f"[{message.project}] {message.severity}: {message.title}")[:200]
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = f"<{message.key}@trimtab.{_domain(sender)}>"
    mail["X-Trimtab-Key"] = message.key
    mail["Auto-Submitted"] = "auto-generated"
    lines = [
        message.title, "",
        f"{message.event}, severity {message.severity}: {message.why}" if message.why
        else f"{message.event}, severity {message.severity}",
        f"endpoint  {message.endpoint}", f"kind      {message.kind}", f"since     {message.since}",
        f"owner     {message.owner or 'nobody'}", f"incident  {message.incident}",
    ]  # fmt: skip
    if message.features:
        lines.append(f"features  {', '.join(message.features)}")
    lines += ["", message.runbook] if message.runbook else []
    lines += ["", message.link or f"trimtab incidents ack {message.incident[:16]}"]
    mail.set_content("\n".join(lines))
    return mail


def _secret(name: str) -> str:
    found = os.environ.get(name, "")
    if not found:
        raise DeliveryError(f"the environment variable {name} is not set")
    return found


def _domain(sender: str) -> str:
    found = sender.rpartition("@")[2].strip("<> ")
    return found if found.replace(".", "").replace("-", "").isalnum() else "invalid"


def _line(text: object) -> str:
    return " ".join(str(text).split())


for _name, _where in {
    "log": "trimtab.loop.alerts.notifiers:LogNotifier",
    "webhook": "trimtab.loop.alerts.notifiers:WebhookNotifier",
    "email": "trimtab.loop.alerts.notifiers:EmailNotifier",
}.items():
    plugins.register("notifiers", _name, _where)
