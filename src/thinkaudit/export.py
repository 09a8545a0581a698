"""What leaves a store: report files and flat tables, each written whole or not at all, mode 0600."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import FixIt
from .recall import cases, export
from .registry import nearest
from .report import chart, to_html, to_json
from .store import Store
from .summary import make_report

FORMATS = ("parquet", "csv", "jsonl")
_FORMULA = r"^[=+\-@\t\r]"  # a cell that begins like this is a formula to a spreadsheet


def write(store: Store, path: Path, to: str) -> int:
    """Write the outcome table; returns its number of rows. In CSV, a text that a spreadsheet would run is quoted."""
    import polars as pl

    if to not in FORMATS:
        raise FixIt(f"unknown format {to!r}", where="--to", fix=nearest(to, FORMATS))
    table = export(store)
    with _replacing(path) as file:
        if to == "parquet":
            table.write_parquet(file)
        elif to == "jsonl":
            table.write_ndjson(file)
        else:
            text = pl.col(pl.String)
            table.with_columns(
                pl.when(text.str.contains(_FORMULA)).then("'" + text).otherwise(text).name.keep()
            ).write_csv(file)
    return table.height


def write_report(store: Path, out: Path, *, reveal: bool = False, texts: bool = True) -> list[Path]:
    """Write report.json, report.html and the chart into a folder; returns what was written."""
    opened = Store.open(store, create=False)
    try:
        made = make_report(opened)
        files = {
            "report.json": to_json(made),
            "report.html": to_html(made, cases(opened), reveal=reveal, texts=texts).encode(errors="replace"),
            "rates.svg": chart(made),
        }
    finally:
        opened.close()
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FixIt(f"cannot be made ({error.strerror})", where=str(out), fix="choose another --out") from error
    for name, content in files.items():
        with _replacing(out / name) as file:
            file.write(content)
    return [out / name for name in files]


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is complete; nothing half-written is ever left there."""
    import polars as pl

    if not path.name or path.is_dir():
        raise FixIt("is a folder", where=str(path), fix="name a file in it")
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(half, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123
            yield file
        half.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "the disk may be full"
        raise FixIt(f"cannot be written ({why})", where=str(path), fix="make room, or choose another place") from error
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
