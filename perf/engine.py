"""The engine, measured: a whole `thinkaudit run` against a server that only waits.

    python -m perf.engine                              # 5,694 cases, 3 calls each, 200 at once, 0.2 s latency
    python -m perf.engine --thinking-bytes 20000       # the same with long thinking
    python -m perf.engine --cases 20000 --only run     # one part of it: run, replay, kill

Three parts: a run into an empty store; the same command again, which must send nothing; and a run that is killed
(SIGKILL) half way and then started again. The plan gives the target a third of the calls at once and the judge two
thirds, because each case is asked once and judged twice: so both are always busy, and `at once` counts both together.
"""

import argparse
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from perf.work import CALLS_A_CASE, CASES, Measured, Setting, finish, machine, measure, prompts, server, start, stats

PLAN = """[assessment]
name = "perf"
benchmarks = ["prompts.jsonl"]

[[targets]]
name = "perf-target"
model = "http:perf-target"
base_url = "{address}"
concurrency = {target}

[judges]
default = {{ model = "http:perf-judge", base_url = "{address}", concurrency = {judge} }}
"""
RUN = [sys.executable, "-c", "from thinkaudit.cli import main; main()", "run", "plan.toml", "--store", "perf.db"]


def write_plan(folder: Path, setting: Setting, address: str) -> None:
    lines = (msgspec.json.encode({"id": str(i), "prompt": text}) for i, text in enumerate(prompts(setting.cases)))
    (folder / "prompts.jsonl").write_bytes(b"\n".join(lines))
    target = max(1, setting.at_once // CALLS_A_CASE)
    plan = PLAN.format(address=address, target=target, judge=max(1, setting.at_once - target))
    (folder / "plan.toml").write_text(plan, encoding="utf-8")


def run_once(setting: Setting, folder: Path) -> Measured:
    """The command, which must end well; what it said is shown when it did not."""
    log = folder / "log.txt"
    measured = measure(RUN, folder, log)
    if measured.code:
        sys.exit(f"thinkaudit run ended with {measured.code}:\n{log.read_text(encoding='utf-8')[-2000:]}")
    with closing(sqlite3.connect(folder / "perf.db")) as store:
        calls, judged = (store.execute(sql).fetchone()[0] for sql in (_CALLS, _JUDGED))
    if (calls, judged) != (setting.calls, setting.cases * 2):
        sys.exit(f"the store holds {calls} calls and {judged} verdicts; {setting.calls} and {setting.cases * 2} wanted")
    return measured


_CALLS = "SELECT count(*) FROM calls"
_JUDGED = "SELECT count(*) FROM outcomes WHERE status = 'ok'"
_ASKING = "SELECT max(at) - min(at - seconds) FROM calls"


def asking_s(folder: Path) -> float:
    """Seconds from the first request to the last commit: the run without starting Python and printing the table."""
    with closing(sqlite3.connect(folder / "perf.db")) as store:
        return float(store.execute(_ASKING).fetchone()[0])


def report_run(setting: Setting, folder: Path, address: str) -> None:
    measured, seen = run_once(setting, folder), stats(address)
    print(f"wall time, the whole command     {measured.wall_s:8.2f} s   (ideal {setting.ideal_s:.2f} s)")
    print(f"share of ideal, whole command    {setting.ideal_s / measured.wall_s:8.2f}")
    print(f"share of ideal, while asking     {setting.ideal_s / asking_s(folder):8.2f}")
    print(f"CPU a case, everything included  {1000 * measured.cpu_s / setting.cases:8.2f} ms")
    print(f"peak memory                      {measured.peak_mb:8.0f} MB")
    print(f"requests {seen['requests']}, at most {seen['most_open']} at once, {seen['repeated']} of them repeated")
    size = sum(file.stat().st_size for file in folder.glob("perf.db*")) / 2**20
    print(f"store                            {size:8.0f} MB")


def report_replay(setting: Setting, folder: Path, address: str) -> None:
    if not (folder / "perf.db").exists():
        run_once(setting, folder)
    before = stats(address)["requests"]
    measured = run_once(setting, folder)
    print(f"replay, the whole command        {measured.wall_s:8.2f} s   ({measured.cpu_s:.2f} s CPU)")
    print(f"calls sent on replay             {stats(address)['requests'] - before:8d}")


def report_kill(setting: Setting, folder: Path, address: str) -> None:
    for file in folder.glob("perf.db*"):
        file.unlink()
    before, half = stats(address)["requests"], setting.calls // 2
    process = start(RUN, folder, folder / "log.txt")
    while stats(address)["requests"] - before < half and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    finish(process, time.monotonic())
    killed = stats(address)["requests"] - before
    with closing(sqlite3.connect(folder / "perf.db")) as store:
        kept = store.execute(_CALLS).fetchone()[0]
    measured = run_once(setting, folder)
    sent = stats(address)["requests"] - before
    repeated = sent - setting.calls
    print(f"killed after requests            {killed:8d}   ({kept} of them stored)")
    print(f"sent after the restart           {sent - killed:8d}")
    print(f"calls repeated                   {repeated:8d}   (under way, or their commit was, at the kill)")
    print(f"stored calls repeated            {repeated - (killed - kept):8d}")
    print(f"restart, the whole command       {measured.wall_s:8.2f} s")


PARTS: dict[str, Callable[[Setting, Path, str], None]] = {
    "run": report_run,
    "replay": report_replay,
    "kill": report_kill,
}


def setting_options(about: str, *, cases: int = CASES) -> argparse.ArgumentParser:
    """The options that decide a setting; `read_setting` reads them."""
    usual = Setting()
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, default=cases)
    options.add_argument("--latency", type=float, default=usual.latency, help="seconds until a reply")
    options.add_argument("--thinking-bytes", type=int, default=usual.thinking_bytes)
    options.add_argument(
        "--at-once", type=int, default=usual.at_once, help="calls under way, target and judge together"
    )
    return options


def read_setting(chosen: argparse.Namespace) -> Setting:
    return Setting(chosen.cases, chosen.latency, chosen.thinking_bytes, chosen.at_once)


def main() -> None:
    options = setting_options(__doc__ or "")
    options.add_argument("--only", choices=PARTS, help="one part instead of all three")
    chosen = options.parse_args()
    setting = read_setting(chosen)
    print(f"{setting}\n{machine()}")
    with tempfile.TemporaryDirectory() as temporary, server(setting) as address:
        folder = Path(temporary)
        write_plan(folder, setting, address)
        for name in [chosen.only] if chosen.only else PARTS:
            PARTS[name](setting, folder, address)


if __name__ == "__main__":
    main()
