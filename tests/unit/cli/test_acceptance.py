"""A batch that acceptance refused, as people see it and overrule it."""

from __future__ import annotations

from trimtab import ids
from trimtab.data import quarantine
from trimtab.errors import DataError
from trimtab.loop.candidate import admission
from trimtab.store import evidence, versions
from trimtab.store.records import Evidence


def refuse(loans):
    """The store after a batch was refused for a planted pattern."""
    version = versions.get(loans.ws, "data", "applications@v1")
    probe = {"name": "planted_pattern", "status": "fail", "value": 0.88, "lo": 0.82, "hi": 0.93,
             "p": 1e-9, "n": 72, "said": "72 rows share a pattern in purpose"}  # fmt: skip
    one = Evidence(id=ids.new_id(), metric=admission.METRIC, subject=version.digest, window="golden",
                   value=0.002, lo=-0.001, hi=0.005, n=2400, method="paired",
                   details={"status": "refuse", "reason": probe["said"], "probes": [probe]})  # fmt: skip
    evidence.append(loans.ws, [one])
    seen = {"pattern": {"purpose": "gift"}, "label": "True"}
    quarantine.keep(loans.ws.root, "applications", {}, DataError("it harms"), "", rows=[*range(50)],
                    version=version.label, effect={"probes": [{**probe, "seen": seen}]})  # fmt: skip
    return version


def test_what_was_found_is_shown_and_a_word_overrules_it(call, loans):
    assert "training" not in call("data", "show", "applications@v1").out
    refuse(loans)
    shown = call("data", "show", "applications@v1").out
    for text in ("is refused for training", "72 rows share a pattern", "+0.8800",
                 "planted: purpose = 'gift', label 'True'", "50 rows speak against it"):  # fmt: skip
        assert text in shown
    run = call("run", "--data", "applications@v1")
    assert run.code == 3
    assert "was refused" in run.err
    assert "data accept applications@v1" in run.err

    assert call("data", "accept", "applications@v1").code == 2
    assert call("data", "accept", "applications@v9", "--reason", "right").code == 4
    word = call("data", "accept", "applications@v1", "--reason", "checked", "--by", "ann")
    assert word.code == 0
    assert "may be trained on: a person said so" in word.out
    assert "ann at" in word.out
    found = call("data", "show", "applications@v1", "--json").body
    assert found["admission"]["word"]["reason"] == "checked"
    assert found["admission"]["status"] == "refuse", "what was measured stays"
    assert "gift" not in str(found["admission"])
    told = call("why", "applications@v1").out
    assert "acceptance by effect: refuse" in told
    assert "checked" in told


def test_a_version_that_is_not_there_is_not_run(call, loans):
    assert call("run", "--data", "applications@v77").code == 4
