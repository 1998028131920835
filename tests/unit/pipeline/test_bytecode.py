"""The normal form of code: blind to how it is written, alert to what it does."""

from __future__ import annotations

import ast
import types
from pathlib import Path

import pytest

from trimtab.pipeline import bytecode


def function(source: str) -> types.CodeType:
    module = compile(source, "somewhere.py", "exec")
    return next(const for const in module.co_consts if isinstance(const, types.CodeType))


def functions(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in bytecode.nested(code) if one is not code]


def redocumented(tree: ast.Module) -> ast.Module:
    """The same program with another docstring everywhere, and one where there was none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            first = node.body[0]
            has_one = ast.get_docstring(node) is not None
            doc = ast.Expr(ast.Constant("Another text altogether."))
            node.body = [doc, *(node.body[1:] if has_one else node.body)]
            if has_one and len(node.body) == 1:
                node.body = [first]
    return ast.fix_missing_locations(tree)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["argparse", "inspect", "_collections_abc", "textwrap", "dis"])
def test_layout_comments_and_docstrings_of_real_code_do_not_count(name: str) -> None:
    path = Path(ast.__file__).with_name(f"{name}.py")
    source = path.read_text(encoding="utf-8")
    written = functions(compile(source, "a.py", "exec"))
    # unparse writes every statement on one line, without comments
    laid_out = functions(compile(ast.unparse(ast.parse(source)), "b.py", "exec"))
    documented = functions(compile(ast.unparse(redocumented(ast.parse(source))), "c.py", "exec"))
    assert len(written) == len(laid_out) == len(documented) > 10
    for one, two, three in zip(written, laid_out, documented, strict=True):
        assert bytecode.digest(one) == bytecode.digest(two) == bytecode.digest(three), one.co_name


BASE = """
def f(a, b=1, *rest, key=None):
    total = a + b
    for item in rest:
        if item > 2 and key:
            total += item
    try:
        total = total / b
    except ZeroDivisionError:
        total = 0
    return [total * 2 for _ in rest if total], {"x": 1.0}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a + b", "a - b"),
        ("a + b", "b + a"),
        ("item > 2", "item >= 2"),
        ("item > 2", "item > 3"),
        ("item > 2 and key", "item > 2 or key"),
        ("item > 2 and key", "not (item > 2 and key)"),
        ("ZeroDivisionError", "ValueError"),
        ("total * 2", "total * 2.0"),
        ("if total]", "if not total]"),
        ('"x": 1.0', '"y": 1.0'),
        ("1.0}", "True}"),
        ("total = 0", "total = 1"),
        ("b=1", "c=1"),
        ("*rest, key", "*, rest, key"),
        ("        total = total / b\n", "        pass\n    finally:\n        total = total / b\n"),
        ("return [total", "return (total"),
    ],
)
def test_whatever_the_program_does_counts(old: str, new: str) -> None:
    changed = BASE.replace(old, new)
    if "return (" in changed:
        changed = changed.replace("if total]", "if total)")
    if "finally" in changed:
        changed = changed.replace("    except ZeroDivisionError:\n        total = 0\n", "")
    assert changed != BASE
    assert bytecode.digest(function(BASE)) != bytecode.digest(function(changed))


def test_what_a_try_covers_counts() -> None:
    inside = "def f():\n    try:\n        a()\n        b()\n    except ValueError:\n        c()\n"
    outside = "def f():\n    try:\n        a()\n    except ValueError:\n        c()\n    else:\n        b()\n"
    assert bytecode.digest(function(inside)) != bytecode.digest(function(outside))


def test_names_are_found_with_their_attributes_in_nested_code_too() -> None:
    source = """
def f(frame):
    from helpers import scale, shift as moved
    import numpy.linalg
    def inner():
        return [np.linalg.norm(x) for x in frame.rows()]
    return inner() + scale(RATE)
"""
    found = bytecode.names(function(source))
    assert ("np", "linalg", "norm") in found.chains
    assert ("RATE",) in found.chains
    assert {(one.module, one.names) for one in found.imports} == {
        ("helpers", ("scale", "shift")),
        ("numpy.linalg", ()),
    }
    assert "rows" in found.attributes


def test_an_endless_loop_has_a_form() -> None:
    assert bytecode.digest(function("def f():\n    while True:\n        pass\n"))
