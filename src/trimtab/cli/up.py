"""`trimtab up`."""

from __future__ import annotations

import click

from trimtab.cli.session import Session, note, print_json
from trimtab.cli.verb import verb


@verb("up", "trimtab up", "trimtab up --port 9000 --every 60")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Its port (default 8746), 0 for any.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the controller rests between two passes.",
)
def up(session: Session, host: str, port: int | None, every: float) -> None:
    """Keep the project on course: page, API, controller, endpoints.

    The controller passes in a loop. Endpoints that run are adopted, those that should run are
    started; they go on serving when this ends. Ctrl-C or `trimtab down` ends it.
    """
    from trimtab import config
    from trimtab.loop.bare import is_bare
    from trimtab.server import process  # brings the web server
    from trimtab.server.opened import Opened
    from trimtab.server.ticking import Ticking
    from trimtab.store import place

    path = config.find(session.start)
    opened = Opened(path, config.load(path))
    root = place.made(path.parent)
    listening = process.bind(host, process.PORT if port is None else port)
    with listening:
        url = process.url_of(listening)
        with process.holding(root, url) as held:
            if not is_bare(root, opened.config):
                from trimtab.loop.project import apply  # brings the database

                apply(opened.project())
            ticking = Ticking(opened, every, note)

            def ready() -> None:
                if session.as_json:
                    print_json(held)
                else:
                    click.echo(f"trimtab is up at {url}")
                ticking.start()

            try:
                process.serve(opened, listening, ready)
            finally:
                ticking.stop()
    note("stopped; endpoints go on serving, `trimtab down` stops them too")
