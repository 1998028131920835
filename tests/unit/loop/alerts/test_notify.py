"""Alerts over real sockets: a row before it is sent, at least once, never for long."""

from __future__ import annotations

import base64
import json
import logging
import socket
import socketserver
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from trimtab import config as project_file
from trimtab import ids, plugins
from trimtab.alerting import AlertsConfig, EmailConfig, WebhookConfig
from trimtab.errors import ConfigError, NotFoundError
from trimtab.loop.alerts import incidents, notifiers, notify
from trimtab.loop.alerts.notifiers import DeliveryError, Message
from trimtab.loop.project import Project
from trimtab.monitor.observe import Alarm, Seen
from trimtab.store import alerts, operations
from trimtab.store.records import Version
from trimtab.store.workspace import open_workspace
from trimtab.testing.notifiers import (
    NotifierConformance,
    RefusableNotifierConformance,
    told,
)

DAY = 86_400_000_000
V1 = Version(kind="model", name="goods", number=1, digest="blake3:" + "1" * 64)


class Hook:
    """A real HTTP server that keeps what it is sent and answers as it is told."""

    def __init__(self):
        self.got, self.status, self.headers = [], 200, {}
        self.wait = threading.Event()
        self.wait.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((self.path, dict(self.headers), body))
                hook.wait.wait(20)
                self.send_response(hook.status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"taken")

            do_GET = do_POST  # noqa: N815 - so the server finds it

            def log_message(self, *given):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.wait.set()
        self.server.shutdown()
        self.server.server_close()


class Post:
    """A real SMTP server: EHLO, AUTH PLAIN, MAIL, RCPT, DATA as RFC 5321 and 4954 say."""

    def __init__(self):
        self.mails, self.users, self.refuse = [], [], ""
        post = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self):
                self.say("220 post ready")
                while line := self.rfile.readline():
                    text = line.decode().strip()
                    verb = text.partition(" ")[0].upper()
                    if verb == "EHLO":
                        self.wfile.write(b"250-post\r\n250 AUTH PLAIN\r\n")
                    elif verb == "AUTH":
                        _, user, password = base64.b64decode(text.split()[2]).split(b"\0")
                        post.users.append((user.decode(), password.decode()))
                        good = password == b"secret"
                        self.say("235 welcome" if good else "535 5.7.8 no")
                    elif verb == "RCPT" and post.refuse and post.refuse in text:
                        self.say("550 no such box")
                    elif verb == "DATA":
                        self.say("354 go on")
                        lines = []
                        while (part := self.rfile.readline()) != b".\r\n":
                            lines.append(part[1:] if part.startswith(b"..") else part)
                        post.mails.append(message_from_bytes(b"".join(lines)))
                        self.say("250 taken")
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook():
    found = Hook()
    yield found
    found.close()


@pytest.fixture
def post():
    found = Post()
    yield found
    found.close()


def settings(**given):
    return AlertsConfig(**{"to": (), "timeout": "2s", **given})


def mailing(post, **given):
    mail = {
        "host": "127.0.0.1", "port": post.port, "starttls": False,
        "sender": "Trimtab <trimtab@example.org>", "to": ("risk@example.org",), **given,
    }  # fmt: skip
    return settings(email=EmailConfig(**mail))


@pytest.fixture
def project_of(tmp_path):
    opened = []

    def make(alerting):
        path = tmp_path / "trimtab.toml"
        path.write_text('[project]\nname = "goods"\nowner = "somebody@example.org"\n')
        config = msgspec.structs.replace(project_file.load(path), alerts=alerting)
        found = Project(path=path, config=config, ws=open_workspace(tmp_path, "goods"))
        opened.append(found)
        return found

    yield make
    for one in opened:
        one.ws.close()


def see(project, kind="concept drift", now=5, **detail):
    alarm = Alarm(kind=kind, title=f"{kind} it is", severity="page", since=3 * DAY, detail=detail)
    found = Seen(now=now * DAY, alarms=[alarm], judged=now * DAY)
    incidents.compare(project, "goods", V1, found)
    return operations.incidents(project.ws)[0]


