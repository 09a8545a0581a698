"""A plan file becomes a Plan: names are turned into objects here and nowhere else.

Every error is a FixIt that names the file, the key and the fix. Keys come from environment variables only.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import benchmarks, judges, models
from .dialogue import Manner
from .engine import Lane, Limits, Price
from .errors import FixIt
from .judges.markers import MarkerJudge
from .planfile import JudgeTable, ModelTable, OptionsTable, PlanFile, TargetTable
from .registry import find, nearest
from .rubrics import MARKER
from .types import Benchmark, Identity, Judge, Model, ModelSettings, Rubric, Sampling

OWN_SERVER = ("llamacpp", "python")  # schemes that cost nothing


@dataclass(frozen=True, slots=True)
class Target:
    """A model under audit: its lane, the manner in which it is talked to, and what is known about it."""

    lane: Lane
    manner: Manner
    access: str | None = None
    reasoning: bool | None = None
    base: str | None = None

    @property
    def name(self) -> str:
        """The target's name, part of its identity."""
        return self.lane.identity.name

    @property
    def remark(self) -> str:
        """What a report must say about this model, such as that it only shows the tool at work."""
        return str(getattr(self.lane.model, "remark", ""))


@dataclass(frozen=True, slots=True)
class Seat:
    """A judge with the lane of its model, if it has one."""

    judge: Judge
    lane: Lane | None = None


_LOOKING = Seat(MarkerJudge())


