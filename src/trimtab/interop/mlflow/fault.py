"""What MLflow's clients are told went wrong: an error code of theirs, and the status it comes with.

No fault has a status that the client tries again (408, 429, 500, 502 to 504): a mistake in a request
stays one, and seven attempts of four minutes would look like a hang.
"""

from __future__ import annotations

import json
from typing import Any, Final

STATUS: Final = {
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "NOT_IMPLEMENTED": 404,
    "RESOURCE_CONFLICT": 409,
    "INTERNAL_ERROR": 500,
    "TEMPORARILY_UNAVAILABLE": 503,
}


class Fault(Exception):
    """A request that cannot be answered as it stands."""

    def __init__(self, message: str, code: str = "INVALID_PARAMETER_VALUE") -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def body(self) -> bytes:
        """The answer's body."""
        return json.dumps({"error_code": self.code, "message": self.message}).encode()


def missing(name: str) -> Fault:
    """A field that has to be there is not."""
    return Fault(f"Missing value for required parameter '{name}'.")


def invalid(name: str, value: Any, why: str = "") -> Fault:
    """A field has a value that it cannot have."""
    said = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)[:500]
    more = f": {why}" if why else "."
    return Fault(f"Invalid value {said} for parameter '{name}' supplied{more}")


def unknown(message: str) -> Fault:
    """There is no such thing."""
    return Fault(message, "RESOURCE_DOES_NOT_EXIST")


def exists(message: str) -> Fault:
    """There is such a thing already."""
    return Fault(message, "RESOURCE_ALREADY_EXISTS")
