import base64
import gc
import math
import operator
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import ids
from trimtab.errors import UsageError
from trimtab.store import metrics, runs, tracked, versions
from trimtab.store.records import Point
from trimtab.store.series import compaction, newest
from trimtab.store.workspace import open_workspace
from trimtab.track.search import evaluate, finding, index, moments, order
from trimtab.track.search import table as tables
from trimtab.track.search.fault import QueryError
from trimtab.track.search.finding import Wanted
from trimtab.track.search.order import By
from trimtab.track.search.pattern import like
from trimtab.track.search.tree import (
    Among,
    And,
    Between,
    Compare,
    Field,
    Like,
    Not,
    Now,
    Null,
    Or,
    Span,
)

NOW = 1_800_000_000_000_000
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def flat(value, before=""):
    found = {}
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            found |= flat(inner, f"{before}{key}.")
        elif inner is not None:
            text = {True: "true", False: "false"}.get(inner) if isinstance(inner, bool) else None
            found[before + key] = text or str(inner).replace(" ", "").replace("'", '"')
    return found


def holdings(ws, run, field):
    """Everything that a run of the unchanging workspace has of a field."""
    if (run.id, field) not in known:
        known[run.id, field] = told(ws, run, field)
    return known[run.id, field]


known = {}


def told(ws, run, field):
    """The same, of the store."""
    found = {"metric": metrics.latest(ws, run.id), "param": flat(run.params), "tag": flat(run.tags)}
    if field.entity in found:
        mine = found[field.entity]
        return [mine[field.key]] if field.key in mine else []
    links = runs.links(ws, run.id)
    if field.entity == "data" or field.key == "made":
        by = "out" if field.key == "made" else "in"
        parts = []
        for link in links:
            if link.direction == by:
                known = versions.find(ws, "data")
                labels = [one.label for one in known if one.digest == link.digest]
                parts += [("name", link.name), ("digest", link.digest)]
                parts += [("version", one) for one in labels]
        wanted = field.key if field.entity == "data" else ""
        return [text for part, text in parts if wanted in ("", part)]
    special = {
        "started": run.started_at,
        "ended": run.ended_at,
        "duration": run.ended_at - run.started_at if run.ended_at else 0,
        "peak_memory": run.peak_bytes,
        "error": ": ".join(run.error[key] for key in ("type", "message")) if run.error else "",
    }
    value = special[field.key] if field.key in special else getattr(run, field.key)
    return [value] if value else []


def literal(field, value):
    if field.key in ("started", "ended") and field.entity == "attribute":
        if isinstance(value, str):
            return moments.read(value)
        if isinstance(value, Now):
            return NOW + value.sign * (value.span.micros if value.span else 0)
        return value * 1000.0
    if isinstance(value, Span):
        return value.micros
    return value * 1e6 if field == Field("attribute", "duration") else value


def beside(mine, wanted):
    """What a run has, as what it is compared with: None where that cannot be."""
    if isinstance(wanted, str):
        return mine if isinstance(mine, str) else None
    if isinstance(mine, str):
        try:
            return float(mine) if mine.strip() == mine and mine[:1] not in "ni" else None
        except ValueError:
            return None
    return mine


def satisfies(ws, run, node):
    """The same question, asked of one run by the plainest code."""
    match node:
        case And(parts):
            return all(satisfies(ws, run, part) for part in parts)
        case Or(parts):
            return any(satisfies(ws, run, part) for part in parts)
        case Not(inner):
            return not satisfies(ws, run, inner)
    return fits(ws, run, node)


def fits(ws, run, node):
    """One condition."""
    field = node.field
    has = holdings(ws, run, field)
    if field.entity in ("tag", "param") and any(one == "" for one in has):
        raise AssertionError("no run has an empty value")

    def compare(op, value):
        wanted = literal(field, value)
        pairs = [(beside(mine, wanted), wanted) for mine in has]
        return any(mine is not None and COMPARE[op](mine, one) for mine, one in pairs)

    def comparable(value):
        return any(beside(mine, literal(field, value)) is not None for mine in has)

    if isinstance(node, Null):
        return bool(has) == node.negated
    match node:
        case Compare(_, op, value):
            return compare(op, value)
        case Like(_, pattern, exact, negated):
            test = like(pattern, is_case_sensitive=exact)
            return any(isinstance(one, str) and test(one) != negated for one in has)
        case Between(_, low, high, negated):
            inside = compare(">=", low) and compare("<=", high)
            return comparable(low) and not inside if negated else inside
        case Among(_, values, negated):
            if not negated:
                return any(compare("=", value) for value in values)
            if field.entity == "data" or field.key == "made":
                return any(one not in values for one in has)
            return bool(has) and not any(compare("=", value) for value in values)
    raise TypeError(node)