def outbox(project):
    (incident,) = operations.incidents(project.ws)
    return alerts.of_incident(project.ws, incident.id)


def hurry(project):
    """Let the wait before the next attempt be over."""
    for one in outbox(project):
        alerts.update(project.ws, msgspec.structs.replace(one, next_at=0))


class TestLog(NotifierConformance):
    @pytest.fixture
    def notifier(self):
        return notifiers.make("log", settings())

    @pytest.fixture
    def arrived(self, caplog):
        caplog.set_level(logging.WARNING, "trimtab.alerts")
        return lambda: [one.getMessage().rpartition("incident ")[2][:-1] for one in caplog.records]

    @pytest.fixture
    def key_of(self):
        return lambda message: message.incident


class TestWebhook(RefusableNotifierConformance):
    @pytest.fixture
    def notifier(self, hook, monkeypatch):
        monkeypatch.setenv("HOOK_SECRET", "s3cret")
        webhook = WebhookConfig(url=hook.url, secret_env="HOOK_SECRET")
        return notifiers.make("webhook", settings(webhook=webhook))

    @pytest.fixture
    def arrived(self, hook):
        return lambda: [headers["Idempotency-Key"] for _, headers, _ in hook.got]

    @pytest.fixture
    def break_it(self, hook):
        def down():
            hook.status = 503

        return down

    @pytest.fixture
    def secret(self):
        return "s3cret"

    def test_the_body_is_the_message_and_its_signature_can_be_checked(self, notifier, hook):
        notifier.deliver(told())
        ((path, headers, body),) = hook.got
        assert path == "/hook"
        assert msgspec.json.decode(body, type=Message) == told()
        moment, signature = (part.partition("=")[2] for part in
                             headers["X-Trimtab-Signature"].split(","))  # fmt: skip
        assert signature == notifiers.sign("s3cret", int(moment), body)
        assert signature != notifiers.sign("another", int(moment), body)

    def test_a_redirect_is_not_followed(self, notifier, hook):
        hook.status, hook.headers = 302, {"Location": hook.url + "/elsewhere"}
        with pytest.raises(DeliveryError, match="302"):
            notifier.deliver(told())
        assert [path for path, *_ in hook.got] == ["/hook"]

    def test_a_secret_that_is_not_set_is_named_and_nothing_is_sent(
        self, notifier, hook, monkeypatch
    ):
        monkeypatch.delenv("HOOK_SECRET")
        with pytest.raises(DeliveryError, match="HOOK_SECRET"):
            notifier.deliver(told())
        assert hook.got == []


class TestEmail(RefusableNotifierConformance):
    @pytest.fixture
    def notifier(self, post, monkeypatch):
        monkeypatch.setenv("MAIL_PASSWORD", "secret")
        return notifiers.make("email", mailing(post, user="trimtab", password_env="MAIL_PASSWORD"))

    @pytest.fixture
    def arrived(self, post):
        return lambda: [mail["X-Trimtab-Key"] for mail in post.mails]

    @pytest.fixture
    def break_it(self, post):
        def down():
            post.refuse = "risk@"

        return down

    @pytest.fixture
    def secret(self):
        return "secret"

    def test_a_mail_says_what_who_and_what_to_do(self, notifier, post):
        notifier.deliver(told())
        (mail,) = post.mails
        assert mail["Subject"] == "[goods] page: income is missing in 30 % of rows"
        assert mail["To"] == "risk@example.org"
        assert mail["Message-ID"] == "<0123-opened-x@trimtab.example.org>"
        text = mail.get_payload(decode=True).decode()
        for part in ("risk@example.org", "Mend the source.", "income", "0123"):
            assert part in text
        assert post.users == [("trimtab", "secret")]

    def test_a_wrong_password_is_not_told(self, notifier, monkeypatch):
        monkeypatch.setenv("MAIL_PASSWORD", "wrong-one")
        with pytest.raises(DeliveryError) as caught:
            notifier.deliver(told())
        assert "wrong-one" not in caught.value.message

    def test_a_title_cannot_write_headers(self, notifier, post):
        notifier.deliver(msgspec.structs.replace(told(), title="a\r\nBcc: x@example.org\r\n\r\nb"))
        (mail,) = post.mails
        assert mail["Bcc"] is None

    def test_starttls_is_asked_for_unless_it_is_switched_off(self, post):
        with pytest.raises(DeliveryError, match="did not take it"):
            notifiers.make("email", mailing(post, starttls=True)).deliver(told())
        assert post.mails == []


