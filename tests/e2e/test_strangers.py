"""Tables that trimtab has never seen, from a file to a live endpoint with no edit."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import polars as pl
import pytest


def mixed():
    """Missing values, words, categories, flags, an id, a time, a constant and free text."""
    draw = random.Random(7)
    rows = []
    for number in range(900):
        rooms, town = draw.randint(1, 6), draw.choice(["Aachen", "Brügge", "Çorlu", ""])
        garden = draw.random() < 0.4
        price = 40 * rooms + (60 if garden else 0) + (30 if town == "Brügge" else 0)
        rows.append(
            {
                "house_id": f"H{number:05}",
                "listed_at": f"2026-0{1 + number // 150}-1{number % 9}T08:00:00Z",
                "rooms": None if draw.random() < 0.1 else rooms,
                "town": town or None,
                "garden": garden,
                "zip": f"0{draw.randint(1000, 1003)}",
                "country": "NL",
                "note": f'he said "{number}", and left; {draw.random()}',
                "price": round(price + draw.gauss(0, 12), 1),
                "sold": "yes" if price + draw.gauss(0, 20) > 190 else "no",
            }
        )
    return pl.DataFrame(rows).with_columns(pl.col("listed_at").str.to_datetime(time_zone="UTC"))


def take_to_an_endpoint(shell, frame, target, suffix=".csv"):
    """init, run, deploy, predict; what each of them said."""
    file = shell.folder / f"table{suffix}"
    frame.write_csv(file) if suffix == ".csv" else frame.write_parquet(file)
    begun = shell("init", "--from", file.name, "--target", target, "--json").body
    trained = shell("run", "--json").body
    deployed = shell("deploy", "--json").body
    answers = shell("predict", "table", file.name, "--limit", "20", "--json").body
    return begun, trained, deployed, answers


@pytest.mark.parametrize(
    ("name", "target", "task", "metric"),
    [
        ("diabetes", "progression", "regression", "r2"),
        ("wine", "cultivar", "multiclass", "accuracy"),
    ],
)
def test_a_bundled_table_reaches_a_live_endpoint(shell, bundled, name, target, task, metric):
    frame = bundled(name, target)
    begun, trained, deployed, answers = take_to_an_endpoint(shell, frame, target)
    assert begun["task"] == task
    assert trained["decision"]["allowed"]
    assert trained["decision"]["version"]["number"] == 1
    assert trained["metrics"][metric] > 0.2
    assert deployed["version"] == "table@v1"
    assert len(answers["predictions"]) == 20
    if task == "multiclass":
        assert {one["decision"] for one in answers["predictions"]} <= set(frame[target])


def test_two_classes_reach_a_live_endpoint(cancer):
    trained = cancer("run", "--json").body
    assert trained["nothing_to_do"]
    assert trained["metrics"]["roc_auc"] > 0.95
    answers = cancer("predict", "cancer", "cancer.csv", "--limit", "50", "--json").body
    decisions = [one["decision"] for one in answers["predictions"]]
    truth = pl.read_csv(cancer.folder / "cancer.csv")["diagnosis"].head(50).to_list()
    assert sum(a == b for a, b in zip(decisions, truth, strict=True)) >= 45


def test_running_again_says_that_there_is_nothing_to_do(cancer):
    ended = cancer("run")
    assert "nothing to do: all 2 steps are cached" in ended.out
    assert "passed" in ended.out


def test_the_written_test_passes(cancer):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=cancer.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("target", "suffix"), [("price", ".parquet"), ("sold", ".csv")])
def test_a_mixed_table_reaches_a_live_endpoint(shell, target, suffix):
    frame = mixed()
    begun, trained, _, answers = take_to_an_endpoint(shell, frame, target, suffix)
    assert (begun["key"], begun["time"]) == ("house_id", "listed_at")
    assert set(begun["words"]) >= {"town", "zip"}
    assert set(begun["left_out"]) == {"country", "note"}
    assert trained["decision"]["allowed"]
    quality = {"price": "r2", "sold": "roc_auc"}[target]
    assert trained["metrics"][quality] > 0.6
    assert len(answers["predictions"]) == 20


def test_what_was_predicted_can_be_explained(cancer):
    answers = cancer("predict", "cancer", "cancer.csv", "--limit", "1", "--json").body
    lineage = cancer("why", answers["predictions"][0]["id"], "--json").body
    assert "cancer@v1" in json.dumps(lineage)


def test_doctor_finds_all_well_and_then_the_changed_byte(shell, bundled):
    bundled("wine", "cultivar").write_csv(shell.folder / "wine.csv")
    shell("init", "--from", "wine.csv", "--target", "cultivar")
    added = shell("data", "add", "wine", "--json").body
    assert shell("doctor", "--json").body["ok"]
    blobs = sorted(
        (shell.folder / ".trimtab" / "blobs").rglob("*"), key=lambda path: path.stat().st_size
    )
    largest = blobs[-1]
    largest.chmod(0o644)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    ended = shell("doctor", "--json", code=1)
    assert not ended.body["ok"]
    assert added["rows"] == 178
