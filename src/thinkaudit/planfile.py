"""The plan file at the door: TOML to validated tables, with errors that name file, key and fix.

A key (secret) written into the plan is an error, and its value is never shown.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from .errors import FixIt
from .registry import nearest


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: float
    output: float


class ModelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What targets and judges have in common."""

    model: str = ""
    name: str = ""
    revision: str = ""
    base_url: str | None = None
    api_key_env: str | None = None
    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    extra: dict[str, Any] = {}
    price: PriceTable | None = None
    timeout_s: float = 600.0
    stream: bool = False
    context: int = 4096


# the two tables below share seventeen keys: here inheritance says it best
class TargetTable(ModelTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[targets]]` entry."""

    access: Literal["open", "proprietary"] | None = None
    reasoning: bool | None = None
    base: str | None = None
    thinking: Literal["auto", "prefill"] = "auto"
    thinking_max_tokens: int = 4096
    continues: Literal["continue_final_message", "prefix", "assistant"] | None = None
    system_role: Literal["system", "user"] = "system"


class JudgeTable(ModelTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of `[judges]`."""

    kind: str = "rubric"


class AssessmentTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[assessment]`."""

    name: str
    benchmarks: list[str]
    reference: str | None = None


class OptionsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[options]`."""

    repeats: int = 1
    limit: int | None = None
    seed: int = 0
    budget_usd: float | None = None
    count: Literal["full", "paper", "dedup"] = "full"


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    assessment: AssessmentTable
    targets: list[TargetTable] = []
    judges: dict[str, JudgeTable] = {}
    options: OptionsTable = OptionsTable()


def read(path: Path) -> tuple[PlanFile, str]:
    """The plan file, validated, and its text. Raises FixIt naming file, key and fix."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FixIt(
            f"cannot be read ({error.strerror})", where=str(path), fix="give the path of a plan file"
        ) from error
    except UnicodeDecodeError as error:
        raise FixIt("is not UTF-8 text", where=str(path), fix="save the plan as UTF-8") from error
    return parse(text, str(path)), text


def parse(text: str, where: str) -> PlanFile:
    """The text of a plan file, validated."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FixIt(f"is not valid TOML: {error}", where=where, fix="mend the line it names") from error
    _no_keys_inside(table, where)
    _no_unknown_keys(table, where)
    try:
        return msgspec.convert(table, PlanFile)
    except msgspec.ValidationError as error:
        problem, _, at = str(error).partition(" - at ")
        key = at.strip("`").removeprefix("$").removeprefix(".")
        raise FixIt(problem, where=f"{where}: {key}" if key else where, fix="see the README's plan file") from error


# --- what a table may hold -------------------------------------------------------------------------------------

_KEY_NAMES = re.compile(r"(^|_|-)(api_?key|key|token|secret|password|authorization|bearer)$", re.IGNORECASE)
_KEY_VALUES = re.compile(
    r"^(Bearer\s+\S{8,}|(sk|pk|rk|hf|gsk|xai|ghp|AIza|key|api|r8|nvapi|or)[-_][A-Za-z0-9_\-]{16,}|AIza[A-Za-z0-9_\-]{30,}"
    r"|eyJ[A-Za-z0-9_\-]{20,}\.[A-Za-z0-9_\-.]+|(?=[^/:.\s]*\d)(?=[^/:.\s]*[A-Za-z])[A-Za-z0-9_\-+=]{32,})$"
)


def _no_keys_inside(table: Mapping[str, Any], where: str) -> None:
    for path, name, value in _leaves(table):
        if not isinstance(value, str):
            continue
        named = bool(_KEY_NAMES.search(name)) and name != "revision"
        looks = name not in ("revision", "model", "name", "base") and bool(_KEY_VALUES.match(value.strip()))
        if value and (named or looks):
            raise FixIt(
                "a key is written into the plan (its value is not shown here)",
                where=f"{where}: {path}",
                fix='put it into an environment variable and write api_key_env = "NAME_OF_THE_VARIABLE"; '
                "if the plan was shared, revoke the key",
            )


def _leaves(value: object, path: str = "", name: str = "") -> Iterator[tuple[str, str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key, key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{i}]", name)
    else:
        yield path, name, value


def _no_unknown_keys(table: Mapping[str, Any], where: str) -> None:
    """Name an unknown key with the nearest known one; msgspec alone would only say that it is unknown."""
    _only_known(table, PlanFile, where, "")
    _only_known(table.get("assessment"), AssessmentTable, where, "assessment")
    _only_known(table.get("options"), OptionsTable, where, "options")
    targets = table.get("targets")
    for i, target in enumerate(targets if isinstance(targets, list) else []):
        _only_known(target, TargetTable, where, f"targets[{i}]")
    seats = table.get("judges")
    for name, seat in (seats if isinstance(seats, dict) else {}).items():
        _only_known(seat, JudgeTable, where, f"judges.{name}")


def _only_known(table: object, kind: type[msgspec.Struct], where: str, path: str) -> None:
    known = kind.__struct_fields__
    for key in cast("Mapping[str, Any]", table) if isinstance(table, dict) else ():
        if key not in known:
            at = f"{path}.{key}" if path else key
            raise FixIt(f"unknown key {key!r}", where=f"{where}: {at}", fix=nearest(key, known))