def test_settings_that_lead_nowhere_are_refused_with_words():
    with pytest.raises(ConfigError, match="no http address"):
        notifiers.make("webhook", settings(webhook=WebhookConfig(url="file:///etc/passwd")))
    with pytest.raises(ConfigError, match="host, sender and to"):
        notifiers.make("email", settings())
    with pytest.raises(NotFoundError, match="did you mean 'webhook'"):
        notifiers.make("webhok", settings())


def test_one_cause_is_one_alert_and_it_arrives(project_of, hook):
    project = project_of(settings(to=("webhook",), webhook=WebhookConfig(url=hook.url)))
    incident = see(project)
    (alert,) = outbox(project)
    assert (alert.state, alert.event, hook.got) == ("waiting", "opened", [])
    assert notify.deliver(project) == []
    (alert,) = outbox(project)
    assert (alert.state, alert.attempts, alert.receipt) == ("sent", 1, "200 taken")
    body = json.loads(hook.got[0][2])
    assert body["key"] == alert.id == hook.got[0][1]["Idempotency-Key"]
    assert body["incident"] == incident.id
    assert body["owner"] == "somebody@example.org"
    assert body["runbook"].startswith("The same inputs now lead")
    notify.deliver(project)
    assert len(hook.got) == 1


@pytest.mark.slow
def test_no_storm_under_constant_drift(project_of, hook):
    project = project_of(settings(to=("webhook",), webhook=WebhookConfig(url=hook.url)))
    for window in range(100):
        see(project, now=5 + window)
        notify.deliver(project)
    (incident,) = operations.incidents(project.ws)
    assert len(hook.got) == 1
    assert alerts.sightings(project.ws)[incident.id].occurrences == 100


def test_a_pass_again_over_the_same_window_counts_nothing(project_of):
    project = project_of(settings())
    for _ in range(5):
        incident = see(project, now=6)
    assert alerts.sightings(project.ws)[incident.id].occurrences == 1


def test_a_failed_delivery_waits_longer_each_time_and_arrives_later(project_of, hook):
    project = project_of(settings(to=("webhook",), webhook=WebhookConfig(url=hook.url)))
    see(project)
    hook.status = 500
    waits = []
    for _ in range(3):
        hurry(project)
        (said,) = notify.deliver(project)
        assert "500" in said
        (alert,) = outbox(project)
        waits.append(alert.next_at - ids.now())
        assert notify.deliver(project) == [], "it is not due yet"
    assert waits[0] < waits[1] < waits[2]
    assert (alert.state, alert.attempts) == ("waiting", 3)
    assert "500" in alert.error
    hook.status = 204
    hurry(project)
    assert notify.deliver(project) == []
    (alert,) = outbox(project)
    assert (alert.state, alert.error) == ("sent", "")
    assert len({headers["Idempotency-Key"] for _, headers, _ in hook.got}) == 1


def test_a_channel_that_was_taken_out_is_sent_nothing_until_it_is_back(project_of, hook):
    both = settings(to=("log", "webhook"), webhook=WebhookConfig(url=hook.url))
    project = project_of(both)
    see(project)
    hook.status = 500
    assert notify.deliver(project)
    hurry(project)
    assert notify.deliver(project_of(msgspec.structs.replace(both, to=("log",)))) == []
    assert len(hook.got) == 1
    hook.status = 200
    assert notify.deliver(project) == []
    assert [one.state for one in outbox(project)] == ["sent", "sent"]


def test_a_dead_channel_is_given_up_at_last(project_of):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        project = project_of(settings(to=("webhook",), webhook=WebhookConfig(url=url)))
        see(project)
        for _ in range(notify.MOST_ATTEMPTS):
            hurry(project)
            (said,) = notify.deliver(project)
    assert "given up" in said
    hurry(project)
    assert notify.deliver(project) == []