@pytest.mark.slow
@given(data=st.data())
def test_the_columns_answer_as_the_plainest_code_would(ws, trees, data):
    tree = data.draw(trees)
    table = index.table(ws)
    found = {table.records[row].id for row in np.flatnonzero(evaluate.keep(table, tree, NOW))}
    everything = runs.find(ws, limit=1000)
    assert found == {run.id for run in everything if satisfies(ws, run, tree)}


FIELDS = st.sampled_from(
    [
        Field("metric", "auc"),
        Field("metric", "loss"),
        Field("param", "auc"),
        Field("param", "1"),
        Field("param", "model.lr"),
        Field("attribute", "name"),
        Field("attribute", "duration"),
        Field("tag", "absent"),
    ]
)
ORDERS = st.lists(st.builds(By, FIELDS, st.booleans()), max_size=3, unique_by=lambda one: one.field)


def standing(value):
    """The least comes first: numbers, texts, NaN, nothing."""
    if value is None:
        return 3, 0.0, ""
    if isinstance(value, str):
        return 1, 0.0, value
    return (2, 0.0, "") if math.isnan(value) else (0, value, "")


@given(orders=ORDERS)
def test_runs_are_ordered_as_plain_sorting_orders_them(ws, orders):
    table = index.table(ws)
    rows = list(range(len(table)))
    for by in reversed(orders):
        column = table.column(by.field)
        keyed = [(standing(column.value(row)), row) for row in rows]
        there = [pair for pair in keyed if pair[0][0] < 2]
        there.sort(key=lambda pair: pair[0], reverse=by.is_down)
        rest = sorted((pair for pair in keyed if pair[0][0] >= 2), key=lambda pair: pair[0])
        rows = [row for _, row in (*there, *rest)]
    mask = np.ones(len(table), dtype=bool)
    assert order.places(table, tuple(orders), mask).tolist() == rows
    assert order.places(table, tuple(orders), mask, 7).tolist() == rows[:7]


@given(orders=ORDERS, size=st.integers(1, 70))
def test_pages_one_after_the_other_are_the_whole(ws, orders, size):
    wanted = Wanted(where="params.`1` = 6 OR kind != 'flow'", order_by=", ".join(map(str, orders)))
    table, rows = finding.every(ws, wanted)
    found, token = [], ""
    while True:
        page = finding.find(ws, wanted, limit=size, after=token)
        assert page.matched == len(rows)
        found += page.rows
        token = page.next
        if not token:
            break
    assert found == rows.tolist()
    assert page.table is table


def test_a_page_goes_on_where_it_was_though_runs_come_and_go(own, fill):
    fill(own, 12)
    wanted = Wanted(order_by="name desc")
    first = finding.find(own, wanted, limit=5)
    whole, rows = finding.every(own, wanted)
    rest = [whole.records[row].id for row in rows[5:]]
    fill(own, 3, seed=9)
    last = first.table.records[first.rows[-1]].id
    runs.update(own, last, name="0")  # the run that the token names now stands elsewhere
    found = finding.find(own, wanted, limit=50, after=first.next)
    ids_ = [found.table.records[row].id for row in found.rows]
    assert [one for one in ids_ if one in rest] == rest
    assert set(ids_).isdisjoint({first.table.records[row].id for row in first.rows[:-1]})


@pytest.mark.parametrize("token", ["x", "AAAA", "WzEsW11d", "é", "W10", "bnVsbA"])
def test_a_token_that_is_none_is_refused(ws, token):
    with pytest.raises(UsageError, match="token"):
        finding.find(ws, Wanted(), after=token)


def test_a_token_of_another_question_is_refused(ws):
    page = finding.find(ws, Wanted(), limit=3)
    with pytest.raises(UsageError, match="token"):
        finding.find(ws, Wanted(order_by="name"), after=page.next)


def test_what_other_connections_write_is_found_at_once(own):
    run = runs.start(own, "flow", "train", params={"depth": 6})
    ask = Wanted(where="metrics.auc > 0.5 AND params.depth = 6 AND status = 'running'")
    assert finding.find(own, ask).matched == 0
    metrics.append(own, run.id, [Point(key="auc", step=0, time=0, value=0.7)])
    assert finding.find(own, ask).matched == 1
    for step in range(20):
        metrics.append(own, run.id, [Point(key="auc", step=step + 1, time=0, value=0.1)])
    assert finding.find(own, ask).matched == 0
    assert compaction.tidy(own, run=run.id) > 0
    metrics.append(own, run.id, [Point(key="auc", step=0, time=9, value=0.9)])
    assert finding.find(own, ask).matched == 0
    metrics.append(own, run.id, [Point(key="auc", step=99, time=9, value=0.9)])
    assert finding.find(own, ask).matched == 1
    runs.update(own, run.id, params={"depth": 7})
    assert finding.find(own, ask).matched == 0
    runs.update(own, run.id, params={"depth": 6})
    runs.finish(own, run.id, "done")
    assert finding.find(own, ask).matched == 0


