"""Tables of every format, scored whole, in part, and after a kill."""

import sqlite3
import sys

import numpy as np
import polars as pl
import pytest

from trimtab.deploy.batch import job as batch
from trimtab.deploy.batch import output, query
from trimtab.deploy.batch.manifest import held
from trimtab.errors import (
    ConflictError,
    DataError,
    MissingExtraError,
    NotFoundError,
    RefusedError,
    UsageError,
)


def make(rows: int, start: int = 0) -> pl.DataFrame:
    """Rows that the package answers, with a key and a column that it does not know."""
    numbers = range(start, start + rows)
    return pl.DataFrame(
        {
            "id": [f"a{i:06}" for i in numbers],
            "income": [None if i % 7 == 0 else i / 3 for i in numbers],
            "debt": [(i % 50) / 10 - 2.5 for i in numbers],
            "owner": [None if i % 5 == 0 else i % 2 == 0 for i in numbers],
            "purpose": [["car", "home", "boat"][i % 3] for i in numbers],
            "region": [["n", "s", None][i % 3] for i in numbers],
            "note": ['a "quoted"\nline, with a comma'] * rows,
        }
    )


def expected(frame: pl.DataFrame) -> np.ndarray:
    logit = frame["debt"].to_numpy() + (frame["purpose"] == "car").to_numpy()
    return 1 / (1 + np.exp(-logit))


def write(frame: pl.DataFrame, path):
    {
        ".csv": frame.write_csv,
        ".tsv": lambda to: frame.write_csv(to, separator="\t"),
        ".parquet": frame.write_parquet,
        ".arrow": frame.write_ipc,
        ".ndjson": frame.write_ndjson,
    }[path.suffix](path)
    return path


def read(path) -> pl.DataFrame:
    return {
        ".csv": pl.read_csv,
        ".parquet": pl.read_parquet,
        ".arrow": pl.read_ipc,
        ".ndjson": pl.read_ndjson,
    }[path.suffix](path)


@pytest.mark.parametrize("out", ["csv", "parquet", "arrow", "ndjson"])
@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "arrow", "ndjson"])
def test_every_format_in_and_out(tmp_path, job, form, out):
    frame = make(500)
    source = write(frame, tmp_path / f"in.{form}")
    report = batch.run(job(source, f"out.{out}"))
    found = read(tmp_path / f"out.{out}")
    assert found.columns == ["id", "decision", "score", "model"]
    assert found["id"].to_list() == frame["id"].to_list()
    np.testing.assert_allclose(found["score"].to_numpy(), expected(frame), atol=1e-6)
    assert found["decision"].to_list() == ["yes" if x >= 0.5 else "no" for x in found["score"]]
    assert set(found["model"]) == {"loans@v1"}
    assert (report.rows, report.scored, report.quarantined, report.quarantine) == (500, 500, 0, "")
    assert report.unseen == {"purpose": 166}
    assert sorted(x.name for x in tmp_path.iterdir() if "out" in x.name) == [f"out.{out}"]


@pytest.mark.slow
def test_every_format_gives_the_same_scores(tmp_path, job):
    frame = make(300)
    scores = []
    for form in ("csv", "parquet", "arrow", "ndjson"):
        batch.run(job(write(frame, tmp_path / f"in.{form}"), f"{form}.csv"))
        scores.append((tmp_path / f"{form}.csv").read_bytes())
    assert len(set(scores)) == 1


def test_a_score_is_the_number_that_an_endpoint_gives(tmp_path, job, model):
    frame = make(50)
    batch.run(job(write(frame, tmp_path / "in.csv"), "out.csv"))
    found = read(tmp_path / "out.csv")["score"].to_list()
    assert found == [float(np.float32(x)) for x in found]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path, job):
    folder = tmp_path / "in"
    folder.mkdir()
    write(make(150, 150), folder / "b.csv")
    write(make(150), folder / "a.parquet")
    (folder / "README.md").write_text("no table")
    report = batch.run(job(folder, keep=()))
    found = read(tmp_path / "out.parquet")
    assert report.rows == 300
    assert found.columns == ["file", "row", "decision", "score", "model"]
    assert found["file"].to_list() == ["a.parquet"] * 150 + ["b.csv"] * 150
    assert found["row"].to_list() == [*range(1, 151)] * 2
    np.testing.assert_allclose(found["score"].to_numpy(), expected(make(300)), atol=1e-6)


