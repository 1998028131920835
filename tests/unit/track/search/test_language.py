import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.track.search import order
from trimtab.track.search.fault import QueryError
from trimtab.track.search.parse import field, parse
from trimtab.track.search.tree import (
    And,
    Compare,
    Field,
    Like,
    Not,
    Now,
    Null,
    Or,
    Span,
    written,
)


@given(data=st.data())
def test_a_tree_that_is_written_is_read_as_the_same(trees, data):
    tree = data.draw(trees)
    assert parse(written(tree)) == tree


def test_whole_numbers_are_exact():
    found = parse("metrics.auc = 9007199254740993")
    assert found == Compare(Field("metric", "auc"), "=", 2**53 + 1)
    assert written(found).endswith(" 9007199254740993")


WORDS = st.sampled_from(
    ["metrics.", "params", "`a`", ".", "AND", "or", "NOT", "(", ")", "'x'", "1e5", "7d", "now()", "-",
     "=", "IN", ",", "IS", "NULL", "LIKE", "status", "started", "'", '"', "\n", "\x00", "é", "٣"]
)  # fmt: skip


@given(st.text(max_size=60) | st.lists(WORDS, max_size=12).map(" ".join))
@example("(" * 500)
@example("NOT " * 500)
@example("metrics.a = 1e999")
@example("started > '0001-01-01T00:00:00+23:59'")
@example("started > now() - 99999999999999999999w")
@example("metrics.`` = 1")
@example("metrics.a = ٣")
@example("a" * 30_000)
def test_any_text_is_a_filter_and_an_order_or_is_refused_by_name(text):
    for read in (parse, order.read, field):
        refused = []
        try:
            read(text)
        except QueryError as error:
            refused.append(error)
        assert all(0 <= error.at <= len(text) for error in refused)
        assert all(error.message.splitlines()[-1].strip() == "^" for error in refused)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("metric.a > 1", Compare(Field("metric", "a"), ">", 1)),
        ("metrics.val/loss<=.5", Compare(Field("metric", "val/loss"), "<=", 0.5)),
        ("params.`a ``b`.c = 'it''s'", Compare(Field("param", "a `b.c"), "=", "it's")),
        ('params."a b" = "c"', Compare(Field("param", "a b"), "=", "c")),
        ("run_id = 'x'", Compare(Field("attribute", "id"), "=", "x")),
        ("attributes.`run name` = 'x'", Compare(Field("attribute", "name"), "=", "x")),
        ("status != 'FINISHED'", Compare(Field("attribute", "status"), "!=", "done")),
        ("duration > 5m", Compare(Field("attribute", "duration"), ">", Span(5, "m"))),
        ("started>now()-7d", Compare(Field("attribute", "started"), ">", Now(-1, Span(7, "d")))),
        ("params.x = true", Compare(Field("param", "x"), "=", "true")),
        ("dataset.name ilike 'L%'", Like(Field("data", "name"), "L%", is_case_sensitive=False)),
        ("tags.k is not null", Null(Field("tag", "k"), negated=True)),
    ],
)
def test_what_is_written_means(text, tree):
    assert parse(text) == tree


def test_not_binds_closest_then_and_then_or():
    a, b, c = (Compare(Field("metric", key), "=", 1) for key in "abc")
    one, two, three = "metrics.a = 1", "metrics.b = 1", "metrics.c = 1"
    assert parse(f"NOT {one} AND {two} OR {three}") == Or((And((Not(a), b)), c))
    assert parse(f"NOT ({one} AND ({two} OR {three}))") == Not(And((a, Or((b, c)))))


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("metrics.x >> 3", 11, "a value is expected", ""),
        ("statuss = 'done'", 0, "no 'statuss'", "'status'"),
        ("metrics.a > 1 adn metrics.b > 2", 14, "AND or OR", "'AND'"),
        ("status = 'finsihed'", 9, "no status 'finsihed'", "'finished'"),
        ("metrcs.a > 1", 0, "no 'metrcs'", "'metrics'"),
        ("metrics.a > 'x'", 12, "a number is expected", ""),
        ("started > '2026-13-01'", 10, "no date", "'2026-01-31'"),
        ("duration > 5y", 11, "no unit 'y'", "ms, s"),
        ("metrics.a LIKE 'x'", 10, "metrics.a is none", ""),
        ("status > 'done'", 7, "no order", ""),
        ("data.nme = 'x'", 0, "no 'nme'", "'name'"),
        ("(metrics.a > 1", 14, "closing parenthesis", ""),
        ("metrics.a > 1 && metrics.b > 1", 14, "'&' means nothing", "AND"),
        ("params.a = 'b", 11, "never closed", ""),
        ("auc > 1", 0, "no 'auc'", "metrics.auc"),
        ("params.a = b", 11, "a value is expected", "'b'"),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(text, at, what, hint):
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.at == at
    assert what in caught.value.message
    assert hint in caught.value.hint
    line, caret = caught.value.message.splitlines()[-2:]
    assert line[caret.index("^") :].startswith(text[at:][:20].rstrip())


def test_a_place_far_into_a_long_filter_is_shown_with_its_surroundings():
    text = " AND ".join(["metrics.a > 1"] * 200) + " AND metrics.b >> 2"
    with pytest.raises(QueryError) as caught:
        parse(text)
    _, line, caret = caught.value.message.splitlines()
    assert len(line) < 100
    assert line[caret.index("^")] == ">"


def test_an_order_is_read_with_its_directions():
    found = order.read("metrics.`a, b` desc, params.depth ASC, started")
    assert [str(one) for one in found] == ["metrics.`a, b` desc", "params.depth", "started"]


@pytest.mark.parametrize(
    "text",
    ["metrics.a down", "metrics.a, metrics.a desc", "a,", ",started", "data", "started desc asc"],
)
def test_an_order_that_is_none_is_refused(text):
    with pytest.raises(QueryError):
        order.read(text)
