"""Counting by tables, blocks and BLAS gives what the plain way gives, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.profile import cardinality, sums
from trimtab.profile.cells import NumberCells, level_hash
from trimtab.profile.columns import Coded
from trimtab.profile.fit import fit
from trimtab.profile.profile import Counter, count, encode

ROWS = 35_000


def columns(seed: int, rows: int = ROWS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    levels = np.array([f"level-{k}" for k in range(30)] + [None], dtype=object)
    broken = random.normal(size=rows)
    broken[::7], broken[1::11], broken[2::13], broken[3] = np.nan, np.inf, -np.inf, 1e308
    return {
        "normal": random.normal(seed / 9, 1, rows),
        "magnitudes": random.lognormal(0, 4, rows),
        "whole": np.floor(random.exponential(9, rows)),
        "tenths": random.normal(size=rows).round(1),
        "flag": random.integers(0, 2, rows).astype(float),
        "constant": np.full(rows, 3.25),
        "broken": broken,
        "word": levels[random.integers(0, len(levels), rows)],
        "id": np.array([f"{seed}-{k}" for k in range(rows)], dtype=object),
    }


BINS = fit(columns(0))


def plainly(cells, column):
    """Every row's code, one by one."""
    if isinstance(cells, NumberCells):
        return np.searchsorted(np.array(cells.edges), column, side="right")
    codes = {level: code for code, level in enumerate(cells.levels)}
    codes[None] = len(cells.levels) + 2
    tail = set(np.frombuffer(cells.tail, dtype="<u8").tolist())
    for level in set(column.tolist()) - set(codes):
        unseen = cells.complete and level_hash(level) not in tail
        codes[level] = len(cells.levels) + unseen
    return np.array([codes[value] for value in column.tolist()])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_counts_sums_and_moments_are_those_of_the_plain_way(seed):
    rows = columns(seed)
    found = count(BINS, rows)
    scores, registers = [], []
    for place, (cells, span) in enumerate(zip(BINS.features, BINS.spans().values(), strict=True)):
        column = rows[cells.name]
        codes = plainly(cells, column)
        assert np.array_equal(found.counts[span], np.bincount(codes, minlength=cells.size))
        scores.append(np.array(cells.scores)[codes])
        if not isinstance(cells, NumberCells):
            registers.append(np.zeros(cardinality.REGISTERS, dtype=np.uint8))
            marks = cardinality.marks(map(level_hash, set(column.tolist()) - {None}))
            for where, rank in zip(*marks, strict=True):
                registers[-1][where] = max(registers[-1][where], rank)
            continue
        finite = column[np.isfinite(column)]
        assert (found.low[place], found.high[place]) == (finite.min(), finite.max())
        ratios = map(float.as_integer_ratio, finite.tolist())
        assert found.totals[place] == sum((n << sums.BITS) // d for n, d in ratios)
    table = np.array(scores)
    assert np.array_equal(found.moments, table @ table.T)
    assert np.array_equal(found.registers, registers)


def coded(column: np.ndarray) -> Coded:
    levels = tuple(sorted(set(column.tolist()) - {None}))
    place = {level: code for code, level in enumerate(levels)} | {None: -1}
    return Coded(levels, np.array([place[value] for value in column.tolist()], dtype=np.int32))


@pytest.mark.slow
def test_a_counter_counts_each_table_as_if_it_were_the_first():
    counter = Counter(BINS)
    plain, other = columns(1), columns(2)
    as_codes = plain | {"word": coded(plain["word"]), "id": coded(plain["id"])}
    for rows in (plain, as_codes, other, as_codes, plain):
        few = {name: column[:100] for name, column in rows.items()}
        assert encode(counter.count(rows)) == encode(count(BINS, rows))
        assert encode(counter.count(few)) == encode(count(BINS, few))
    assert encode(counter.count(as_codes)) == encode(counter.count(plain))


def test_few_rows_at_a_time_count_as_many_at_once():
    rows = columns(3, 12_000)
    counter = Counter(BINS)
    parts = [  # a table is made on the way
        counter.count({name: column[first : first + 1_500] for name, column in rows.items()})
        for first in range(0, 12_000, 1_500)
    ]
    assert np.array_equal(sum(part.counts for part in parts), count(BINS, rows).counts)