def test_without_columns_to_keep_the_row_s_number_is_kept(tmp_path, job):
    source = write(make(100), tmp_path / "in.parquet")
    batch.run(job(source, keep=()))
    assert read(tmp_path / "out.parquet")["row"].to_list() == list(range(1, 101))
    batch.run(job(source, keep=(), prefer=("absent",), overwrite=True))
    assert read(tmp_path / "out.parquet").columns[0] == "row"
    batch.run(job(source, keep=(), prefer=("absent", "id"), overwrite=True))
    assert read(tmp_path / "out.parquet").columns[:2] == ["id", "decision"]


def test_a_query_of_sqlite(tmp_path, job):
    frame = make(200)
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("CREATE TABLE t (id, income, debt, owner, purpose, region)")
        database.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)",
            frame.drop("note").rows(),
        )
    database.close()
    source = f"sqlite:///{tmp_path}/crm.db?query=SELECT * FROM t WHERE id < 'a000100' ORDER BY id"
    report = batch.run(job(source))
    assert report.rows == 100
    np.testing.assert_allclose(
        read(tmp_path / "out.parquet")["score"].to_numpy(), expected(frame)[:100], atol=1e-6
    )


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("sqlite:///{0}/crm.db", UsageError, "no query"),
        ("sqlite:///{0}/nothing.db?query=SELECT 1", NotFoundError, "nothing.db"),
        ("sqlite:///{0}/crm.db?query=SELECT nothing FROM t", DataError, "refused the query"),
        ("sqlite:///{0}/crm.db?query=DELETE FROM t", DataError, "readonly"),
        ("sqlite:///{0}/crm.db?query=SELECT * FROM t WHERE 0", DataError, "no rows"),
        ("sqlite:///{0}/crm.db?query=SELECT a, a FROM t", DataError, "two columns"),
        ("sqlite:///{0}/crm.db?query=SELECT x'00' AS a FROM t", DataError, "bytes"),
        ("postgresql://u:secret@h/db", UsageError, "no query"),
    ],
)
def test_a_query_that_cannot_be_read_says_why(tmp_path, job, source, error, said):
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (1)")
    database.close()
    with pytest.raises(error) as raised:
        batch.run(job(source.format(tmp_path)))
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
    assert not output.parts_folder(tmp_path / "out.parquet").exists()


def test_postgresql_without_a_driver_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError) as raised:
        query.spool("postgresql://u:secret@h/db?query=SELECT 1", tmp_path / "x")
    assert "psycopg" in raised.value.hint


def broken_table(frame: pl.DataFrame) -> str:
    lines = frame.drop("note").write_csv().splitlines()
    lines[10] = "a,many,fields"
    lines[20] = lines[20].replace(",", ",x", 1).replace("x,", "x1,", 1)  # income is no number
    lines[30] = "a000029,1,,true,car,n"  # debt is missing
    lines[40] = "a000039,1,1,true,car,west"  # a category that is refused
    lines[50] = "a000049,1,1e60,true,car,n"
    return "\n".join(lines) + "\n"


def test_rows_that_break_the_signature_are_listed_and_the_rest_is_scored(tmp_path, job):
    frame = make(400)
    (tmp_path / "in.csv").write_text(broken_table(frame))
    report = batch.run(job(tmp_path / "in.csv"))
    listed = pl.read_csv(report.quarantine)
    assert report.scored == 395
    assert report.quarantined == 5
    assert listed["row"].to_list() == [10, 20, 30, 40, 50]
    assert set(listed["file"]) == {"in.csv"}
    assert listed["column"].to_list() == ["", "income", "debt", "region", "debt"]
    assert "it has 3 fields, the header has 6" in listed["reason"][0]
    assert "is a text" in listed["reason"][1]
    assert "is null" in listed["reason"][2]
    assert "not trained on" in listed["reason"][3]
    assert "32-bit" in listed["reason"][4]
    assert "west" not in " ".join(listed["reason"])
    left = frame.filter(~pl.int_range(pl.len()).is_in([9, 19, 29, 39, 49]))
    found = read(tmp_path / "out.parquet")
    assert found["id"].to_list() == left["id"].to_list()
    np.testing.assert_allclose(found["score"].to_numpy(), expected(left), atol=1e-6)


