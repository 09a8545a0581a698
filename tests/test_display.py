"""What is shown while a run goes on: live counts in one line, safe for a terminal."""

import time
from collections import Counter

import pytest

from thinkaudit.assess import Progress
from thinkaudit.display import facts, progress
from thinkaudit.engine import Lane, Limits, Price, Tally
from thinkaudit.models.http import from_settings
from thinkaudit.types import Identity, ModelSettings


def lane(price: Price | None = None, **tally: object) -> Lane:
    made = Lane(from_settings(ModelSettings(Identity("m", "m"), "m")), Limits(4), price)
    for name, value in tally.items():
        setattr(made.tally, name, value)
    assert isinstance(made.tally, Tally)
    return made


def test_the_line_tells_rate_tokens_cost_and_trouble() -> None:
    now = Progress(cases=100, done=25, statuses=Counter({"ok": 20, "failed": 3, "unsure": 2}))
    now.stopped["gone"] = "refused"
    line = facts(now, (lane(Price(1, 1), fresh=30, input_tokens=1_500, output_tokens=2_500, cost_usd=1.234,
                            troubles=Counter({"rate_limited": 7})),))  # fmt: skip
    for words in (
        "calls/s",
        "4.0k tokens",
        "1.23 USD",
        "left",
        "rate_limited 7x",
        "failed 3",
        "unsure 2",
        "gone stopped",
    ):
        assert words in line
    assert "ok 20" not in line


def test_a_cost_that_nobody_knows_is_not_shown_as_zero() -> None:
    assert "cost unknown" in facts(Progress(), (lane(None, fresh=1), lane(Price(1, 1), fresh=1)))
    assert "0.00 USD" in facts(Progress(), (lane(Price(0, 0), fresh=1),))


def test_who_makes_us_wait_is_shown_while_it_does() -> None:
    assert "told to wait" in facts(Progress(), (lane(waiting_until=time.monotonic() + 60),))
    assert "told to wait" not in facts(Progress(), (lane(waiting_until=time.monotonic() - 1),))


def test_names_with_control_sequences_are_made_safe() -> None:
    now = Progress()
    now.stopped["\x1b[2Jred\x07"] = "refused"
    line = facts(now, ())
    assert "red stopped" in line
    assert "\x1b" not in line
    assert "\x07" not in line


def test_where_there_is_no_terminal_a_stop_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    now = Progress(cases=10, done=1)
    with progress() as watch:
        assert watch is not None
        watch(now, ())
        assert capsys.readouterr().err == ""
        now.ending = True
        watch(now, ())
        watch(now, ())
    said = capsys.readouterr().err
    assert said.count("Ctrl-C again stops at once") == 1
    assert said.startswith("1/10 cases")


def test_a_quiet_display_shows_nothing_at_all() -> None:
    with progress(quiet=True) as watch:
        assert watch is None
