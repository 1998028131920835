from trimtab.serve.metrics import BUCKETS, Metrics


def lines(metrics, *gauges):
    return metrics.render(gauges).decode().splitlines()


def test_counters_add_up_by_labels():
    metrics = Metrics("loans")
    metrics.add("requests_total", contract="predict", code="200")
    metrics.add("requests_total", 2, contract="predict", code="200")
    metrics.add("requests_total", contract="predict", code="422")
    found = lines(metrics)
    assert found[:2] == [
        "# HELP trimtab_requests_total Requests by contract and HTTP status.",
        "# TYPE trimtab_requests_total counter",
    ]
    assert 'trimtab_requests_total{endpoint="loans",contract="predict",code="200"} 3' in found


def test_a_histogram_is_cumulative_and_ends_in_its_count():
    metrics = Metrics("loans")
    for seconds in (0.0001, 0.0002, 0.003, 99.0):
        metrics.answered("predict", 200, seconds)
    found = [x for x in lines(metrics) if x.startswith("trimtab_request_seconds")]
    counts = [float(x.rpartition(" ")[2]) for x in found[: len(BUCKETS) + 1]]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[1] == 2
    assert counts[-2:] == [3, 4]
    assert 'le="+Inf"' in found[len(BUCKETS)]
    assert found[-2].endswith("99.0033")
    assert found[-1].endswith(" 4")


def test_labels_are_escaped():
    metrics = Metrics('a"b\\c\nd')
    metrics.add("rows_total", role="champion", model="m")
    assert 'endpoint="a\\"b\\\\c\\nd"' in "\n".join(lines(metrics))


def test_gauges_and_cpu_time_are_there():
    found = lines(Metrics("loans"), ("ready", "Whether.", 1.0))
    assert 'trimtab_ready{endpoint="loans"} 1' in found
    cpu = next(x for x in found if x.startswith("process_cpu_seconds_total "))
    assert float(cpu.split()[1]) > 0


def test_every_sample_follows_the_text_format():
    metrics = Metrics("loans")
    metrics.add("rows_total", 1.5, role="champion", model="m")
    metrics.answered("oip", 200, 0.01)
    for line in lines(metrics):
        name, _, value = line.rpartition(" ")
        assert line.startswith("# ") or (name and float(value) >= 0)