def test_bytes_that_are_no_text_and_lines_that_are_no_json_are_listed(tmp_path, job):
    data = make(60).drop("note").write_csv().encode().replace(b"a000030,", b"a\xff0030,")
    (tmp_path / "in.csv").write_bytes(data)
    assert pl.read_csv(batch.run(job(tmp_path / "in.csv")).quarantine)["row"].to_list() == [31]
    lines = make(60).write_ndjson().splitlines()
    lines[3], lines[4], lines[5] = "{", "7", '{"id": "x", "debt": 1}'
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    listed = pl.read_csv(batch.run(job(tmp_path / "in.ndjson", "two.parquet")).quarantine)
    assert listed["row"].to_list() == [4, 5, 6]
    assert listed["reason"][0] == "it is not JSON"
    assert listed["reason"][1] == "it is no JSON object"
    assert listed["column"][2] == "income"


def test_blank_lines_are_no_rows(tmp_path, job):
    text = make(50).drop("note").write_csv()
    (tmp_path / "in.csv").write_text(text.replace("\na000010", "\n\r\n\na000010") + "\n\n")
    assert batch.run(job(tmp_path / "in.csv")).rows == 50


def test_a_table_in_which_every_row_is_wrong_is_refused_with_the_list(tmp_path, job):
    frame = make(300).with_columns(pl.lit("west").alias("region"))
    with pytest.raises(DataError, match="none of 300 rows"):
        batch.run(job(write(frame, tmp_path / "in.parquet")))
    assert pl.read_csv(tmp_path / "out.quarantine.csv").height == 300
    assert not (tmp_path / "out.parquet").exists()


def test_strict_refuses_at_the_first_row(tmp_path, job):
    (tmp_path / "in.csv").write_text(broken_table(make(400)))
    with pytest.raises(RefusedError, match=r"in\.csv row 10: it has 3 fields"):
        batch.run(job(tmp_path / "in.csv", strict=True))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.col("debt").cast(pl.String), "column 'debt' of in.parquet is String"),
        (pl.col("owner").cast(pl.Int8), "takes true and false"),
        (pl.col("debt").alias("purpose"), "column 'purpose' of in.parquet is Float64"),
    ],
)
def test_a_typed_column_of_another_kind_is_refused_as_a_whole(tmp_path, job, change, said):
    frame = make(100).with_columns(change)
    with pytest.raises(DataError, match=said):
        batch.run(job(write(frame, tmp_path / "in.parquet")))


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_a_missing_column_is_refused_before_anything_is_scored(tmp_path, job, form):
    source = write(make(100).drop("debt"), tmp_path / f"in.{form}")
    with pytest.raises(DataError, match="has no column 'debt'"):
        batch.run(job(source))
    assert [x.name for x in tmp_path.iterdir()] == [f"in.{form}"]


def test_what_cannot_be_read_or_written_says_so(tmp_path, job):
    with pytest.raises(NotFoundError, match="no file or folder"):
        batch.run(job(tmp_path / "nothing.csv"))
    write(make(10), tmp_path / "in.csv")
    with pytest.raises(DataError, match="known suffixes|no format"):
        batch.run(job(tmp_path / "in.csv", "out.xlsx"))
    with pytest.raises(NotFoundError, match="no folder"):
        batch.run(job(tmp_path / "in.csv", "there/out.csv"))
    (tmp_path / "half.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(DataError, match="not a whole Parquet"):
        batch.run(job(tmp_path / "half.parquet"))
    (tmp_path / "open.csv").write_text('id,income,debt,owner,purpose,region\n1,"2,3\n')
    with pytest.raises(DataError, match=r"open\.csv|none of"):
        batch.run(job(tmp_path / "open.csv"))


def test_an_output_that_exists_is_kept(tmp_path, job):
    source = write(make(100), tmp_path / "in.csv")
    (tmp_path / "out.parquet").write_text("mine")
    with pytest.raises(ConflictError, match="exists"):
        batch.run(job(source))
    assert (tmp_path / "out.parquet").read_text() == "mine"
    batch.run(job(source, overwrite=True))
    assert read(tmp_path / "out.parquet").height == 100


class Killed(BaseException):
    """The process is gone."""


def dying(after: int):
    count = 0

    def tell(_):
        nonlocal count
        count += 1
        if count == after:
            raise Killed

    return tell


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet", "arrow", "ndjson"])
def test_what_was_killed_goes_on_where_it_was(tmp_path, job, form):
    frame = make(1000).with_columns(
        pl.when(pl.int_range(pl.len()) % 90 == 89).then(pl.lit("west")).otherwise("region")
        .alias("region")
    )  # fmt: skip
    source = write(frame, tmp_path / f"in.{form}")
    whole = batch.run(job(source, "whole.csv"))
    with pytest.raises(Killed):
        batch.run(job(source, "out.csv", tell=dying(3)))
    assert not (tmp_path / "out.csv").exists()
    told = []
    report = batch.run(job(source, "out.csv", tell=told.append))
    assert 0 < report.resumed < report.rows
    assert told[0].rows > report.resumed
    assert told[-1].share == 1.0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert report.unseen == whole.unseen
    listed = [(tmp_path / f"{x}.quarantine.csv").read_bytes() for x in ("out", "whole")]
    assert listed[0] == listed[1]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["torn", "part", "lost"])