def test_a_far_side_that_never_answers_costs_a_pass_little(project_of, hook, monkeypatch):
    monkeypatch.setattr(notify, "PASS_SECONDS", 0.3)
    project = project_of(settings(to=("webhook", "log"), webhook=WebhookConfig(url=hook.url)))
    hook.wait.clear()
    see(project)
    said = notify.deliver(project)
    assert any("no answer" in line or "channels were slow" in line for line in said)
    assert {one.state for one in outbox(project)} <= {"waiting", "sent"}
    hook.wait.set()


def test_killed_between_sending_and_saying_so_it_is_sent_again_under_the_same_key(
    project_of, hook, monkeypatch
):
    project = project_of(settings(to=("webhook",), webhook=WebhookConfig(url=hook.url)))
    see(project)

    def dies(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(alerts, "update", dies)
        with pytest.raises(KeyboardInterrupt):
            notify.deliver(project)
    notify.deliver(project)
    keys = [headers["Idempotency-Key"] for _, headers, _ in hook.got]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_killed_while_opening_there_is_neither_incident_nor_alert(project_of, monkeypatch):
    project = project_of(settings(to=("log",)))

    def dies(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(operations, "plan_action", dies)
        with pytest.raises(KeyboardInterrupt):
            see(project)
    assert operations.incidents(project.ws) == []
    assert alerts.due(project.ws, ids.now()) == []


def test_digests_wait_for_each_other_and_go_out_together(project_of, hook):
    project = project_of(settings(to=("webhook",), webhook=WebhookConfig(url=hook.url)))
    drift = {"features": [{"feature": "x", "lo": 0.2, "hi": 0.3, "unit": "sd"}]}
    see(project, "data drift", **drift)
    assert notify.deliver(project) == []
    assert hook.got == [], "nobody is woken by a digest"
    alarm = Alarm(kind="data drift", title="y", severity="notice", since=DAY, detail=drift)
    incidents.compare(project, "other", V1, Seen(now=5 * DAY, alarms=[alarm]))
    for incident in operations.incidents(project.ws):
        for one in alerts.of_incident(project.ws, incident.id):
            alerts.update(project.ws, msgspec.structs.replace(one, next_at=0))
    notify.deliver(project)
    ((_, _, body),) = hook.got
    assert json.loads(body)["event"] == "digest"
    assert json.loads(body)["title"] == "2 incidents to look at"
    notify.deliver(project)
    assert len(hook.got) == 1


def test_a_channel_may_want_pages_alone(project_of):
    pages = WebhookConfig(url="http://127.0.0.1:1/", severities=("page",))
    project = project_of(settings(to=("webhook", "log"), webhook=pages))
    see(project, "data drift", features=[{"feature": "x", "lo": 0.2, "hi": 0.3, "unit": "sd"}])
    assert [one.channel for one in outbox(project)] == ["log"]


def test_a_plug_in_is_a_channel_like_any_other(project_of):
    got = []

    class Pager:
        def __init__(self, alerting):
            self.room = alerting.options["pager"]["room"]

        def deliver(self, message):
            got.append((self.room, message.incident))
            return "ok"

    plugins.register("notifiers", "pager", Pager)
    project = project_of(settings(to=("pager",), options={"pager": {"room": "4"}}))
    incident = see(project)
    assert notify.deliver(project) == []
    assert got == [("4", incident.id)]


def test_a_notifier_that_breaks_is_a_failed_delivery(project_of):
    class Broken:
        def __init__(self, alerting):
            pass

        def deliver(self, message):
            raise ZeroDivisionError("oh")

    plugins.register("notifiers", "broken", Broken)
    project = project_of(settings(to=("broken", "log")))
    see(project)
    (said,) = notify.deliver(project)
    assert "ZeroDivisionError: oh" in said
    assert {one.channel: one.state for one in outbox(project)} == {
        "broken": "waiting", "log": "sent"
    }  # fmt: skip
