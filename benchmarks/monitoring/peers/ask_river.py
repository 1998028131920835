"""river's drift detectors on error streams and under a Gaussian naive Bayes of its own."""

import numpy as np
from common import Clock, run


def detectors():
    from river import drift

    return {
        "ADWIN": drift.ADWIN,
        "Page-Hinkley": drift.PageHinkley,
        "DDM": drift.binary.DDM,
        "HDDM-A": drift.binary.HDDMA,
    }


def bernoulli(path):
    """The first alarm on each error stream (rows of `path`), per detector; -1 where none."""
    errors, found = np.load(path)["errors"], {}
    for name, make in detectors().items():
        firsts = []
        for stream in errors.tolist():
            own, at = make(), -1
            for row, x in enumerate(stream):
                own.update(int(x))
                if own.drift_detected:
                    at = row + 1
                    break
            firsts.append(at)
        found[name] = firsts
    return found


def abrupt(path):
    """Alarms per stream; river's GaussianNB prequential, model and detector begun anew at each."""
    from river.naive_bayes import GaussianNB

    data = np.load(path)
    found = {name: [] for name in detectors()}
    for stream in range(int(data["streams"])):
        x, y = data[f"x{stream}"], data[f"y{stream}"]
        rows = [dict(enumerate(row)) for row in x.tolist()]
        for name, make in detectors().items():
            model, own, told = GaussianNB(), make(), []
            for at, (row, label) in enumerate(zip(rows, y.tolist(), strict=True)):
                wrong = model.predict_one(row) != label
                model.learn_one(row, label)
                own.update(int(wrong))
                if own.drift_detected:
                    told.append(at)
                    model, own = GaussianNB(), make()
            found[name].append(told)
    return found


def generators(rows, out):
    """SEA, sine, mixed, STAGGER: what river's own generators make, for ours to be held against."""
    from river.datasets import synth

    made = {}
    for place in range(4):
        made[f"sea{place}"] = synth.SEA(variant=place, seed=3)
        made[f"sine{place}"] = synth.Sine(classification_function=place, seed=3)
    for place in range(2):
        made[f"mixed{place}"] = synth.Mixed(classification_function=place, seed=3)
    for place in range(3):
        made[f"stagger{place}"] = synth.STAGGER(classification_function=place, seed=3)
    arrays = {}
    for name, one in made.items():
        pairs = list(one.take(int(rows)))
        arrays[f"x|{name}"] = np.array([[float(v) for v in x.values()] for x, _ in pairs])
        arrays[f"y|{name}"] = np.array([int(y) for _, y in pairs])
    np.savez(out, **arrays)
    return sorted(made)


def speed(path):
    errors = np.load(path)["errors"].ravel().astype(int).tolist()
    from river import drift

    own = drift.ADWIN()
    with Clock() as clock:
        for x in errors:
            own.update(x)
    return len(errors), clock.cpu


def load(_=None):
    from river import drift  # noqa: F401

    return "import"


run(
    {
        "bernoulli": bernoulli,
        "abrupt": abrupt,
        "generators": generators,
        "speed": speed,
        "import": load,
    }
)
