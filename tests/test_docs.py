"""The README is run: its plan is read, its commands exist, its promises about files hold."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from thinkaudit.benchmarks import BUILTIN
from thinkaudit.plan import build
from thinkaudit.planfile import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = [
    shlex.split(line.removeprefix("$ "), comments=True)
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ thinkaudit")
]


def test_the_plan_in_the_readme_is_read_and_built_as_it_stands() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    plan = build(parse(text, "README"), environ={"DEEPSEEK_API_KEY": "a", "OPENAI_API_KEY": "b"})
    assert [target.name for target in plan.targets] == ["deepseek-r1", "deepseek-v3"]
    assert plan.options.budget_usd == 20


def test_every_builtin_benchmark_stands_in_the_table_of_the_readme() -> None:
    assert [name for name in BUILTIN if f"| `{name}` |" not in README] == []


@pytest.mark.parametrize("command", CONSOLE, ids=" ".join)
def test_every_command_and_option_in_the_readme_is_known_to_the_command_line(command: list[str]) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "thinkaudit", command[1], "--help"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert [option for option in command if option.startswith("--") and option not in shown.stdout] == []


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
