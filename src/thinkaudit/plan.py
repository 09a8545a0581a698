"""A plan file becomes a Plan: names are turned into objects here and nowhere else.

Every error is a FixIt that names the file, the key and the fix. Keys come from environment variables only.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

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

    `where` is the path of the plan file; a file that is not found from here is looked for beside it. Raises FixIt for
    what is unknown, an unset variable, or a judge that cannot answer a benchmark's rubric.
    """
    _no_empty_plan(file, where)
    _check_options(file, where)
    chosen = {spec: _chosen(spec, where) for spec in file.assessment.benchmarks}
    targets = tuple(_target(table, f"{where}: targets[{i}]", environ) for i, table in enumerate(file.targets))
    seats = seats_of(file.judges, where, environ)
    _check_names(targets, seats, where)
    options = file.options
    plan = Plan(file.assessment.name, tuple(chosen.values()), targets, seats, file.assessment.reference, options, text)
    _check_benchmarks(plan, where)
    _check_references(plan, where)
    check_seats(plan, where)
    check_budget(plan, where)
    return replace(plan, benchmarks=_picked(chosen, only, where))


def seats_of(tables: Mapping[str, JudgeTable], where: str, environ: Mapping[str, str] = os.environ) -> dict[str, Seat]:
    """The judges of a `[judges]` table, by benchmark, rubric or `default`. Equal tables share one seat and limits."""
    made: list[tuple[JudgeTable, Seat]] = []
    seats = {}
    for name, table in tables.items():
        seat = next((seat for known, seat in made if known == table), None)
        if seat is None:
            seat = _seat(table, f"{where}: judges.{name}", environ)
            made.append((table, seat))
        seats[name] = seat
    return seats


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


def _check_options(file: PlanFile, where: str) -> None:
    options = file.options
    least: dict[str, tuple[float | None, float]] = {
        "repeats": (options.repeats, 1),
        "limit": (options.limit, 1),
        "budget_usd": (options.budget_usd, 0),
    }
    for key, (value, lowest) in least.items():
        if value is not None and not (math.isfinite(value) and value >= lowest):
            problem, fix = f"must be a number of at least {lowest}", f"write {key} = {max(lowest, 1)}"
            raise FixIt(problem, where=f"{where}: options.{key}", fix=fix)


def _picked(chosen: Mapping[str, Chosen], only: Sequence[str], where: str) -> tuple[Chosen, ...]:
    """The benchmarks named by `only`, as the plan writes them or by their bare name; all of them without it."""
    wanted: dict[str, Chosen] = {}
    for name in only:
        found = {spec: one for spec, one in chosen.items() if name in (spec, one.benchmark.name)}
        if not found:
            raise FixIt(f"the plan has no benchmark {name!r}", where=f"{where}: --only", fix=nearest(name, chosen))
        wanted |= found
    return tuple(one for spec, one in chosen.items() if not only or spec in wanted)


def _chosen(spec: str, where: str) -> Chosen:
    beside = Path(where).parent / spec
    path = str(beside) if benchmarks.OWN_FILE.fullmatch(spec) and not Path(spec).exists() and beside.exists() else spec
    try:
        benchmark, subset = benchmarks.load(path)
    except FixIt as error:
        place = f"{where}: assessment.benchmarks"
        raise FixIt(error.problem, where=error.where or place, fix=error.fix) from error
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
    lane = _lane(table, where, environ, name=table.name or f"judge:{address}")
    sampling = _sampling(table, table.max_tokens or 4096, temperature=0.0)
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


_POSITIVE = (
    "concurrency", "requests_per_minute", "tokens_per_minute", "max_tokens", "timeout_s", "context",
    "thinking_max_tokens",
)  # fmt: skip
MOST_AT_ONCE = 10_000  # calls; beyond any server, and a bound on what a slip of the pen can start


def _check_numbers(table: ModelTable, where: str) -> None:
    for key in _POSITIVE:
        value = getattr(table, key, None)
        if value is not None and not (math.isfinite(value) and value > 0):
            fix = f"leave {key} out, or write a positive number"
            raise FixIt("must be more than 0", where=f"{where}.{key}", fix=fix)
    if table.concurrency > MOST_AT_ONCE:
        raise FixIt(f"more than {MOST_AT_ONCE:,} at once", where=f"{where}.concurrency", fix="write a lower number")
    if table.temperature is not None and not (math.isfinite(table.temperature) and table.temperature >= 0):
        raise FixIt("must be 0 or more", where=f"{where}.temperature", fix="leave it out, or write such as 0.6")
    if table.top_p is not None and not 0 < table.top_p <= 1:
        raise FixIt(
            "must be more than 0 and at most 1", where=f"{where}.top_p", fix="leave it out, or write such as 0.95"
        )
    for key, usd in (("input", table.price.input), ("output", table.price.output)) if table.price else ():
        if not (math.isfinite(usd) and usd >= 0):
            raise FixIt("must be 0 or more", where=f"{where}.price.{key}", fix="write USD per million tokens")
    if table.base_url is not None:
        _check_address(table.base_url, f"{where}.base_url")


