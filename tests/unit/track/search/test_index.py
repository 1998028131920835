"""What the index holds after any interleaving of writers is what one made anew would hold."""

import random
import threading
from unittest.mock import patch

import pytest

from trimtab import ids
from trimtab.store import changes, deleted, metrics, runs, tables, tracked, versions
from trimtab.store.records import Point
from trimtab.store.series import compaction
from trimtab.store.workspace import open_workspace
from trimtab.track import collect
from trimtab.track.search import finding, index, table
from trimtab.track.search.columns import Several
from trimtab.track.search.finding import Wanted
from trimtab.track.search.index import Index
from trimtab.track.search.tree import Field

FIELDS = [
    *(Field("metric", key) for key in ("auc", "loss", "absent")),
    *(Field("param", key) for key in ("depth", "model.lr", "word")),
    Field("tag", "team"),
    *(Field("attribute", key) for key in ("id", "name", "status", "started", "ended", "duration")),
    *(Field("attribute", key) for key in ("error", "peak_memory", "made")),
    *(Field("data", key) for key in ("", "name", "version")),
]
WORDS = ["a", "b", "10", "9.5", "é", ""]


def held(found, field):
    """What each row of a table has of a field."""
    column = found.any_column(field)
    if isinstance(column, Several):
        mine = [[] for _ in found.records]
        for row, code in zip(column.row.tolist(), column.code.tolist(), strict=True):
            mine[row].append(column.words[code])
        return [sorted(one) for one in mine]
    assert list(column.words) == sorted(set(column.words))
    return [
        (repr(column.value(row)), column.text(row), bool(column.present[row]), int(column.code[row]) < 0)
        for row in range(len(found))
    ]  # fmt: skip


def check(ws):
    """The index of a workspace beside one that is made now."""
    mine, anew = index.table(ws), Index()
    other = anew.table(ws)
    assert mine.records == other.records
    assert mine.deleted.tolist() == other.deleted.tolist()
    for field in FIELDS:
        assert held(mine, field) == held(other, field), field
    assert [mine.row(one.id) for one in mine.records] == list(range(len(mine)))


def act(draw, ws, made):
    """One change, by one of two writers."""
    what = draw.choice(sorted(ACTS))
    if what == "start" or not made:
        params = {
            key: draw.choice(WORDS) for key in draw.sample(["depth", "word"], draw.randint(0, 2))
        }
        made.append(runs.start(ws, "run", draw.choice(["fit", "a"]), params=params).id)
        return
    run = draw.choice(made)
    ACTS[what](draw, ws, run, made)


def points(draw, ws, run, _made):
    value = draw.choice([0.0, -0.0, 1.5, float("nan"), float("inf")])
    step = draw.randint(0, 3)
    metrics.append(
        ws, run, [Point(key=key, step=step, time=step, value=value) for key in ("auc", "loss")]
    )


def link(draw, ws, run, _made):
    direction = draw.choice(["in", "out"])
    runs.link(ws, run, direction, draw.choice(["a", "rows"]), ws.blobs.put(b"rows"))


def tracked_row(draw, ws, run, _made):
    body = {"inputs": [{"dataset": {"name": draw.choice(WORDS), "digest": "d"}}]}
    stage = draw.choice(["active", "deleted"])
    tracked.save(ws, "tracked_runs", [{"run": run, "experiment": 0, "stage": stage, "body": body}])


def begin_again(draw, ws, run, _made):
    runs.update(ws, run, started_at=draw.randint(1, 5), params={"model": {"lr": 0.5}})


def undone(draw, ws, run, made):
    with pytest.raises(KeyboardInterrupt), ws.transaction():
        runs.update(ws, run, name="undone")
        index.table(ws)  # what it sees nobody else shall see
        raise KeyboardInterrupt


def gone(draw, ws, run, made):
    deleted.delete(ws, [run])
    collect.collect(ws, ids.now())
    made[:] = [one.id for one in runs.find(ws, limit=1000)]


ACTS = {
    "start": None,
    "points": points,
    "link": link,
    "tracked": tracked_row,
    "again": begin_again,
    "undone": undone,
    "finish": lambda _, ws, run, __: runs.finish(ws, run, "failed", error={"type": "E", "message": run}),
    "rename": lambda draw, ws, run, _: runs.update(ws, run, name=draw.choice(WORDS)),
    "beat": lambda _, ws, run, __: runs.update(ws, run, heartbeat_at=9, peak_bytes=7),
    "tag": lambda draw, ws, run, _: runs.update(ws, run, tags={"team": draw.choice(WORDS)}),
    "delete": lambda _, ws, run, __: deleted.delete(ws, [run]),
    "restore": lambda _, ws, run, __: deleted.restore(ws, [run]),
    "compact": lambda _, ws, run, __: compaction.tidy(ws, run=run),
    "version": lambda _, ws, __, ___: versions.add(ws, "data", "loans", ws.blobs.put(b"rows")),
    "gone": gone,
    "forget": lambda _, ws, __, ___: forget(ws),
}  # fmt: skip


