"""The error tree: what the module's drawing says is what the classes are."""

import builtins
import pickle
import re
from collections.abc import Iterator

import pytest

from trimtab import errors
from trimtab.errors import TrimtabError

LINE = re.compile(
    r"^(?P<indent>[ │├└─]*)(?P<name>\w+Error)(\((?P<base>\w+)\))?\s+exit (?P<code>\d)"
)


def drawn() -> Iterator[tuple[int, str, str | None, int]]:
    for line in (errors.__doc__ or "").splitlines():
        if match := LINE.match(line):
            yield len(match["indent"]), match["name"], match["base"], int(match["code"])


def classes() -> dict[str, type[TrimtabError]]:
    return {
        name: found
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, TrimtabError)
    }


def test_the_drawing_shows_every_class() -> None:
    assert {name for _, name, _, _ in drawn()} == set(classes())


def test_the_drawing_is_true() -> None:
    above: list[tuple[int, type[TrimtabError]]] = []
    for indent, name, base, code in drawn():
        error = classes()[name]
        assert error.exit_code == code, name
        while above and above[-1][0] >= indent:
            above.pop()
        if above:
            assert above[-1][1] in error.__bases__, name
        if base is not None:
            assert getattr(builtins, base) in error.__bases__, name
        above.append((indent, error))


@pytest.mark.parametrize("error", classes().values(), ids=lambda e: e.__name__)
def test_every_class_is_also_a_builtin_error(error: type[TrimtabError]) -> None:
    if error is TrimtabError:
        return
    others = [
        base
        for base in error.__mro__
        if base.__module__ == "builtins" and base not in (object, BaseException, Exception)
    ]
    assert others, "one can catch it without knowing trimtab"


@pytest.mark.parametrize("error", classes().values(), ids=lambda e: e.__name__)
def test_message_hint_and_default(error: type[TrimtabError]) -> None:
    one = error("the disk is full", hint="make room")
    assert str(one) == one.message == "the disk is full"
    assert one.hint == "make room"
    assert error().message == (error.__doc__ or "").strip() != ""
    assert error().hint == ""


def test_codes_tell_the_classes_apart() -> None:
    codes = [error.code for error in classes().values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_exit_codes_and_http_statuses_go_together() -> None:
    for error in classes().values():
        assert 1 <= error.exit_code <= 6
        assert 400 <= error.http_status <= 503
        if error.exit_code > 1:
            assert error.http_status < 500, "a refusal is no failure of the server"


def test_an_input_error_names_row_and_column() -> None:
    error = errors.InputError("income is not a number", row=3, column="income")
    assert (error.row, error.column) == (3, "income")


@pytest.mark.parametrize("error", classes().values(), ids=lambda e: e.__name__)
def test_errors_survive_a_pickle(error: type[TrimtabError]) -> None:
    again = pickle.loads(pickle.dumps(error("broken", hint="mend it")))
    assert type(again) is error
    assert (again.message, again.hint) == ("broken", "mend it")
