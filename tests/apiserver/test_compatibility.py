"""docs/compatibility.md: every kind that is served has its row, and every test that it names exists."""

import ast
import functools
import re
from pathlib import Path

import pytest

from apimachinery.resources import RESOURCES

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "compatibility.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))


@functools.cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / "tests" / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_served_kind_has_exactly_one_row_with_its_subresources() -> None:
    served = sorted((r.api_version, r.kind, ", ".join(r.subresources) or "-") for r in RESOURCES)
    assert sorted(tuple(row[:3]) for row in ROWS if len(row) == 5 and row[0] != "version") == served


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(file: str, name: str) -> None:
    assert name in functions(file)


def test_whatever_works_names_the_test_that_shows_it() -> None:
    assert NAMED
    works = TEXT.partition("## What is missing")[0]
    for line in works.splitlines():
        if line.startswith("| ") and not line.startswith(("| feature", "| version")):
            assert re.search(r"`[\w/]+\.py::\w+`", line), line
