"""One file on the Hugging Face hub: what the hub says about it, within a time that we choose, and the file itself.

Mirrors (HF_ENDPOINT), tokens and proxies are huggingface_hub's business. Errors: FixIt, for whatever goes wrong.
"""

import os
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import FixIt

_SPEC = re.compile(
    r"hub:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[\w.+-]+(?:/[\w.+-]+)*\.gguf)(?:@(?P<revision>[\w./-]+))?", re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: as a person names it, or (size in bytes, sha256 unless it is unknown) as the hub does."""

    repo: str
    file: str
    revision: str = ""
    size: int = 0
    sha256: str | None = None

    @property
    def is_commit(self) -> bool:
        """Whether the revision is one that cannot move."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def spec(self) -> str:
        """`hub:OWNER/REPO/FILE@REVISION`."""
        return f"hub:{self.repo}/{self.file}@{self.revision}".removesuffix("@")


def parse(spec: str) -> HubFile:
    """Read `hub:OWNER/REPO/FILE.gguf[@REVISION]`."""
    match = _SPEC.fullmatch(spec)
    if match is None or ".." in spec:
        raise FixIt("is no file on the hub", where=repr(spec), fix="write hub:OWNER/REPO/FILE.gguf, or with @REVISION")
    return HubFile(match["repo"], match["file"], match["revision"] or "")


def ask(spec: str, patience: float) -> HubFile:
    """What the hub says about a file, its revision resolved to a commit, within `patience` seconds."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    wanted = parse(spec)
    url = hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision or None, endpoint=_endpoint())
    found: list[Any] = []

    def ask_now() -> None:
        try:
            found.append(get_hf_file_metadata(url, timeout=patience, endpoint=_endpoint()))
        except _troubles() as trouble:
            found.append(trouble)

    # a thread of its own, because looking up a name knows no timeout
    thread = threading.Thread(target=ask_now, daemon=True)
    thread.start()
    thread.join(patience)
    told = found[0] if found else TimeoutError()
    if isinstance(told, Exception):
        raise _fix(told, spec) from None
    if not _COMMIT.fullmatch(told.commit_hash or "") or told.size is None:
        raise FixIt("what answered is not the hub", where=spec, fix="check HF_ENDPOINT and the proxy settings")
    sha256 = told.etag if _SHA256.fullmatch(told.etag or "") else None
    return replace(wanted, revision=told.commit_hash, size=told.size, sha256=sha256)


def download(wanted: HubFile, into: Path) -> Path:
    """The file, unverified, somewhere in the folder `into`; what an earlier attempt left there is taken up again."""
    from huggingface_hub import hf_hub_download

    try:
        found = hf_hub_download(
            wanted.repo, wanted.file, revision=wanted.revision, local_dir=into, endpoint=_endpoint()
        )
    except _troubles() as trouble:
        raise _fix(trouble, wanted.spec) from None
    return Path(found)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _troubles() -> tuple[type[BaseException], ...]:
    """What the hub's client raises: its own error's bases tell which HTTP library this version of it uses."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, RuntimeError, ValueError, *HfHubHTTPError.__bases__)


def _fix(trouble: BaseException, where: str) -> FixIt:
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(trouble, "response", None), "status_code", None)
    if status in (401, 403):
        fix = "check the names; if it is gated, accept its terms there and set HF_TOKEN"
        return FixIt("the hub does not show this file to us", where=where, fix=fix)
    if status == 404 or isinstance(trouble, ValueError):
        return FixIt("the hub has no such repository, revision or file", where=where, fix="check the names")
    if isinstance(trouble, OfflineModeIsEnabled):
        return FixIt("HF_HUB_OFFLINE is set", where=where, fix="unset it, or give the path of a .gguf file")
    if isinstance(trouble, OSError) and trouble.errno and not isinstance(trouble, ConnectionError):
        return FixIt(f"could not be fetched ({trouble.strerror})", where=where, fix="mend that and run again")
    said = f"the hub answered {status}" if status else "the hub does not answer"
    return FixIt(said, where=where, fix="run again when it does, or give the path of a .gguf file")
