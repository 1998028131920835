"""Metrics of a served endpoint: measured by `serve` and `bench`, never from a scored table.

This module is light, so that the controller can say what is missing without loading numpy.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class EndpointMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement of an endpoint. `how` tells a person how to get it measured.

    One with `by_quantile` is bounded by a quantile such as p99, any other by min and max.
    """

    name: str
    about: str
    how: str
    direction: Literal["up", "down"] = "down"
    bounds: tuple[float, float] = (0.0, float("inf"))
    by_quantile: bool = False


BUILT_IN: Final = (
    EndpointMetric(
        name="latency_ms",
        about="time from the request's last byte to the answer's first, in milliseconds",
        how="run `trimtab bench`, or send the endpoint traffic",
        by_quantile=True,
    ),
    EndpointMetric(
        name="cost_per_1000",
        about="price of a thousand predictions, in the currency of price_per_hour",
        how="set price_per_hour in [serve] and run `trimtab bench`",
    ),
    EndpointMetric(
        name="capacity",
        about="answers a second, with as many connections as latency_ms allows, or at the knee",
        how="run `trimtab bench`",
        direction="up",
    ),
    EndpointMetric(
        name="skew",
        about="share of replayed training rows that an endpoint saw or answered otherwise",
        how="run `trimtab run`, which replays training rows",
        bounds=(0.0, 1.0),
    ),
    EndpointMetric(
        name="error_rate",
        about="share of valid requests that were answered with an error",
        how="run `trimtab bench`, or send the endpoint traffic",
        bounds=(0.0, 1.0),
    ),
)
HOW: Final = {metric.name: metric.how for metric in BUILT_IN}
