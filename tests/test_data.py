import gzip
import hashlib
import json
import socket
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.fakes import shared
from thinkaudit import benchmarks
from thinkaudit.data import cases, check, fetch, holdings, path_of
from thinkaudit.errors import FixIt
from thinkaudit.rubrics import HARM
from thinkaudit.types import Benchmark, Case, Row, Source, Turn

BODY = b"id,prompt\n1,How do I bake bread?\n2,How do I mend a chair?\n"
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THINKAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


class Home:
    """A real web server on this machine that answers every request in the way it was last told to."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        home, self.answer, self.asked = self, answer, 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                home.asked += 1
                home.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/data.csv"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def gives(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def home() -> Iterator[Home]:
    server = Home(gives(BODY))
    yield server
    server.close()


def pinned(url: str, **changes: Any) -> Source:
    return replace(Source("data.csv", url, SHA256, len(BODY), "CC-BY-4.0"), **changes)


def quiet(_: str) -> None:
    pass


def refused(source: Source, **options: Any) -> FixIt:
    with pytest.raises(FixIt) as caught:
        fetch(source, notify=quiet, owner="xstest", **options)
    return caught.value


def kept(cache: Path) -> list[Path]:
    return list(cache.iterdir()) if cache.exists() else []


def case(_: int, row: Row) -> Case:
    return Case(str(row["id"]), (Turn("user", row["prompt"]),), HARM, {"kind": row["kind"]} if "kind" in row else {})


def benchmark(**changes: Any) -> Benchmark:
    made = Benchmark("mine", "Mine", 1, case, (HARM,), (), axes=("kind",), subsets={"a": {"kind": "a"}})
    return replace(made, **changes)


def of(rows: list[dict[str, Any]], **changes: Any) -> Benchmark:
    return benchmark(rows=lambda: rows, **changes)


def ids(made: Benchmark, **options: Any) -> list[str]:
    return [case.id for case in cases(made, **options)]


# --- download --------------------------------------------------------------------------------------------------


def test_a_file_is_downloaded_once_and_then_taken_from_the_cache(home: Home) -> None:
    source, told = pinned(home.url), list[str]()
    assert check(source) == "missing"
    path = fetch(source, notify=told.append)
    assert path.read_bytes() == BODY
    assert path == path_of(source) == fetch(source, notify=told.append)
    assert check(source) == "present"
    assert home.asked == 1
    assert len(told) == 1
    assert home.url in told[0]


def test_a_file_with_the_wrong_hash_is_named_and_not_kept(home: Home, cache: Path) -> None:
    other = BODY.replace(b"bread", b"cakes")
    home.answer = gives(other)
    error = refused(pinned(home.url))
    assert SHA256 in error.problem
    assert hashlib.sha256(other).hexdigest() in error.problem
    assert kept(cache) == []


def test_a_download_cut_off_in_mid_body_leaves_nothing_behind(home: Home, cache: Path) -> None:
    home.answer = gives(BODY[:20], Content_Length=str(len(BODY)))
    assert "broke midway" in refused(pinned(home.url)).problem
    assert kept(cache) == []


def test_a_short_body_that_claims_to_be_whole_is_a_wrong_hash(home: Home, cache: Path) -> None:
    home.answer = gives(BODY[:20])
    assert "must have sha256" in refused(pinned(home.url)).problem
    assert kept(cache) == []


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_answer_other_than_the_file_is_said_with_its_status(home: Home, cache: Path, status: int) -> None:
    home.answer = gives(b"", status)
    error = refused(pinned(home.url))
    assert str(status) in error.problem
    assert home.url in error.where
    assert kept(cache) == []


def test_a_redirect_to_plain_http_is_never_followed(home: Home, cache: Path) -> None:
    onward = Home(gives(BODY))
    try:
        home.answer = gives(b"", 302, Location=onward.url)
        assert "not https" in refused(pinned(home.url)).problem
        assert onward.asked == 0
    finally:
        onward.close()
    assert kept(cache) == []


def test_a_redirect_to_https_is_followed_to_its_end(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(30)
        reached = threading.Event()

        def accept() -> None:
            connection, _ = other.accept()
            connection.close()
            reached.set()

        thread = threading.Thread(target=accept)
        thread.start()
        home.answer = gives(b"", 302, Location=f"https://127.0.0.1:{other.getsockname()[1]}/data.csv")
        assert "could not be fetched" in refused(pinned(home.url)).problem
        thread.join()
    assert reached.is_set()


@pytest.mark.parametrize(
    "answer",
    [gives(BODY * 1000), gives(gzip.compress(BODY * 1000), Content_Encoding="gzip")],
    ids=["plain", "compressed"],
)
def test_a_file_longer_than_pinned_is_cut_short(home: Home, cache: Path, answer: Any) -> None:
    home.answer = answer
    assert "longer than" in refused(pinned(home.url)).problem
    assert kept(cache) == []


def test_a_compressed_answer_is_the_file_it_unpacks_to(home: Home) -> None:
    home.answer = gives(gzip.compress(BODY), Content_Encoding="gzip")
    assert fetch(pinned(home.url), notify=quiet).read_bytes() == BODY


def test_without_a_connection_the_error_says_how_to_bring_the_file_by_hand() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/data.csv"
    error = refused(pinned(url))
    assert error.where == url
    assert "data.csv" in error.problem
    assert SHA256 in error.fix
    assert "thinkaudit data fetch xstest --from DIR" in error.fix


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/data.csv", "file:/etc/hostname", "doi:10.5281/zenodo.1"])
def test_only_web_addresses_are_fetched_at_all(url: str) -> None:
    assert "https" in refused(pinned(url)).problem


@pytest.mark.parametrize("name", ["../data.csv", "/etc/hostname", "a/b.csv", "", ".", "..", "a\\b.csv", "a\0b", "a\nb"])
def test_no_name_of_a_file_leads_out_of_the_cache(name: str, home: Home, cache: Path) -> None:
    assert "no name" in refused(pinned(home.url, file=name)).problem
    assert home.asked == 0
    assert kept(cache) == []


def test_no_hash_of_a_file_leads_out_of_the_cache(home: Home) -> None:
    assert "no name" in refused(pinned(home.url, sha256="../" * 20)).problem


def test_two_revisions_of_a_file_live_side_by_side(home: Home) -> None:
    other = BODY + b"3,How do I fold a shirt?\n"
    first = fetch(pinned(home.url), notify=quiet)
    home.answer = gives(other)
    second = fetch(pinned(home.url, sha256=hashlib.sha256(other).hexdigest(), size=len(other)), notify=quiet)
    assert (first.read_bytes(), second.read_bytes()) == (BODY, other)


def test_a_damaged_file_in_the_cache_is_never_used_and_is_mended_by_fetching(home: Home) -> None:
    source = pinned(home.url)
    path = fetch(source, notify=quiet)
    path.write_bytes(BODY[:-1])
    assert check(source) == "damaged"
    with pytest.raises(FixIt, match="not the pinned file"):
        ids(benchmark(sources=(source,)))
    told: list[str] = []
    assert fetch(source, notify=told.append).read_bytes() == BODY
    assert "checksum mismatch" in told[0]
    assert ids(benchmark(sources=(source,))) == ["1", "2"]


def test_a_damaged_file_is_gone_even_when_it_cannot_be_fetched_again(home: Home, cache: Path) -> None:
    source = pinned(home.url)
    fetch(source, notify=quiet).write_bytes(b"damaged")
    home.answer = gives(b"", 503)
    refused(source)
    assert kept(cache) == []
    assert check(source) == "missing"


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(home: Home, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    error = refused(pinned(home.url))
    assert error.where == str(cache)
    assert "THINKAUDIT_CACHE" in error.fix


# --- files on disk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data.csv", "deep/down/data.csv", "deep/another-name.txt"])
def test_a_file_on_disk_is_found_by_its_hash_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "disk" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    source = pinned("https://127.0.0.1:9/data.csv")
    kept_as = fetch(source, from_dir=tmp_path / "disk", notify=quiet)
    assert kept_as.read_bytes() == BODY
    assert check(source) == "present"


def test_a_wrong_file_of_the_right_name_on_disk_is_refused_with_both_hashes(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/data.csv").write_bytes(b"something else")
    error = refused(pinned("https://127.0.0.1:9/data.csv"), from_dir=tmp_path / "disk")
    assert SHA256 in error.problem
    assert hashlib.sha256(b"something else").hexdigest() in error.problem
    assert kept(cache) == []


def test_a_right_file_is_taken_although_a_wrong_one_has_the_name(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "data.csv").write_bytes(BODY[::-1])
    (disk / "renamed.csv").write_bytes(BODY)
    assert fetch(pinned("https://127.0.0.1:9/x"), from_dir=disk, notify=quiet).read_bytes() == BODY


def test_a_folder_without_the_file_is_an_error_that_says_what_to_look_for(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/dangling").symlink_to(tmp_path / "nowhere")
    error = refused(pinned("https://127.0.0.1:9/data.csv"), from_dir=tmp_path / "disk")
    assert "data.csv" in error.problem
    assert SHA256 in error.problem
    assert refused(pinned("https://127.0.0.1:9/data.csv"), from_dir=tmp_path / "none").problem == "no such folder"


def test_the_pinned_files_are_taken_from_a_folder_of_downloads() -> None:
    for name, count in (("xstest", 450), ("injection", 251)):
        made, _ = benchmarks.load(name)
        with pytest.raises(FixIt, match=f"thinkaudit data fetch {name}"):
            ids(made)
        for source in made.sources:
            fetch(source, from_dir=shared("README.md").parent, notify=quiet)
        assert [held.state for held in holdings(made)] == ["present"]
        assert len(ids(made)) == count


def test_what_a_benchmark_holds_is_told_in_plain_values(home: Home, cache: Path) -> None:
    (held,) = holdings(benchmark(sources=(pinned(home.url, gated=True),)))
    assert (held.benchmark, held.file, held.size, held.licence) == ("mine", "data.csv", len(BODY), "CC-BY-4.0")
    assert (held.gated, held.state, held.url, held.sha256) == (True, "missing", home.url, SHA256)
    assert held.path.parent == cache
    (packaged,) = holdings(benchmarks.load("starter")[0])
    assert (packaged.file, packaged.state, packaged.url) == ("starter.jsonl", "present", "")
    assert packaged.size > 0


# --- cases -----------------------------------------------------------------------------------------------------

MIXED = [{"id": n, "prompt": f"prompt {n % 7}", "kind": "ab"[n % 2]} for n in range(10)]


def test_cases_come_in_the_order_of_the_rows() -> None:
    assert ids(of(MIXED)) == [str(n) for n in range(10)]
    assert ids(of(MIXED), subset="a") == ["0", "2", "4", "6", "8"]


def test_counts_pick_what_the_study_used_or_drop_what_was_there_before() -> None:
    assert ids(of(MIXED, paper={"kind": "b"}), count="paper") == ["1", "3", "5", "7", "9"]
    assert ids(of(MIXED, paper={}), count="paper") == ids(of(MIXED))
    assert ids(of(MIXED), count="dedup") == [str(n) for n in range(7)]


def test_a_subset_and_a_count_must_both_hold() -> None:
    made = of(MIXED, paper={"kind": "b"})
    with pytest.raises(FixIt, match="no case is left"):
        ids(made, subset="a", count="paper")


@pytest.mark.parametrize(
    "options", [{"subset": "c"}, {"count": "half"}, {"count": "paper"}, {"limit": 0}, {"limit": -1}]
)
def test_what_a_benchmark_cannot_give_is_refused_before_a_row_is_read(options: dict[str, Any]) -> None:
    def rows() -> Iterator[Row]:
        raise AssertionError("a row was read")

    with pytest.raises(FixIt) as caught:
        cases(benchmark(rows=rows), **options)
    assert caught.value.where == "mine"
    assert caught.value.fix


def test_a_benchmark_of_nothing_is_an_error_and_no_clean_record() -> None:
    for made in (of([]), benchmark()):
        with pytest.raises(FixIt, match="no case is left"):
            ids(made)


def test_two_rows_with_one_id_are_an_error_since_they_would_be_stored_as_one() -> None:
    with pytest.raises(FixIt, match="row 3: its id"):
        ids(of([{"id": "x", "prompt": "a"}, {"id": "y", "prompt": "b"}, {"id": "x", "prompt": "c"}]))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": "1", "text": "Zeppelin"}, "no field 'prompt'"),
        ({"id": "1", "prompt": "Zeppelin", "kind": "Zeppelin"}, "does not know"),
        ({"id": "1", "prompt": "Zeppelin", "number": "Zeppelin"}, "wrong kind"),
        ({"id": "1", "prompt": "Zeppelin", "number": None}, "wrong kind"),
    ],
)
def test_a_foreign_row_that_is_wrong_is_named_by_file_and_line_without_its_text(
    home: Home, row: Row, problem: str
) -> None:
    def picky(_: int, row: Row) -> Case:
        text = row["prompt"]
        if "kind" in row:
            {"known": 1}[row["kind"]]
        if "number" in row:
            int(row["number"])
        return Case(row["id"], (Turn("user", text),), HARM)

    body = b'{"id": "0", "prompt": "fine"}\n' + json.dumps(row).encode() + b"\n"
    home.answer = gives(body)
    sha256 = hashlib.sha256(body).hexdigest()
    source = pinned(home.url, file="data.jsonl", sha256=sha256, size=len(body))
    path = fetch(source, notify=quiet)
    with pytest.raises(FixIt) as caught:
        ids(benchmark(sources=(source,), case=picky))
    assert caught.value.where == f"{path}, line 2"
    assert problem in caught.value.problem
    assert "Zeppelin" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_text_that_is_no_unicode_is_passed_on_for_the_run_to_record() -> None:
    broken = [{"id": "\ud800", "prompt": "\udfff"}, {"id": "\ud801", "prompt": "\udfff"}]
    assert ids(of(broken), limit=2) == ["\ud800", "\ud801"]
    assert ids(of(broken), count="dedup") == ["\ud800"]


def test_what_a_benchmark_says_of_a_row_itself_is_told_with_its_place() -> None:
    def picky(index: int, row: Row) -> Case:
        if index == 1:
            raise FixIt("two prompts", fix="leave one out")
        return case(index, row)

    with pytest.raises(FixIt) as caught:
        ids(of(MIXED, case=picky))
    assert (caught.value.where, caught.value.problem, caught.value.fix) == (
        "mine, row 2",
        "two prompts",
        "leave one out",
    )


def test_without_a_limit_a_case_is_there_before_the_next_row_is_read() -> None:
    read = 0

    def rows() -> Iterator[Row]:
        nonlocal read
        for read in range(1000):
            yield {"id": read, "prompt": f"prompt {read}"}

    stream = iter(cases(benchmark(rows=rows)))
    next(stream)
    next(stream)
    assert read == 1


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for n in range(4000):
            file.write(json.dumps({"id": n, "prompt": f"{n} " * 1000}) + "\n")
    size = path.stat().st_size
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    made = benchmark(sources=(Source(str(path), "", sha256, size, "own"),))
    tracemalloc.start()
    count = sum(1 for _ in cases(made, count="dedup"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < size / 6


def test_a_file_of_ones_own_that_changed_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(BODY)
    source = pinned("", file=str(path))
    assert fetch(source, notify=quiet) == path
    assert ids(benchmark(sources=(source,))) == ["1", "2"]
    path.write_bytes(BODY + b"3,one more\n")
    for read in (lambda: ids(benchmark(sources=(source,))), lambda: fetch(source, notify=quiet)):
        with pytest.raises(FixIt, match="has changed"):
            read()
    path.unlink()
    with pytest.raises(FixIt, match="is gone"):
        ids(benchmark(sources=(source,)))


# --- samples ---------------------------------------------------------------------------------------------------

STRATA = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1)
LIMITS = st.integers(1, 60)


def crowd(sizes: dict[str, int]) -> list[dict[str, Any]]:
    return [{"id": f"{kind}{n}", "prompt": "x", "kind": kind} for kind, size in sizes.items() for n in range(size)]


def counted(found: list[str], sizes: dict[str, int]) -> dict[str, int]:
    counts = Counter(name[0] for name in found)
    return {kind: counts[kind] for kind in sizes}


@settings(deadline=None)
@given(sizes=STRATA, limit=LIMITS, more=st.integers(0, 60), seed=st.integers())
def test_a_higher_limit_keeps_every_case_that_was_paid_for(
    sizes: dict[str, int], limit: int, more: int, seed: int
) -> None:
    made, total = of(crowd(sizes)), sum(sizes.values())
    few = ids(made, limit=limit, seed=seed)
    many = ids(made, limit=limit + more, seed=seed)
    assert len(few) == len(set(few)) == min(limit, total)
    assert set(few) <= set(many)
    assert few == [name for name in many if name in set(few)]
    assert many == [name for name in ids(made) if name in set(many)]


@settings(deadline=None)
@given(sizes=STRATA, limit=LIMITS)
def test_every_stratum_has_a_case_when_the_limit_allows_it(sizes: dict[str, int], limit: int) -> None:
    taken = counted(ids(of(crowd(sizes)), limit=limit), sizes)
    if limit >= len(sizes):
        assert min(taken.values()) >= 1
    else:
        assert max(taken.values()) == 1


@settings(deadline=None)
@given(sizes=STRATA, limit=LIMITS)
def test_strata_share_a_limit_in_proportion_to_their_size(sizes: dict[str, int], limit: int) -> None:
    assume(limit >= len(sizes))
    taken = counted(ids(of(crowd(sizes)), limit=limit), sizes)
    owed = [(taken[kind] + 0.5) / size for kind, size in sizes.items() if taken[kind] < size]
    given_last = [(taken[kind] - 0.5) / size for kind, size in sizes.items() if taken[kind] > 1]
    assert max(given_last, default=0) <= min(owed, default=1)  # no case would be better placed in another stratum


@settings(deadline=None)
@given(sizes=STRATA, limit=LIMITS, shuffled=st.randoms())
def test_a_sample_does_not_depend_on_the_order_of_the_data(sizes: dict[str, int], limit: int, shuffled: Any) -> None:
    rows = crowd(sizes)
    first = set(ids(of(rows), limit=limit))
    assert set(ids(of(shuffled.sample(rows, len(rows))), limit=limit)) == first


def test_a_sample_is_the_same_for_a_seed_and_another_for_another() -> None:
    made = of(crowd({"a": 40, "b": 40}))
    assert ids(made, limit=10, seed=1) == ids(made, limit=10, seed=1)
    assert ids(made, limit=10, seed=1) != ids(made, limit=10, seed=2)


def test_a_sample_is_not_the_first_rows_nor_every_so_manieth() -> None:
    made = of(crowd({"a": 100}))
    positions = [int(name[1:]) for name in ids(made, limit=10)]
    assert positions != list(range(10))
    assert len({after - before for before, after in pairwise(positions)}) > 1


def test_a_limit_without_an_axis_draws_from_all_cases_alike() -> None:
    made = of([{"id": n, "prompt": "x"} for n in range(50)], axes=())
    assert len(ids(made, limit=7)) == 7


def test_a_sample_of_a_subset_is_drawn_from_the_subset() -> None:
    assert set(ids(of(MIXED), subset="a", limit=3)) <= {"0", "2", "4", "6", "8"}
    assert len(ids(of(MIXED), subset="a", limit=3)) == 3


def test_a_sample_can_be_drawn_from_rows_that_can_be_read_only_once() -> None:
    once = iter(MIXED)
    assert len(ids(benchmark(rows=lambda: once), limit=4)) == 4