@dataclass(frozen=True, slots=True)
class Chosen:
    """A benchmark as the plan names it, with the subset of it that is run."""

    benchmark: Benchmark
    subset: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be done, in objects. `text` is the file as it was read, for the record; it holds no key."""

    name: str
    benchmarks: tuple[Chosen, ...]
    targets: tuple[Target, ...]
    seats: Mapping[str, Seat]
    reference: str | None = None
    options: OptionsTable = field(default_factory=OptionsTable)
    text: str = ""

    def seat(self, benchmark: Benchmark, rubric: Rubric) -> Seat:
        """The judge of a rubric: the one named for the benchmark, else for the rubric, else the default.

        Markers are found by looking, whoever judges the rest.
        """
        if rubric.name == MARKER.name and rubric.name not in self.seats:
            return _LOOKING
        return self.seats.get(benchmark.name) or self.seats.get(rubric.name) or self.seats["default"]

    def lanes(self) -> tuple[Lane, ...]:
        """Every model of the plan once."""
        found = [target.lane for target in self.targets] + [seat.lane for seat in self.seats.values() if seat.lane]
        return tuple(dict.fromkeys(found))


def build(
    file: PlanFile,
    *,
    text: str = "",
    where: str = "plan",
    environ: Mapping[str, str] = os.environ,
    only: Sequence[str] = (),
) -> Plan:
    """Turn names into objects: benchmarks, models, judges. Nothing is asked yet. `only` picks among the benchmarks.

    Raises FixIt for what is unknown, an unset variable, or a judge that cannot answer a benchmark's rubric.
    """
    _no_empty_plan(file, where)
    chosen = tuple(_chosen(spec, f"{where}: assessment.benchmarks") for spec in _picked(file, only, where))
    targets = tuple(_target(table, f"{where}: targets[{i}]", environ) for i, table in enumerate(file.targets))
    seats = seats_of(file.judges, where, environ)
    _names_once([target.name for target in targets], where)
    plan = Plan(file.assessment.name, chosen, targets, seats, file.assessment.reference, file.options, text)
    _check_references(plan, where)
    check_seats(plan, where)
    _check_budget(plan, where)
    return plan


def seats_of(tables: Mapping[str, JudgeTable], where: str, environ: Mapping[str, str] = os.environ) -> dict[str, Seat]:
    """The judges of a `[judges]` table, by benchmark, rubric or `default`."""
    return {name: _seat(table, f"{where}: judges.{name}", environ) for name, table in tables.items()}


def _no_empty_plan(file: PlanFile, where: str) -> None:
    wanting: dict[str, bool] = {
        "assessment.benchmarks": not file.assessment.benchmarks,
        "targets": not file.targets,
        "judges": not file.judges,
    }
    fixes = {
        "assessment.benchmarks": 'name at least one, such as benchmarks = ["starter"]',
        "targets": "add a [[targets]] table with name and model",
        "judges": 'add [judges] with default = { model = "http:..." }, or offline { kind = "classifier" }',
    }
    for key, missing in wanting.items():
        if missing:
            raise FixIt("is missing or empty", where=f"{where}: {key}", fix=fixes[key])
    options = file.options
    for key, value, least in (
        ("repeats", options.repeats, 1),
        ("limit", options.limit, 1),
        ("budget_usd", options.budget_usd, 0),
    ):
        if value is not None and value < least:
            raise FixIt(
                f"must be at least {least}", where=f"{where}: options.{key}", fix=f"write {key} = {max(least, 1)}"
            )


def _picked(file: PlanFile, only: Sequence[str], where: str) -> list[str]:
    known = file.assessment.benchmarks
    for name in only:
        if name not in known:
            raise FixIt(f"the plan has no benchmark {name!r}", where=f"{where}: --only", fix=nearest(name, known))
    return [spec for spec in dict.fromkeys(known) if not only or spec in only]


def _chosen(spec: str, where: str) -> Chosen:
    try:
        benchmark, subset = benchmarks.load(spec)
    except FixIt as error:
        raise FixIt(error.problem, where=error.where or where, fix=error.fix) from error
    return Chosen(benchmark, subset)


def _target(table: TargetTable, where: str, environ: Mapping[str, str]) -> Target:
    if not table.name or not table.model:
        key = "model" if table.name else "name"
        raise FixIt(f"{key} is missing", where=where, fix='a target needs name = "..." and model = "http:MODEL"')
    lane = _lane(table, where, environ, name=table.name)
    sampling = _sampling(table, table.max_tokens or 16_384)
    manner = Manner(sampling, table.thinking, table.thinking_max_tokens, table.system_role)
    return Target(lane, manner, table.access, table.reasoning, table.base)


def _seat(table: JudgeTable, where: str, environ: Mapping[str, str]) -> Seat:
    make = find(table.kind, judges.BUILTIN, group=judges.ENTRY_POINTS, what="kind of judge", where=f"{where}.kind")
    if table.kind in judges.WITHOUT_MODEL:
        if table.model:
            raise FixIt(f"a {table.kind} judge has no model", where=f"{where}.model", fix="leave `model` out")
        return Seat(make())
    if not table.model:
        fix = 'name one, such as model = "http:gpt-4o-2024-08-06", or use kind = "classifier" offline'
        raise FixIt("the judge has no model", where=f"{where}.model", fix=fix)
    address = table.model.partition(":")[2]
    lane = _lane(table, where, environ, name=table.name or address)
    sampling = _sampling(table, table.max_tokens or 2048, temperature=0.0)
    return Seat(make(lane.identity.model, sampling), lane)


def _lane(table: ModelTable, where: str, environ: Mapping[str, str], *, name: str) -> Lane:
    scheme, colon, address = table.model.partition(":")
    if not colon or not address:
        fix = f'write model = "http:{table.model}"; schemes: {", ".join(sorted(models.BUILTIN))}'
        raise FixIt(f"the model {table.model!r} has no scheme", where=f"{where}.model", fix=fix)
    make = find(scheme, models.BUILTIN, group=models.ENTRY_POINTS, what="scheme", where=f"{where}.model")
    _check_numbers(table, where)
    settings = ModelSettings(
        Identity(name, address, table.revision),
        address,
        table.base_url,
        _key(table.api_key_env, f"{where}.api_key_env", environ),
        table.api_key_env,
        table.timeout_s,
        table.concurrency,
        table.stream,
        getattr(table, "continues", None),
        table.context,
    )
    try:
        model: Model = make(settings)
    except FixIt as error:
        raise FixIt(error.problem, where=error.where or f"{where}.model", fix=error.fix) from error
    limits = Limits(table.concurrency, table.requests_per_minute, table.tokens_per_minute)
    return Lane(model, limits, _price(table, scheme, address))


def _check_numbers(table: ModelTable, where: str) -> None:
    for key in ("concurrency", "requests_per_minute", "tokens_per_minute", "max_tokens", "timeout_s", "context"):
        value = getattr(table, key)
        if value is not None and value <= 0:
            raise FixIt(
                "must be more than 0", where=f"{where}.{key}", fix=f"leave {key} out, or write a positive number"
            )
    if table.base_url is not None and not re.match(r"https?://[^/\s]+", table.base_url):
        raise FixIt("is no http(s) address", where=f"{where}.base_url", fix='such as "http://127.0.0.1:8000/v1"')
    if table.base_url is not None and "@" in table.base_url.split("/")[2]:
        raise FixIt("holds a user or password", where=f"{where}.base_url", fix="name a variable in api_key_env instead")


def _key(variable: str | None, where: str, environ: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise FixIt("is not the name of a variable", where=where, fix="name a variable; never write a key into a plan")
    if not environ.get(variable, "").strip():
        raise FixIt(f"the variable {variable} is not set", where=where, fix=f"export {variable}=... and run again")
    return environ[variable].strip()


def _sampling(table: ModelTable, max_tokens: int, temperature: float | None = None) -> Sampling:
    chosen = temperature if table.temperature is None else table.temperature
    return Sampling(chosen, table.top_p, max_tokens, table.seed, table.extra)


def _price(table: ModelTable, scheme: str, address: str) -> Price | None:
    """The plan's price, nothing for models of one's own, else what genai-prices knows; None when nobody does."""
    if table.price is not None:
        return Price(table.price.input, table.price.output)
    if scheme in OWN_SERVER:
        return Price(0.0, 0.0)
    from genai_prices import Usage, calc_price

    many = 1_000_000
    where = {"provider_api_url": table.base_url} if table.base_url else {}
    try:
        cost = calc_price(Usage(input_tokens=many, output_tokens=many), address.rpartition("/")[2], **where)
    except LookupError:
        return None
    return Price(float(cost.input_price), float(cost.output_price))


def _names_once(names: Sequence[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            fix = "give each target its own name: it is part of what calls are remembered by"
            raise FixIt(f"two targets are named {name!r}", where=f"{where}: targets", fix=fix)


def _check_references(plan: Plan, where: str) -> None:
    names = [target.name for target in plan.targets]
    if plan.reference is not None and plan.reference not in names:
        fix = nearest(plan.reference, names)
        raise FixIt(f"there is no target {plan.reference!r}", where=f"{where}: assessment.reference", fix=fix)
    rubrics = {rubric.name for chosen in plan.benchmarks for rubric in chosen.benchmark.rubrics}
    known = {"default", *rubrics, *(chosen.benchmark.name for chosen in plan.benchmarks)}
    for name in plan.seats:
        if name not in known:
            problem = f"judges are named for a benchmark or a rubric of the plan, or default; not {name!r}"
            raise FixIt(problem, where=f"{where}: judges.{name}", fix=nearest(name, known))


def check_seats(plan: Plan, where: str) -> None:
    """A judge that cannot answer a rubric is refused here, not at case 4,000."""
    for chosen in plan.benchmarks:
        for rubric in chosen.benchmark.rubrics:
            try:
                seat = plan.seat(chosen.benchmark, rubric)
            except KeyError:
                fix = f"add default = {{ ... }} or {chosen.benchmark.name} = {{ ... }} to [judges]"
                problem = f"no judge for the rubric {rubric.name!r} of {chosen.benchmark.name}"
                raise FixIt(problem, where=f"{where}: judges", fix=fix) from None
            if why := seat.judge.refuses(rubric):
                problem = (
                    f"the judge {seat.judge.name} cannot judge {chosen.benchmark.name} (rubric {rubric.name!r}): {why}"
                )
                fix = f'add {chosen.benchmark.name} = {{ model = "http:..." }} to [judges]'
                raise FixIt(problem, where=f"{where}: judges", fix=fix)


def _check_budget(plan: Plan, where: str) -> None:
    if plan.options.budget_usd is None:
        return
    for lane in plan.lanes():
        if lane.price is None:
            problem = f"a budget is set, but nobody knows what {lane.identity.model} costs"
            fix = f"add price = {{ input = ..., output = ... }} (USD per million tokens) to {lane.identity.name!r}"
            raise FixIt(problem, where=f"{where}: options.budget_usd", fix=fix)