def _check_address(url: str, where: str) -> None:
    if not re.match(r"https?://[^/\s]+", url):
        raise FixIt("is no http(s) address", where=where, fix='such as "http://127.0.0.1:8000/v1"')
    if "@" in url.split("/")[2]:
        raise FixIt("holds a user or password", where=where, fix="name a variable in api_key_env instead")
    if "?" in url or "#" in url:
        raise FixIt(
            "holds a query", where=where, fix="end it before the `?`; a key belongs into api_key_env's variable"
        )


def _key(variable: str | None, where: str, environ: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise FixIt("is not the name of a variable", where=where, fix="name a variable; never write a key into a plan")
    value = environ.get(variable, "").strip()
    if not value:
        # what is not written like a variable may be a key that was put in the wrong place: it is not repeated
        shown = variable if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", variable) else "it names"
        raise FixIt(f"the variable {shown} is not set", where=where, fix=f"export {_exported(shown)}=... and run again")
    if not value.isascii() or not value.isprintable():
        fix = "set it anew; a line break or a letter that is no ASCII came along when it was copied"
        raise FixIt("the variable holds characters that no key has", where=where, fix=fix)
    return value


def _exported(shown: str) -> str:
    return shown if shown.isupper() else "THAT_VARIABLE"


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

    # a call of usual length (long ones have tiers of their own), at the dearest hour where prices follow the clock
    few, noon = 1000, datetime.now(UTC).replace(hour=12, minute=0)
    where = {"provider_api_url": table.base_url} if table.base_url else {}
    hours = [noon + timedelta(hours=later) for later in range(0, 24, 6)]
    usage = Usage(input_tokens=few, output_tokens=few)
    for name in dict.fromkeys((address, address.rpartition("/")[2])):  # routers write VENDOR/MODEL
        try:
            costs = [calc_price(usage, name, genai_request_timestamp=hour, **where) for hour in hours]
        except LookupError:
            continue
        per_million = 1_000_000 / few
        return Price(
            max(float(cost.input_price) for cost in costs) * per_million,
            max(float(cost.output_price) for cost in costs) * per_million,
        )
    return None


def _check_names(targets: Sequence[Target], seats: Mapping[str, Seat], where: str) -> None:
    """Calls are remembered by name, and a report counts them by name: no two models may share one."""
    names = [target.name for target in targets]
    for name, n in Counter(names).items():
        if n > 1:
            fix = "give each target its own name: it is part of what calls are remembered by"
            raise FixIt(f"two targets are named {name!r}", where=f"{where}: targets", fix=fix)
    for seat, judge in seats.items():
        if judge.lane is not None and judge.lane.identity.name in names:
            fix = "give the judge another name, or leave its name out"
            raise FixIt("a target has the same name", where=f"{where}: judges.{seat}.name", fix=fix)


def _check_benchmarks(plan: Plan, where: str) -> None:
    """No case twice: two files of one name would be taken for one benchmark, and a whole holds its subsets already."""
    whole = {chosen.benchmark.name for chosen in plan.benchmarks if chosen.subset is None}
    for chosen in plan.benchmarks:
        if chosen.subset is not None and chosen.benchmark.name in whole:
            problem = f"{chosen.benchmark.name} holds {chosen.benchmark.name}:{chosen.subset} already"
            raise FixIt(problem, where=f"{where}: assessment.benchmarks", fix="leave one of them out")
    known: dict[str, Benchmark] = {}
    for chosen in plan.benchmarks:
        one = known.setdefault(chosen.benchmark.name, chosen.benchmark)
        if one.revision != chosen.benchmark.revision:
            problem = f"two files are named {chosen.benchmark.name!r}"
            raise FixIt(problem, where=f"{where}: assessment.benchmarks", fix="rename one of them")


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


def check_budget(plan: Plan, where: str) -> None:
    """Raise FixIt for a budget that cannot be held, since a model's price is unknown."""
    if plan.options.budget_usd is None:
        return
    for lane in plan.lanes():
        if lane.price is None:
            problem = f"a budget is set, but nobody knows what {lane.identity.model} costs"
            fix = f"add price = {{ input = ..., output = ... }} (USD per million tokens) to {lane.identity.name!r}"
            raise FixIt(problem, where=f"{where}: options.budget_usd", fix=fix)
