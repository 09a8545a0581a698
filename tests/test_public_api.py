"""What people may build on: every public name is there, typed, documented, and costs nothing until it is used."""

import ast
import asyncio
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

import thinkaudit
from tests.servers import plan_text, serving, write_cases

USES = Path(__file__).parent / "typing/api.py"


@pytest.mark.parametrize("name", thinkaudit.__all__)
def test_every_public_name_can_be_had_and_says_what_it_is(name: str) -> None:
    found = getattr(thinkaudit, name)
    assert name == "__version__" or found.__doc__


def test_a_name_that_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Engine'"):
        _ = thinkaudit.Engine  # type: ignore[attr-defined]
    assert set(dir(thinkaudit)) == set(thinkaudit.__all__)


def test_the_version_is_the_one_that_is_installed() -> None:
    assert thinkaudit.__version__ == version("thinkaudit")


def test_type_checkers_are_told_to_read_the_package() -> None:
    assert files("thinkaudit").joinpath("py.typed").is_file()


def test_the_typed_examples_use_every_public_name() -> None:
    tree = ast.parse(USES.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ta"
    }
    assert used == set(thinkaudit.__all__)


def test_importing_the_package_imports_none_of_its_parts() -> None:
    code = "import sys, thinkaudit; print(*(name for name in sys.modules if name.startswith('thinkaudit')))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["thinkaudit"]


def test_errors_that_a_person_mends_are_apart_from_those_a_retry_mends() -> None:
    assert issubclass(thinkaudit.TargetStopped, thinkaudit.FixIt)
    assert not issubclass(thinkaudit.TryAgain, thinkaudit.FixIt)
    for error in (thinkaudit.FixIt, thinkaudit.TryAgain, thinkaudit.CallFailed):
        assert issubclass(error, thinkaudit.ThinkauditError)


def test_a_plan_is_loaded_and_performed_in_two_calls(tmp_path: Path) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", ["Good morning", "Good evening"])
    with serving() as server:
        plan = tmp_path / "plan.toml"
        plan.write_text(plan_text(server.url, [str(cases)]), encoding="utf-8")
        ended = asyncio.run(thinkaudit.perform(thinkaudit.load_plan(plan), tmp_path / "audit.db"))
    assert (ended.state, ended.exit_code, ended.progress.done) == ("done", 0, 2)
    with pytest.raises(thinkaudit.FixIt, match=r"plan\.toml"):
        thinkaudit.load_plan(tmp_path / "missing" / "plan.toml")