def test_a_damaged_part_is_made_again(tmp_path, job, damage):
    source = write(make(1000), tmp_path / "in.parquet")
    batch.run(job(source, "whole.csv"))
    with pytest.raises(Killed):
        batch.run(job(source, "out.csv", tell=dying(4)))
    folder = output.parts_folder(tmp_path / "out.csv")
    if damage == "torn":
        with (folder / "manifest.jsonl").open("ab") as stream:
            stream.write(b'{"part": "part-0000')
    elif damage == "part":
        (folder / "part-000002").write_text("other\n")
    else:
        (folder / "part-000001").unlink()
    report = batch.run(job(source, "out.csv"))
    assert report.resumed == {"torn": 256, "part": 128, "lost": 64}[damage]
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["input", "model", "keep", "label"])
def test_parts_of_another_job_are_thrown_away(tmp_path, job, change):
    source = write(make(1000), tmp_path / "in.parquet")
    with pytest.raises(Killed):
        batch.run(job(source, "out.csv", tell=dying(4)))
    fields = {"model": {"digest": "blake3:other"}, "keep": {"keep": ("id", "note")}}.get(change, {})
    if change == "input":
        write(make(1000, 5), source)
    if change == "label":
        fields = {"label": "loans@v2"}
    report = batch.run(job(source, "out.csv", **fields))
    assert report.resumed == 0
    assert read(tmp_path / "out.csv").height == 1000


def test_a_query_is_not_asked_again_by_what_goes_on(tmp_path, job):
    frame = make(300).drop("note", "owner").with_columns(pl.lit(None).alias("owner"))
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("CREATE TABLE t (id, income, debt, purpose, region, owner)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", frame.rows())
    source = f"sqlite:///{tmp_path}/crm.db?query=SELECT * FROM t ORDER BY id"
    with pytest.raises(Killed):
        batch.run(job(source, "out.csv", tell=dying(2)))
    with database:
        database.execute("DELETE FROM t")
    database.close()
    report = batch.run(job(source, "out.csv"))
    assert report.resumed > 0
    assert read(tmp_path / "out.csv")["id"].to_list() == frame["id"].to_list()


def test_another_query_is_another_input(tmp_path, job):
    frame = make(300)
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("CREATE TABLE t (id, income, debt, owner, purpose, region)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", frame.drop("note").rows())
    source = f"sqlite:///{tmp_path}/crm.db?query=SELECT * FROM t ORDER BY id"
    with pytest.raises(Killed):
        batch.run(job(source, "out.csv", tell=dying(2)))
    report = batch.run(job(source + " DESC", "out.csv"))
    assert report.resumed == 0
    assert read(tmp_path / "out.csv")["id"].to_list() == frame["id"].to_list()[::-1]
    with database:  # what was wrong is mended where it is: nothing of it may be kept
        database.execute("UPDATE t SET debt = 'much'")
    with pytest.raises(DataError, match="none of 300 rows"):
        batch.run(job(source, "again.csv"))
    with database:
        database.execute("UPDATE t SET debt = 1")
    database.close()
    assert batch.run(job(source, "again.csv")).rows == 300


def test_an_input_that_changes_meanwhile_gives_no_output(tmp_path, job):
    source = write(make(500), tmp_path / "in.csv")

    def tell(_):
        with source.open("a") as stream:
            stream.write("a9,1,1,true,car,n,x\n")

    with pytest.raises(ConflictError, match="was changed"):
        batch.run(job(source, tell=tell))
    assert not (tmp_path / "out.parquet").exists()


def test_two_jobs_do_not_write_one_output(tmp_path, job):
    source = write(make(10), tmp_path / "in.csv")
    with (
        held(output.parts_folder(tmp_path / "out.parquet")),
        pytest.raises(ConflictError, match=r"another process is writing out\.parquet"),
    ):
        batch.run(job(source))
