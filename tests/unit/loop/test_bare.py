"""A server with nothing to steer loads neither the database nor the controller, and notices when it has."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.loop.bare import is_bare
from trimtab.loop.project import apply, open_project
from trimtab.store import operations, place, runs
from trimtab.store.records import Action, Endpoint

FILE = '[project]\nname = "demo"\n'


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trimtab.toml").write_text(FILE)
    opened = open_project(tmp_path)
    apply(opened)
    yield opened
    opened.ws.close()


def asked(project):
    return is_bare(project.ws.root, project.config)


def test_a_folder_without_a_store_is_bare(tmp_path):
    (tmp_path / "trimtab.toml").write_text(FILE)
    found = project_file.load(tmp_path / "trimtab.toml")
    assert is_bare(place.made(tmp_path), found)
    assert not (tmp_path / ".trimtab/store.db").exists()


def test_runs_of_clients_leave_it_bare(project):
    assert asked(project)
    runs.start(project.ws, "run", "of a client", pid=0)
    assert asked(project)


@pytest.mark.parametrize(
    "more",
    ['[retrain]\non = ["rows:10"]\n', '[trigger.night]\non = ["cron:0 3 * * *"]\nflow = "a:b"\n'],
)
def test_what_may_come_due_is_not(project, more):
    config = project_file.parse(tomllib.loads(FILE + more))
    assert not is_bare(project.ws.root, config)


def _endpoint(project):
    operations.save_endpoint(
        project.ws, Endpoint(name="demo", target="local", state="ready", created_at=1)
    )


def _action(project):
    operations.plan_action(project.ws, Action(id=ids.new_id(), kind="fire", key="k", state="done"))


def _run(project):
    runs.start(project.ws, "run", "of a process")


def _spool(project):
    folder = project.ws.root / "runs"
    folder.mkdir()
    (folder / "x.spool").write_bytes(b"")


def _newer_file(project):
    file = project.path.read_text().replace("demo", 'demo"\npurpose = "more')
    project.path.write_text(file)
    apply(open_project(project.folder))


def _older_schema(project):
    with project.ws.transaction() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")


def _damage(project):
    project.ws.close()
    (project.ws.root / "store.db").write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    "change", [_endpoint, _action, _run, _spool, _newer_file, _older_schema, _damage]
)
def test_whatever_there_is_to_look_at_is_noticed(project, change):
    change(project)
    assert not asked(project)


@pytest.mark.slow
def test_a_server_that_nobody_asked_for_anything_has_loaded_little(tmp_path):
    (tmp_path / "trimtab.toml").write_text(FILE)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "import trimtab.cli.up\nfrom trimtab import config\nfrom trimtab.loop.bare import is_bare\n"
        "from trimtab.server import process, ticking\nfrom trimtab.server.app import build\n"
        "from trimtab.server.opened import Opened\n"
        "path = Path(sys.argv[1], 'trimtab.toml')\nopened = Opened(path, config.load(path))\n"
        "build(opened)\nassert is_bare(path.parent / '.trimtab', opened.config)\n"
        "heavy = {'sqlalchemy', 'alembic', 'numpy', 'polars', 'starlette', 'jinja2', 'zstandard'}\n"
        "print(*sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
