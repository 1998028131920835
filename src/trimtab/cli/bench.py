"""`trimtab bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.errors import RefusedError

if TYPE_CHECKING:  # brings numpy and the database
    from trimtab.loop.candidate.capacity import Capacity
    from trimtab.serve.measured.capacity import Level

_LEVELS: Final = "1,2,4,8,16,32,64"
_MOST: Final = 1024


class Levels(click.ParamType[tuple[int, ...]]):
    """Numbers of connections with commas between."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """A tuple of numbers from 1 to 1,024."""
        try:
            found = tuple(int(one) for one in str(value).split(","))
        except ValueError:
            found = ()
        if not found or not all(1 <= one <= _MOST for one in found):
            self.fail(f"{value!r} is no list of numbers from 1 to {_MOST}, such as 1,8,64")
        return found


@verb("bench", "trimtab bench loans", "trimtab bench loans@v2 --seconds 2 --concurrency 1,8,64")
@click.argument("name", metavar="ENDPOINT")
@click.option(
    "--seconds",
    type=click.FloatRange(0.2, 600),
    default=5.0,
    show_default=True,
    help="How long each number of connections is measured.",
)
@click.option(
    "--concurrency",
    "levels",
    type=Levels(),
    default=_LEVELS,
    show_default=True,
    help="Numbers of connections to measure.",
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curve here.")
def bench(
    session: Session, name: str, seconds: float, levels: tuple[int, ...], svg: Path | None
) -> int:
    """Measure how much load a model's endpoint can take.

    ENDPOINT is an endpoint, of which the champion is measured, or a model version. The load goes to
    a throwaway twin with the same settings, so neither the live endpoint nor its prediction log
    sees it. The rows are the model's golden rows. What is found becomes evidence of the model, and
    requirements on latency_ms, cost_per_1000, capacity and error_rate are held against it: exits 3
    where one fails.
    """
    project = session.project()
    from trimtab.loop.candidate import capacity  # brings numpy

    count = len(set(levels))
    note(f"measuring {name}: {count} levels of {seconds:g} s")
    found = capacity.measure(project, name, levels=levels, seconds=seconds, tell=_tell)
    if svg is not None:
        from trimtab.serve.measured.capacity import Curve
        from trimtab.serve.measured.capacity import svg as drawn

        svg.write_text(drawn(Curve(levels=found.levels), f"{found.model}: capacity"), "utf-8")
    session.answer(found, _render)
    failed = any(one.status == "fail" for one in found.verdicts)
    return RefusedError.exit_code if failed else 0


def _tell(level: Level) -> None:
    note(f"{level.concurrency} connections: {level.per_second:,.0f} requests/s")


def _render(found: Capacity) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.serve.measured import capacity

    curve = capacity.Curve(levels=found.levels)
    paper.table(
        ["connections", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "open p99", "CPU µs", "errors",
         ""],
        [
            (
                f"{one.concurrency}{' ←' if one.concurrency == found.knee else ''}",
                f"{one.per_second:,.0f}",
                *(f"{x:.3g}" for x in (one.p50, one.p99, one.p999, one.open_p99)),
                f"{one.cpu_us:.0f}",
                f"{one.failed:,}" if one.failed else "–",
                bar,
            )
            for one, bar in zip(found.levels, capacity.bars(curve), strict=True)
        ],
        right=["connections", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "open p99", "CPU µs",
               "errors"],
    )  # fmt: skip
    paper.say(f"{found.model}: the knee (←) is at {found.knee} connections")
    if found.chosen:
        paper.say(f"capacity {found.capacity:,.0f} requests/s at {found.chosen} connections")
    else:
        paper.say("no number of connections keeps the latency that is required")
    if found.cost_per_1000 is not None:
        paper.say(f"1,000 predictions cost {found.cost_per_1000:.3g} there")
    paper.say("a closed loop on this machine; open p99 adds the waits that it did not see")
    if found.verdicts:
        paper.verdicts(found.verdicts)
