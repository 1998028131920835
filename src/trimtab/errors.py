"""Every error that trimtab raises on purpose.

    TrimtabError                     exit 1
    ├── UsageError(ValueError)           exit 2   the command or call itself is wrong
    │   └── ConfigError                  exit 2   trimtab.toml cannot be read as it stands
    ├── RefusedError(PermissionError)    exit 3   a requirement or a policy says no
    ├── NotFoundError(LookupError)       exit 4   no such name, id or file
    ├── ConflictError(RuntimeError)      exit 5   somebody else holds it, or it changed meanwhile
    ├── UndecidedError(RuntimeError)     exit 6   not enough data to say yes or no
    ├── DataError(ValueError)            exit 1   a table or a row breaks its schema
    │   └── InputError                   exit 1   a prediction request; names row and column
    ├── ModelError(ValueError)           exit 1   an estimator cannot be packaged or loaded
    ├── PipelineError(RuntimeError)      exit 1   a step or flow failed or is written wrongly
    ├── IntegrityError(ValueError)       exit 1   stored bytes are not what their digest says
    ├── StorageError(OSError)            exit 1   the disk or database refused a write
    └── MissingExtraError(ImportError)   exit 1   an optional dependency is not installed

Each is also the matching builtin, so a caller may catch either. `hint` says what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class TrimtabError(Exception):
    """Something went wrong; the message says what, and `hint` what to do next."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "error"

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.hint = hint

    @property
    def message(self) -> str:
        """The sentence without its hint."""
        return str(self.args[0])

    def __str__(self) -> str:
        return self.message


class UsageError(TrimtabError, ValueError):
    """The command or call is wrong as written."""

    exit_code = 2
    http_status = 400
    code = "usage"


class ConfigError(UsageError):
    """trimtab.toml cannot be read as it stands."""

    code = "config"


class RefusedError(TrimtabError, PermissionError):
    """A requirement or a policy refuses this."""

    exit_code = 3
    http_status = 403
    code = "refused"


class NotFoundError(TrimtabError, LookupError):
    """There is no such thing."""

    exit_code = 4
    http_status = 404
    code = "not_found"


class ConflictError(TrimtabError, RuntimeError):
    """Somebody else holds this, or it changed meanwhile."""

    exit_code = 5
    http_status = 409
    code = "conflict"


class UndecidedError(TrimtabError, RuntimeError):
    """There is not enough data to say yes or no."""

    exit_code = 6
    http_status = 409
    code = "undecided"


class DataError(TrimtabError, ValueError):
    """A table or a row breaks its schema."""

    http_status = 422
    code = "data"


class InputError(DataError):
    """A prediction request breaks the model's signature.

    `row` is the 0-based row in the request and `column` the column's name, where they are known.
    """

    code = "input"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.row = row
        self.column = column


class ModelError(TrimtabError, ValueError):
    """A model cannot be packaged or loaded."""

    http_status = 422
    code = "model"


class PipelineError(TrimtabError, RuntimeError):
    """A step or flow failed, or is written wrongly."""

    code = "pipeline"


class IntegrityError(TrimtabError, ValueError):
    """Stored bytes are not what their digest says."""

    code = "integrity"


class StorageError(TrimtabError, OSError):
    """The disk or the database refused a write."""

    http_status = 503
    code = "storage"


class MissingExtraError(TrimtabError, ImportError):
    """An optional dependency is not installed."""

    code = "missing_extra"