def forget(ws):
    """What the database noted long ago goes."""
    with ws.transaction() as tx:
        tx.exec_driver_sql("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_index_is_what_one_made_anew_would_be(tmp_path, seed):
    one, two = open_workspace(tmp_path, "demo"), open_workspace(tmp_path, "demo")
    stranger = open_workspace(tmp_path, "other")
    draw = random.Random(seed)
    made = []
    few = [0, 1, 500][seed % 3]
    with patch.object(index, "_FEW", few), patch.object(table, "_FEW", few):
        for _ in range(50):
            for _ in range(draw.choice([0, 1, 1, 1, 2, 5])):
                act(draw, draw.choice([one, two]), made)
            runs.start(stranger, "run", "theirs")
            check(one)
    for ws in (one, two, stranger):
        ws.close()


@pytest.mark.slow
def test_what_two_writers_commit_while_somebody_asks_is_never_missed(tmp_path):
    workspaces = [open_workspace(tmp_path, "demo") for _ in range(3)]
    asker, *writers = workspaces

    def write(ws):
        for number in range(30):
            run = runs.start(ws, "run", "fit", params={"depth": number})
            metrics.append(ws, run.id, [Point(key="auc", step=0, time=0, value=number)])
            runs.finish(ws, run.id, "done")
            if number % 3 == 0:
                deleted.delete(ws, [run.id])
            if number % 6 == 0:
                deleted.restore(ws, [run.id])

    threads = [threading.Thread(target=write, args=(ws,)) for ws in writers]
    for thread in threads:
        thread.start()
    wanted = Wanted(where="metrics.auc >= 0 AND params.depth >= 0 AND status = 'done'")
    seen = [0]
    while any(thread.is_alive() for thread in threads):
        seen.append(finding.find(asker, wanted).matched)
    for thread in threads:
        thread.join()
    assert finding.find(asker, wanted).matched == 2 * 25
    check(asker)
    for ws in workspaces:
        ws.close()


def test_only_what_has_changed_is_read_again(own, fill, monkeypatch):
    made = fill(own, 20)
    wanted = Wanted(where="metrics.auc > 0 AND data = 'a'", order_by="params.auc")
    finding.find(own, wanted)
    asked = []
    for module, name in ((index.listing, "rows"), (index.listing, "latest")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda db, ws, some=None, real=real: asked.append(some) or real(db, ws, some)
        )  # fmt: skip
    metrics.append(own, made[3], [Point(key="auc", step=9, time=9, value=9.0)])
    finding.find(own, wanted)
    runs.update(own, made[4], name="again")
    finding.find(own, wanted)
    finding.find(own, wanted)
    assert [sorted(one) for one in asked] == [[], [made[3]], [made[4]]]


def test_a_beat_of_the_heart_is_no_change(own, fill):
    made = fill(own, 2)
    before = index.table(own)
    runs.update(own, made[0], heartbeat_at=12)
    assert index.table(own) is before


@pytest.mark.slow
def test_changes_are_kept_until_there_are_many(own):
    run = runs.start(own, "run", "fit").id
    with own.reading() as db:
        early = changes.mark(db)
    with own.transaction() as tx:
        rows = [{"project": own.project, "run": run, "seq": n, "body": b""} for n in range(20_000)]
        tx.execute(tables.metric_batches.insert(), rows)
    with own.reading() as db:
        kept = db.exec_driver_sql("SELECT count(*) FROM changes").scalar()
        late = changes.mark(db)
        assert changes.since(db, own, early) is None
        assert changes.since(db, own, late - 5).points == {run}
        assert not changes.since(db, own, late)
        assert changes.since(db, own, late + 1) is None  # of a store that was put in its place
    assert 16_384 <= kept < 16_384 + 1_024


def test_a_store_of_the_version_before_notes_changes_once_it_is_migrated(tmp_path, fill):
    made = open_workspace(tmp_path, "demo")
    run = fill(made, 5)[0]
    with made.transaction() as tx:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for name in tx.exec_driver_sql(query).scalars().all():
            tx.exec_driver_sql(f"DROP TRIGGER {name}")
        tx.exec_driver_sql("DROP TABLE changes")
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0005'")
    made.close()
    ws = open_workspace(tmp_path, "demo")
    check(ws)
    runs.update(ws, run, name="since")
    check(ws)
    assert finding.find(ws, Wanted(where="name = 'since'")).matched == 1
    ws.close()


@pytest.mark.parametrize("most", [1, 1_000], ids=["too many", "few"])
def test_words_that_no_run_has_any_more_do_not_pile_up(own, monkeypatch, most):
    monkeypatch.setattr(table, "_WORDS", most)
    run = runs.start(own, "run", "fit").id
    for number in range(20):
        runs.update(own, run, tags={"beat": f"at {number}"})
        assert finding.find(own, Wanted(where=f"tags.beat = 'at {number}'")).matched == 1
    words = index.table(own).column(Field("tag", "beat")).words
    assert len(words) <= max(4, 20 if most > 1 else 0)