def test_data_that_is_linked_later_is_found(own):
    run = runs.start(own, "flow", "train")
    ask = Wanted(where="data.version = 'loans@v1'")
    assert finding.find(own, ask).matched == 0
    digest = own.blobs.put(b"rows")
    runs.link(own, run.id, "in", "loans", digest)
    assert finding.find(own, Wanted(where="data = 'loans'")).matched == 1
    assert finding.find(own, ask).matched == 0
    versions.add(own, "data", "loans", digest)
    assert finding.find(own, ask).matched == 1


def test_a_table_is_kept_while_nothing_is_committed_and_its_columns_where_they_hold(own, fill):
    made = fill(own, 5)
    field, other = Field("param", "auc"), Field("attribute", "name")
    first = index.table(own)
    column, name = first.any_column(field), first.any_column(other)
    assert index.table(own) is first
    runs.update(own, made[0], name="renamed")
    second = index.table(own)
    assert second is not first
    assert second.any_column(field) is column
    assert second.any_column(other) is not name


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(kind="trial"),
        Wanted(parent="", status="done", name="fit"),
        Wanted(deleted=True),
    ],
    ids=["all", "kind", "several", "deleted"],
)
def test_the_newest_are_the_same_with_a_table_and_without(own, fill, wanted):
    made = fill(own, 30)
    row = {"run": made[3], "experiment": 0, "stage": "deleted", "body": {}}
    tracked.save(own, "tracked_runs", [row])
    before = finding.page(own, wanted, limit=4)
    assert not index.is_held(own)
    rest = finding.page(own, wanted, limit=50, after=before.next) if before.next else None
    assert index.is_held(own) == bool(before.next)
    finding.find(own, wanted)
    after = finding.page(own, wanted, limit=4)
    # NaN is unlike itself
    assert repr(after) == repr(before)
    ids_ = [one.id for one in (*before.runs, *(rest.runs if rest else []))]
    page = finding.find(own, wanted, limit=50)
    assert ids_ == [page.table.records[at].id for at in page.rows]


def test_what_a_transaction_takes_back_was_never_found_outside(own):
    runs.start(own, "run", "kept")
    assert finding.find(own, Wanted()).matched == 1
    with pytest.raises(RuntimeError), own.transaction():
        runs.start(own, "run", "undone")
        assert finding.find(own, Wanted()).matched == 2
        raise RuntimeError
    assert finding.find(own, Wanted()).matched == 1
    with own.transaction():
        runs.start(own, "run", "done")
        assert finding.find(own, Wanted()).matched == 2
    assert finding.find(own, Wanted()).matched == 2


def test_many_threads_find_what_another_writes(own):
    def ask(_):
        return finding.find(own, Wanted(where="metrics.auc >= 0 OR name = 'a'")).matched

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            run = runs.start(own, "run", "a")
            metrics.append(own, run.id, [Point(key="auc", step=0, time=0, value=1.0)])
            assert set(pool.map(ask, range(8))) == {number + 1}


def test_runs_that_a_client_deleted_are_listed_only_where_they_are_asked_for(own):
    kept, gone = (runs.start(own, "run", name).id for name in ("kept", "gone"))
    row = {"run": gone, "experiment": 0, "stage": "deleted", "body": {}}
    tracked.save(own, "tracked_runs", [row])
    page = finding.find(own, Wanted())
    assert [page.table.records[row].id for row in page.rows] == [kept]
    assert finding.find(own, Wanted(deleted=True)).matched == 2
    tracked.save(own, "tracked_runs", [{**row, "stage": "active"}])
    assert finding.find(own, Wanted()).matched == 2


def test_a_key_that_no_run_has_is_noted_with_the_nearest(ws):
    page = finding.find(ws, Wanted(where="metrics.aux > 1 AND params.auc = 6"))
    assert page.notes == ["no run has metrics.aux: did you mean 'auc'?"]


def test_of_many_keys_that_no_run_has_the_first_are_noted(ws):
    where = " OR ".join(f"params.p{number} = 1" for number in range(900))
    notes = finding.find(ws, Wanted(where=where)).notes
    assert len(notes) == 6
    assert notes[0].startswith("no run has params.p0")
    assert notes[-1] == "and 895 more fields that no run has"


