"""How an error reaches a person: a sentence and a hint on stderr, an exit code, and with `--json`
the same as one JSON document on stdout. An unexpected one leaves its traceback in a file.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

import click

from trimtab import config, ids
from trimtab.cli.plain import plain
from trimtab.cli.session import print_json
from trimtab.errors import StorageError, TrimtabError, UsageError

INTERRUPTED: Final = 130
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def report(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("\ninterrupted: what was finished is kept, run it again to go on", err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx:
            hint = f"{error.ctx.command_path} --help says how"
        return _say(UsageError(_sentence(error.format_message()), hint=hint), as_json)
    if isinstance(error, OSError) and error.errno in _FULL and not isinstance(error, TrimtabError):
        return _say(_full(error), as_json)
    if isinstance(error, TrimtabError):
        if _debugging():
            traceback.print_exception(error)
        return _say(error, as_json)
    return _say(_unexpected(error), as_json)


def _say(error: TrimtabError, as_json: bool) -> int:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(plain(error.message), err=True)
    if error.hint:
        click.secho("hint: ", fg="cyan", nl=False, err=True)
        click.echo(plain(error.hint), err=True)
    if as_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        print_json({"error": body})
    return error.exit_code


def _unexpected(error: BaseException) -> TrimtabError:
    if _debugging():
        traceback.print_exception(error)
        hint = "the traceback is above"
    else:
        hint = f"the traceback is in {_keep(error)}; TRIMTAB_DEBUG=1 prints it"
    return TrimtabError(
        f"something unexpected happened: {type(error).__name__}: {error}".rstrip(": "), hint=hint
    )


def _keep(error: BaseException) -> Path:
    text = "".join(traceback.format_exception(error))
    name = f"{ids.new_id()}.txt"
    try:
        folder = config.find().parent / ".trimtab" / "errors"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(text, encoding="utf-8")
    except (TrimtabError, OSError):
        path = Path(tempfile.mkdtemp(prefix="trimtab-error-")) / name
        path.write_text(text, encoding="utf-8")
    return path


def _full(error: OSError) -> StorageError:
    where = f" ({error.filename})" if error.filename else ""
    return StorageError(
        f"the disk is full{where}",
        hint="free some space and run it again: nothing half-written is visible",
    )


def _sentence(text: str) -> str:
    plain = text.strip().rstrip(".")
    return plain[:1].lower() + plain[1:] if plain[1:2].islower() else plain


def _debugging() -> bool:
    return bool(os.environ.get("TRIMTAB_DEBUG"))


def broken_pipe() -> int:
    """The reader of stdout has gone (`trimtab runs ls | head`): end quietly."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    return 1
