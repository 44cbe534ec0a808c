"""Download a file from the first address that has it, with resume and verification."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import NamedTuple

import requests
from filelock import FileLock
from tqdm import tqdm

from cifar10.core.errors import UserError
from cifar10.core.files import free_space

HEADERS = {"User-Agent": "cifar10-dvc-pipeline (python-requests)", "Accept-Encoding": "identity"}
TIMEOUT = (10, 30)  # seconds to connect, seconds without a byte
ATTEMPTS = 5  # per address; each resumes the one before


class Source(NamedTuple):
    filename: str
    urls: Sequence[str]
    verify: Callable[[Path], None]  # raises ValueError unless the file holds exactly what it should


def fetch(source: Source, cache: Path, mirror: str | None) -> Path:
    """Return the path of the verified file. Try `mirror` (a directory or URL prefix) before the source's addresses.

    A file in `cache` is used again, and an interrupted download is resumed, even from another address. Raise
    UserError, which names every address with its reason, if none delivers the file.
    """
    addresses = [*([mirror.rstrip("/") + "/" + source.filename] if mirror else []), *source.urls]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{source.filename}.lock"):  # one download, however many processes need it
            return _first(source, addresses, cache)
    except OSError as error:
        raise UserError(
            f"{cache}: {error.strerror or error}, {free_space(cache)} free; free some space or name another folder: "
            "XDG_CACHE_HOME=/folder"
        ) from None


def _first(source: Source, addresses: Sequence[str], cache: Path) -> Path:
    target, part = cache / source.filename, cache / f"{source.filename}.part"
    if target.exists():
        try:
            source.verify(target)
            return target
        except ValueError as error:
            print(f"warning: {target}: {error}; fetching it again", file=sys.stderr)
            target.unlink()
    reasons = []
    for address in addresses:
        try:
            if not address.startswith(("http://", "https://")):
                return _local(Path(address.removeprefix("file://")), source.verify)
            _deliver(address, part, source.verify)
            part.replace(target)
            return target
        except (requests.RequestException, ValueError) as error:
            reasons.append(f"{address}: {_reason(error)}")
            if address not in source.urls:  # the mirror that the user has named
                print(f"warning: {reasons[-1]}; trying the public hosts", file=sys.stderr)
    raise UserError(
        f"{source.filename} could not be downloaded from any source: {'; '.join(reasons)}. Put the file into a "
        "directory and name it: DATA_MIRROR=/that/directory dvc repro; or try the embedded data: make demo"
    )


def _local(path: Path, verify: Callable[[Path], None]) -> Path:
    """Verify a mirror directory's file, and return its own path. Raise ValueError if it differs or cannot be read."""
    try:
        verify(path)
        return path
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def _deliver(url: str, part: Path, verify: Callable[[Path], None]) -> None:
    """Complete and verify `part`. If an earlier call began it and it is wrong, download it again from byte 0."""
    begun_before = part.exists()
    for attempt in range(ATTEMPTS):
        size = part.stat().st_size if part.exists() else 0
        try:
            _download(url, part)
            break
        except requests.RequestException:
            progressed = part.exists() and part.stat().st_size > size
            if attempt == ATTEMPTS - 1 or not progressed:
                raise
    try:
        verify(part)
    except ValueError:
        part.unlink()
        if not begun_before:
            raise
        _deliver(url, part, verify)


def _download(url: str, part: Path) -> None:
    """Append what is missing to `part`, or write all of it if the server does not resume."""
    have = part.stat().st_size if part.exists() else 0
    headers = HEADERS | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # nothing follows what we have, which is complete or of another file
            return
        response.raise_for_status()
        resume = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status_code == 206 and not resume:
            raise requests.RequestException("answered with another range than asked for")
        missing = int(response.headers.get("Content-Length", 0))
        if missing > shutil.disk_usage(part.parent).free:
            raise OSError(ENOSPC, f"{os.strerror(ENOSPC)}, {missing / 1e6:,.1f} MB needed")
        length = missing + (have if resume else 0)
        with (
            part.open("ab" if resume else "wb") as file,
            tqdm(
                desc=part.stem,
                initial=have if resume else 0,
                total=length or None,
                unit="B",
                unit_scale=True,
                disable=None,  # no bar if stderr is not a terminal
            ) as bar,
        ):
            for chunk in response.iter_content(1 << 14):
                file.write(chunk)
                bar.update(len(chunk))


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off, and again when resumed"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted; name your company's certificates: REQUESTS_CA_BUNDLE=/file.pem"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refuses, or cannot be reached"
    if isinstance(error, requests.ConnectionError):
        return "no answer in time" if "timed out" in str(error) else "cannot be reached"
    return " ".join(str(error).split())