def test_an_empty_project_has_no_runs(own):
    page = finding.find(own, Wanted(where="metrics.a > 1 OR name LIKE 'x%'", order_by="metrics.a"))
    assert (page.rows, page.matched, page.next) == ([], 0, "")


def test_a_wrong_filter_is_refused_by_name(ws):
    with pytest.raises(QueryError):
        finding.find(ws, Wanted(where="metrics.auc ="))


def test_moments_are_those_of_the_clock(own):
    runs.start(own, "run", "now")
    assert finding.find(own, Wanted(where="started > now() - 1h")).matched == 1
    assert finding.find(own, Wanted(where="started > now() + 1h")).matched == 0
    later = ids.to_datetime(ids.now() + 86_400_000_000).date().isoformat()
    assert finding.find(own, Wanted(where=f"started < '{later}'")).matched == 1


@pytest.mark.parametrize("field", [Field("attribute", "made"), Field("data", "")])
def test_what_is_linked_while_the_links_are_read_is_found(own, fill, field):
    run = fill(own, 3)[0]
    table = index.table(own)
    held = index._indexes[own.engine][own.project]
    real = held.used

    def used():
        found = real()
        runs.link(own, run, "in" if field.entity == "data" else "out", "late", own.blobs.put(b"x"))
        index.table(own)
        return found

    held.used = used
    table.any_column(field)
    wanted = Wanted(where=f"{field.key or 'data'} = 'late'")
    assert finding.find(own, wanted).matched == 1


def test_what_is_compacted_while_the_series_are_read_is_not_lost(own, monkeypatch):
    run = runs.start(own, "run", "fit")
    for step in range(9):
        metrics.append(own, run.id, [Point(key="auc", step=step, time=0, value=step)])
    asked = []

    def later(real):
        def query(*args):
            asked.append(real)
            if len(asked) == 2:
                assert compaction.tidy(own, run=run.id) > 0
            return real(*args)

        return query

    for name in ("_batches", "_summaries"):
        monkeypatch.setattr(newest, name, later(getattr(newest, name)))
    assert finding.find(own, Wanted(where="metrics.auc = 8")).matched == 1


def test_columns_of_any_number_of_keys_do_not_pile_up(own, fill, monkeypatch):
    fill(own, 3)
    monkeypatch.setattr(tables, "_CELLS", 3)
    where = " OR ".join(f"params.p{number} = 1" for number in range(100))
    assert finding.find(own, Wanted(where=where)).matched == 0
    assert len(index.table(own)._columns) <= tables._FEWEST


def test_keys_that_come_one_by_one_do_not_pile_up(own, monkeypatch):
    monkeypatch.setattr(index, "_SHAPES", 5)
    run = runs.start(own, "run", "fit")
    params = {}
    for number in range(30):
        params[f"p{number}"] = number
        runs.update(own, run.id, params=params)
        assert finding.find(own, Wanted(where=f"params.p{number} = {number}")).matched == 1
    assert len(index._indexes[own.engine][own.project]._shapes) < 10


@pytest.mark.slow
def test_a_table_goes_with_its_workspace(tmp_path):
    ws = open_workspace(tmp_path, "demo")
    runs.start(ws, "run", "fit")
    finding.find(ws, Wanted(where="metrics.auc > 0"))
    engine = weakref.ref(ws.engine)
    ws.close()
    del ws
    for _ in range(2):  # a connection that is collected hands itself back to its pool once more
        gc.collect()
    assert engine() is None


def test_a_token_of_endless_brackets_is_refused(ws):
    plain = b"[1," + b"[" * 5_000 + b"]" * 5_000 + b"]"
    with pytest.raises(UsageError, match="token"):
        finding.find(ws, Wanted(), limit=1, after=base64.urlsafe_b64encode(plain).decode())


def test_what_is_no_text_is_asked_for_as_well_as_anything(ws):
    assert finding.find(ws, Wanted(where="params.auc != '\udcff'"), limit=1).next


def test_an_order_of_spaces_takes_no_time(ws):
    with pytest.raises(QueryError, match="more than the name"):
        order.read("started" + " " * 19_000 + "b")
    with pytest.raises(QueryError, match="at most 20,000"):
        order.read("started" + " " * 90_000 + "b")


@pytest.mark.parametrize("glue", [" AND ", " OR ", " OR NOT "])
def test_a_filter_looks_through_texts_so_often_and_no_more(ws, glue):
    finding.find(ws, Wanted(where=glue.join(["name LIKE '%a%'", "name ILIKE '_'"] * 50)), limit=1)
    with pytest.raises(QueryError, match="at most 100 LIKEs") as caught:
        finding.find(ws, Wanted(where=glue.join(["name LIKE '%a%'"] * 101)), limit=1)
    assert "IN" in caught.value.hint
