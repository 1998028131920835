from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from trimtab.errors import DataError, IntegrityError
from trimtab.profile import bins as binning
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references
from trimtab.profile import wire
from trimtab.profile.dispersion import RATES, chunk_profiles
from trimtab.profile.fit import fit
from trimtab.profile.pairs import fit_pairs, z_scores
from trimtab.profile.reference import fit_reference

GOLDEN = Path(__file__).parents[2] / "golden"


def wobbling(random, days: int, rows: int, wobble: float):
    day = np.repeat(np.arange(days), rows)
    calm = random.normal(size=days * rows)
    moving = random.normal(size=days * rows) + random.normal(0, wobble, days)[day]
    word = np.array(["a", "b"], dtype=object)[random.integers(0, 2, days * rows)]
    moving[random.random(days * rows) < random.uniform(0, 0.2, days)[day]] = np.nan
    return {"calm": calm, "moving": moving, "word": word}, day


def test_chunks_show_which_feature_wobbles():
    columns, day = wobbling(np.random.default_rng(0), 30, 500, 0.1)
    found = fit_reference(columns, day).dispersion
    assert found is not None
    assert (found.chunks, found.rows) == (30, 500)
    assert found.shape[0] < 1.6
    assert found.shape[1] > 3
    assert found.shape[2] < 1.6
    missing = found.rates[:, RATES.index("missing")]
    assert missing[1] > 5
    assert missing[0] == 1
    assert 1 <= found.pairs < 1.5


def test_few_chunks_say_nothing():
    columns, day = wobbling(np.random.default_rng(0), 7, 100, 0.1)
    assert fit_reference(columns, day).dispersion is None
    assert fit_reference(columns).dispersion is None


def test_small_chunks_are_joined_and_none_is_lost():
    columns, _ = wobbling(np.random.default_rng(0), 3, 100, 0.0)
    chunks = np.array([1] * 30 + [2] * 40 + [3] * 200 + [4] * 30)
    found = chunk_profiles(fit(columns), columns, chunks)
    assert [(key, profile.rows) for key, profile in found] == [(0, 70), (0, 230)]


def test_chunk_numbers_must_pair_up():
    with pytest.raises(DataError, match="2 chunk numbers for 3 rows"):
        fit_reference({"x": np.arange(3.0)}, np.array([1, 2]))


def test_round_trip():
    columns, day = wobbling(np.random.default_rng(1), 12, 60, 0.1)
    for reference in (fit_reference(columns, day), fit_reference(columns)):
        data = references.encode(reference)
        again = references.decode(data)
        assert references.encode(again) == data
        assert again.bins == reference.bins
        assert np.allclose(again.pairs.kurtosis, reference.pairs.kurtosis)


def test_bins_and_profile_must_belong_together():
    one = fit_reference({"x": np.arange(100.0)})
    other = fit_reference({"x": np.arange(100.0) * 2})
    mixed = references.Reference(one.bins, other.profile, one.pairs)
    with pytest.raises(IntegrityError, match="other bins"):
        references.decode(references.encode(mixed))


def test_well_framed_nonsense_is_refused():
    for payload in (b"", b"\x80", msgspec.msgpack.encode({"bins": 1})):
        with pytest.raises(IntegrityError):
            references.decode(wire.frame(b"trimtabR", payload))
    odd = wire.Packed("<f8", (3,), b"\0" * 8)
    with pytest.raises(IntegrityError, match="cannot be read"):
        wire.floats(odd)
    with pytest.raises(IntegrityError, match="unknown type"):
        wire.floats(wire.Packed("|O", (1,), b"\0" * 8))


def test_golden_file_still_reads():
    data = (GOLDEN / "reference-v2.bin").read_bytes()
    found = references.decode(data)
    assert references.encode(found) == data
    assert found.bins.names[:2] == ("x", "zero")
    assert found.seasons is not None
    assert found.seasons.keys == (0, 1)
    assert found.clusters is not None
    assert found.dispersion is not None
    assert found.profile.bins == binning.digest(found.bins)


def test_a_reference_of_version_1_still_reads():
    data = (GOLDEN / "reference-v1.bin").read_bytes()
    found = references.decode(data)
    assert (found.seasons, found.clusters) == (None, None)
    assert found.bins.names == ("x", "zero", "word", "mixed")
    assert found.profile.rows == 400
    assert found.dispersion is not None
    assert found.profile.bins == binning.digest(found.bins)


@pytest.mark.slow
def test_the_scatter_of_correlations_is_as_simulated():
    """Heteroscedastic, discrete and normal pairs: Fisher's z scatters as `Pairs.variance` says."""
    random = np.random.default_rng(5)

    def rows(n):
        a = random.normal(size=n)
        return {
            "a": a,
            "b": 0.6 * a + 0.8 * random.normal(size=n),
            "c": a * random.normal(size=n),
            "flag": (random.random(n) < 0.2).astype(float),
        }

    bins, sample = fit(rows(20_000)), rows(50_000)
    pairs = fit_pairs(bins, sample)

    def matrix(columns):
        from trimtab.profile.pairs import correlation

        found = profiles.count(bins, columns)
        return correlation(bins, found.counts[None], found.moments[None], np.array([found.rows]))[0]

    seen = np.arctanh(np.stack([matrix(rows(1000)) for _ in range(300)])).var(axis=0) * 1000
    upper = np.triu_indices(4, 1)
    assert np.allclose(seen[upper], pairs.variance[upper], rtol=0.3)
    assert pairs.variance[0, 1] == pytest.approx(1, abs=0.1)
    assert pairs.variance[0, 2] > 1.5
    assert pairs.kurtosis[0, 3] == pytest.approx(9.75, rel=0.3)


def test_rare_coincidences_are_not_trusted():
    random = np.random.default_rng(0)
    flags = {name: (random.random(20_000) < 0.005).astype(float) for name in "ab"}
    pairs = fit_pairs(fit(flags), flags)
    window = np.array([[1, 0.3], [0.3, 1]])
    assert np.all(z_scores(pairs, window * 0.9, 2_000, np.zeros((2, 2)), 20_000) == 0)


def test_windows_are_kept_with_their_counts_and_sum_to_the_rows_that_they_hold():
    generator = np.random.default_rng(5)
    columns = {"x": generator.normal(size=1200), "c": generator.choice(list("abc"), 1200)}
    day = 86_400_000_000
    times = generator.integers(0, 20, 1200) * day + generator.integers(0, day, 1200)
    found = references.fit_dated(columns, times, span=day, season="none")
    again = references.decode(references.encode(found)).windows
    assert again is not None and found.windows is not None
    assert again.starts.tolist() == [number * day for number in range(20)]
    assert (again.counts == found.windows.counts).all() and again.span == day
    assert again.counts.sum(axis=0).tolist() == found.profile.counts.tolist()
    assert again.rows.sum() == 1200 and not again.parts.any()


def test_windows_of_another_number_of_cells_are_refused():
    columns = {"x": np.arange(200.0)}
    found = references.fit_dated(columns, np.arange(200) * 3_600_000_000, span=86_400_000_000)
    assert found.windows is not None
    cut = dataclasses.replace(found.windows, counts=found.windows.counts[:, 1:])
    with pytest.raises(IntegrityError, match="windows"):
        references.decode(references.encode(dataclasses.replace(found, windows=cut)))
