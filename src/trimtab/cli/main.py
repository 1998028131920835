"""The `trimtab` command: where its verbs and nouns are, and how it ends.

Importing it loads no database, table or numerical library; a command loads what it needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

import trimtab
from trimtab.cli.lazy import LazyGroup
from trimtab.cli.verb import CONTEXT, project_option

SECTIONS: Final = {
    "Begin": {
        "init": "init:init",
        "demo": "demo:demo",
    },
    "Train": {
        "plan": "plan:plan",
        "run": "run:run",
        "gate": "gate:gate",
        "replay": "replay:replay",
    },
    "Serve and steer": {
        "deploy": "deploy:deploy",
        "predict": "predict:predict",
        "bench": "bench:bench",
        "rollback": "rollback:rollback",
        "apply": "apply:apply",
        "tick": "tick:tick",
        "pause": "pause:pause",
        "resume": "pause:resume",
        "up": "up:up",
        "down": "down:down",
        "retire": "retire:retire",
    },
    "Ask": {
        "status": "status:status",
        "timeline": "timeline:timeline",
        "monitor": "monitor:monitor",
        "why": "why:why",
        "diff": "diff:diff",
        "doctor": "doctor:doctor",
    },
    "Nouns": {
        "data": "data:data",
        "runs": "runs:runs",
        "models": "models:models",
        "endpoints": "endpoints:endpoints",
        "rollouts": "rollouts:rollouts",
        "incidents": "incidents:incidents",
        "labels": "labels:labels",
        "triggers": "triggers:triggers",
        "config": "config:config",
    },
}

EXAMPLES: Final = (
    "trimtab demo                                    # watch the whole life of a model",
    "trimtab init --from houses.csv --target price   # begin with a table of your own",
    "trimtab run && trimtab deploy",
)


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    examples=EXAMPLES,
    context_settings=CONTEXT,
    epilog="Data goes to stdout and everything else to stderr; --json prints one JSON document. "
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 refused, 4 not found, 5 conflict, 6 undecided.",
)
@click.version_option(trimtab.__version__, message="%(prog)s %(version)s")
@project_option()
@click.pass_context
def cli(ctx: click.Context, folder: Path | None) -> None:
    """Carry a model from a named data source to a live endpoint, and keep it on course."""
    ctx.obj = {"folder": folder}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    # OpenMP reads this once, as it is loaded: threads that spin while they wait make scikit-learn's
    # boosting ten times slower as soon as another process wants a core too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = cli.main(argv, prog_name="trimtab", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        from trimtab.cli.failure import broken_pipe  # needed only where something went wrong

        return broken_pipe()
    except (Exception, KeyboardInterrupt) as error:
        from trimtab.cli.failure import report  # needed only where something went wrong

        return report(error, as_json="--json" in argv)
    return code if isinstance(code, int) else 0
