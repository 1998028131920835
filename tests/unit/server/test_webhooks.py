import pytest

from trimtab import config
from trimtab.errors import ConfigError, ConflictError, NotFoundError, RefusedError, UsageError
from trimtab.loop.project import Project
from trimtab.server import webhooks
from trimtab.store import operations
from trimtab.store.workspace import open_workspace

NOW = 1_800_000_000.0
BODY = b'{"build": 7}'


@pytest.fixture
def project(tmp_path):
    raw = {
        "project": {"name": "loans"},
        "trigger": {
            "built": {"on": ["webhook"], "secret": "secret.txt", "overlap": "queue"},
            "nightly": {"on": ["cron:0 3 * * *"], "at_most": "1/day"},
        },
    }
    (tmp_path / "secret.txt").write_text(" s3cret\n")
    ws = open_workspace(tmp_path, "loans")
    yield Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)
    ws.close()


def headers(**changed):
    stamp = changed.pop("stamp", str(int(NOW)))
    found = {
        "x-trimtab-timestamp": stamp,
        "x-trimtab-signature": webhooks.sign(b"s3cret", stamp, changed.pop("body", BODY)),
        "idempotency-key": "build-7",
    }
    return {k: v for k, v in (found | changed).items() if v is not None}


def test_a_signed_call_fires_once_per_key(project):
    first, is_new = webhooks.fire(project, "built", headers(), BODY, now=NOW)
    again, is_newer = webhooks.fire(project, "built", headers(), BODY, now=NOW + 200)
    assert (is_new, is_newer) == (True, False)
    assert first.actions[0].id == again.actions[0].id
    (row,) = operations.actions(project.ws, kind="fire")
    assert (row.state, row.cause["kind"]) == ("planned", "webhook")
    assert BODY.decode() not in str(row.cause)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (headers(body=b"other"), RefusedError, "signature does not hold"),
        (headers(**{"x-trimtab-signature": None}), RefusedError, "signature does not hold"),
        (headers(**{"x-trimtab-signature": "sha256=ä"}), RefusedError, "signature does not hold"),
        (headers(stamp=str(int(NOW) - 301)), RefusedError, "timestamp is not of now"),
        (headers(stamp="soon"), RefusedError, "timestamp is not of now"),
        (headers(**{"x-trimtab-timestamp": None}), RefusedError, "timestamp is not of now"),
        (headers(**{"idempotency-key": None}), UsageError, "idempotency-key"),
        (headers(**{"idempotency-key": "x" * 201}), UsageError, "idempotency-key"),
    ],
)
def test_what_is_not_signed_fires_nothing(project, given, error, words):
    with pytest.raises(error, match=words):
        webhooks.fire(project, "built", given, BODY, now=NOW)
    assert operations.actions(project.ws) == []


def test_only_triggers_that_listen(project, tmp_path):
    with pytest.raises(RefusedError, match="starts on no webhook"):
        webhooks.fire(project, "nightly", headers(), BODY, now=NOW)
    with pytest.raises(NotFoundError):
        webhooks.fire(project, "other", headers(), BODY, now=NOW)
    (tmp_path / "secret.txt").write_text("")
    with pytest.raises(ConfigError, match="holds no secret"):
        webhooks.fire(project, "built", headers(), BODY, now=NOW)


def test_a_brake_holds_a_webhook(tmp_path, project):
    raw = {"project": {"name": "loans"}, "trigger": {
        "built": {"on": ["webhook"], "secret": "secret.txt", "at_most": "1/day", "overlap": "queue"}
    }}  # fmt: skip
    limited = Project(path=project.path, config=config.parse(raw), ws=project.ws)
    webhooks.fire(limited, "built", headers(), BODY, now=NOW)
    with pytest.raises(ConflictError, match="at_most"):
        webhooks.fire(limited, "built", headers(**{"idempotency-key": "b"}), BODY, now=NOW)
