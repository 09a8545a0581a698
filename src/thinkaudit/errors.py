"""Two families of error: what a person must mend, and what a retry may mend.

ThinkauditError
  FixIt            the request is wrong; never retried; exit code 2; the text says where and how to mend it
    TargetStopped  one model cannot go on (bad key, no such model); the others do
  TryAgain         rate limit, timeout, 5xx, broken reply; retried by the engine alone, then recorded as failed
  CallFailed       this one call cannot succeed, the model is fine; recorded as failed
  OverBudget       the next call would pass the budget; exit code 3
  Interrupted      someone pressed Ctrl-C; exit code 130
  DryRun           nothing may be asked: only what remains is counted

No message ever holds a key, a prompt or a model's words.
"""

from typing import Literal

Trouble = Literal["rate_limited", "timeout", "connection", "server", "malformed"]


class ThinkauditError(Exception):
    """The root, so that callers can catch everything of ours at once."""


class FixIt(ThinkauditError):
    """Something a person must mend. `where` names the file, key or model; `fix` says what to do."""

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(problem, where, fix)
        self.problem, self.where, self.fix = problem, where, fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{head}\n  fix: {self.fix}" if self.fix else head


class TargetStopped(FixIt):
    """A model that no further call can reach: 401, 403, 404, an unset key."""


class TryAgain(ThinkauditError):
    """A call that failed and may succeed later; `after` is what the server asked us to wait, in seconds."""

    def __init__(self, trouble: Trouble, detail: str, *, after: float | None = None) -> None:
        super().__init__(trouble, detail, after)
        self.trouble, self.detail, self.after = trouble, detail, after

    def __str__(self) -> str:
        return f"{self.trouble}: {self.detail}"


class CallFailed(ThinkauditError):
    """One call that cannot succeed (too long, rejected as it is) by a model that is fine; not retried."""


class OverBudget(ThinkauditError):
    """The budget is spent; nothing is lost, and a higher budget resumes the run."""


class Interrupted(ThinkauditError):
    """Someone pressed Ctrl-C; calls in flight were kept, and running again goes on; exit code 130."""


class DryRun(ThinkauditError):
    """Raised in place of a call when a run only counts what remains to be asked."""
