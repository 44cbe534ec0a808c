"""Downloads from a local HTTP server with faults, and the datasets from tiny archives made here."""

import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from struct import pack as pack_struct
from threading import Thread
from time import sleep
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from platformdirs import user_cache_path
from requests.exceptions import ProxyError, SSLError
from torchvision.datasets import CIFAR10
from tqdm import tqdm

from cifar10.channel_statistics import channel_statistics
from cifar10.core.errors import UserError
from cifar10.core.params import Params
from cifar10.sources.datasets import ARCHIVE, SHA256, load_dataset, read_cifar10, read_digits, verify_cifar10
from cifar10.sources.fetch import Source, fetch
from stages.download import download

BODY = np.random.default_rng(0).bytes(300_000)


class Server:
    """Serves its bytes under every path; the first part of the path names the fault: /404/x, /truncated/x."""

    def __init__(self, served: bytes = BODY) -> None:
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fault, wanted = self.path.split("/")[1], self.headers.get("Range")
                outer.requests.append((fault, wanted))
                if fault.isdigit():
                    self.send_error(int(fault))
                    return
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "norange" else 0
                body = bytes(len(served)) if fault == "wrong" else served
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                stop = start + 100_000 if fault in ("truncated", "reset", "stall") else len(body)
                for position in range(start, stop, 10_000 if fault == "slow" else stop):
                    self.wfile.write(body[position : min(stop, position + 10_000) if fault == "slow" else stop])
                    sleep(0.01 if fault == "slow" else 0)
                if fault == "stall":
                    sleep(1)
                if fault == "reset":  # lingering for no time: the connection ends with RST
                    self.connection.setsockopt(SOL_SOCKET, SO_LINGER, pack_struct("ii", 1, 0))
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def source(self, *faults: str) -> Source:
        def verify(path: Path) -> None:
            if path.read_bytes() != BODY:
                raise ValueError("wrong content")

        port = self.server.server_address[1]
        return Source("archive", [f"http://127.0.0.1:{port}/{fault}/archive" for fault in faults], verify)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def impatient(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "stall":  # no other answer should be in haste
        monkeypatch.setattr("cifar10.sources.fetch.TIMEOUT", (0.5, 0.5))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_first_mirror_that_works_wins(server: Server, tmp_path: Path) -> None:
    path = fetch(server.source("404", "503", "wrong", "good", "spare"), tmp_path, None)
    assert path.read_bytes() == BODY
    assert [fault for fault, _ in server.requests] == ["404", "503", "wrong", "good"]
    fetch(server.source("good"), tmp_path, None)
    assert len(server.requests) == 4  # the second time it comes from the cache


@pytest.mark.parametrize("fault", ["429", "stall", "reset"])
def test_the_next_address_resumes(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    impatient(fault, monkeypatch)
    monkeypatch.setattr("cifar10.sources.fetch.ATTEMPTS", 1)
    assert fetch(server.source(fault, "good"), tmp_path, None).read_bytes() == BODY
    assert [where for where, _ in server.requests] == [fault, "good"]
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "archive.lock"}


@pytest.mark.parametrize("fault", ["truncated", "stall", "reset"])
def test_broken_download_is_resumed_where_it_broke(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    impatient(fault, monkeypatch)
    monkeypatch.setattr("cifar10.sources.fetch.tqdm", bars := Mock(wraps=tqdm))
    assert fetch(server.source(fault), tmp_path, None).read_bytes() == BODY
    assert {call.kwargs["total"] for call in bars.call_args_list} == {len(BODY)}
    starts = [int((wanted or "bytes=0-")[6:-1]) for _, wanted in server.requests]
    assert starts[0] == 0
    assert all(50_000 < later - earlier <= 100_000 for earlier, later in pairwise(starts))


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    source = server.source("slow")
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(source, tmp_path, None), range(2)))
    assert [path.read_bytes() == BODY for path in paths] == [True, True]
    assert len(server.requests) == 1


def test_more_than_fits_is_refused_before_it_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=200_000))
    with pytest.raises(UserError, match=r"No space left on device, 0.3 MB needed, 0.2 MB free; .*XDG_CACHE_HOME="):
        fetch(server.source("good"), tmp_path, None)
    assert not list(tmp_path.glob("archive*[!k]"))


def test_resume_at_another_mirror_and_where_ranges_are_ignored(server: Server, tmp_path: Path) -> None:
    (tmp_path / "archive.part").write_bytes(BODY[:1000])
    assert fetch(server.source("404", "good"), tmp_path, None).read_bytes() == BODY
    assert server.requests[-1] == ("good", "bytes=1000-")
    (tmp_path / "archive").unlink()
    (tmp_path / "archive.part").write_bytes(BODY[:1000])
    assert fetch(server.source("norange"), tmp_path, None).read_bytes() == BODY


def test_resumed_onto_other_bytes_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "archive.part").write_bytes(b"another file's beginning")
    assert fetch(server.source("good"), tmp_path, None).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == ["bytes=24-", None]


def test_damaged_cache_is_noticed_and_replaced(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "archive").write_bytes(BODY[:-1] + b"x")
    assert fetch(server.source("good"), tmp_path, None).read_bytes() == BODY
    assert capsys.readouterr().err == f"warning: {tmp_path}/archive: wrong content; fetching it again\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SSLError("CERTIFICATE_VERIFY_FAILED"), "its certificate is not trusted; name your company's certificates: RE"),
        (SSLError("WRONG_VERSION_NUMBER"), "cannot be reached"),
        (ProxyError("Tunnel connection failed: 407"), "the proxy refuses, or cannot be reached"),
    ],
)
def test_what_a_company_has_set_up_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.setattr("cifar10.sources.fetch._download", Mock(side_effect=error))
    with pytest.raises(UserError, match=f"from any source: https://a/b: {said}"):
        fetch(Source("b", ["https://a/b"], lambda _: None), tmp_path, None)


def test_a_mirror_that_fails_is_named_although_another_address_answers(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server.source("404", "good"), tmp_path, "/typo")
    said = "warning: /typo/archive: No such file or directory; trying the public hosts\n"
    assert capsys.readouterr().err.startswith(said)


def test_unreachable_names_every_address(server: Server, tmp_path: Path) -> None:
    source = server.source("404", "wrong")
    gone = "http://127.0.0.1:9/archive"  # the discard port: nobody listens
    with pytest.raises(UserError) as error:
        fetch(source._replace(urls=[*source.urls, gone]), tmp_path / "cache", str(tmp_path / "mirror"))
    message = str(error.value)
    for part in (
        f"{tmp_path}/mirror/archive: No such file or directory",
        f"{source.urls[0]}: 404 Not Found",
        f"{source.urls[1]}: wrong content",
        f"{gone}: cannot be reached",
    ):
        assert part in message
    assert "\n" not in message
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"archive.lock"}


def test_the_stage_names_both_alternatives(monkeypatch: pytest.MonkeyPatch, params: Params, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("cifar10.sources.datasets.ARCHIVE", Source("archive", (), verify_cifar10))
    with pytest.raises(
        UserError, match=r"^archive could not be downloaded .* DATA_MIRROR=/that/directory .*make demo$"
    ):
        download(params.model_copy(update={"dataset": "cifar10"}))


def test_mirror_comes_first(server: Server, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "archive").write_bytes(BODY)
    assert fetch(server.source("good"), tmp_path / "cache", str(mirror)) == mirror / "archive"
    prefix = server.source("good").urls[0].removesuffix("/archive")
    assert fetch(server.source("404"), tmp_path / "other", prefix).read_bytes() == BODY
    assert server.requests == [("good", None)]


def test_unusable_mirror_and_cache(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mirror" / "archive").mkdir(parents=True)  # a folder where the file should be
    assert fetch(server.source("good"), tmp_path / "cache", f"file://{tmp_path}/mirror").read_bytes() == BODY
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"Not a directory.*XDG_CACHE_HOME"):
        fetch(server.source("good"), tmp_path / "file" / "cache", None)


Files = dict[str, bytes]


def pack(path: Path, files: Files, links: dict[str, str] | None = None, mode: str = "w:gz", **options: Any) -> Path:
    """A tar of these files and symbolic links."""
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def coded(label: int, number: int) -> NDArray[np.uint8]:
    """A picture (32, 32, 3) whose pixels encode row, column, and label and number."""
    row, column = np.mgrid[:32, :32].astype(np.uint8)
    return np.stack([row, column + 100, np.full((32, 32), 10 * label + number, np.uint8)], axis=-1)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Seven small files in the format of CIFAR-10, which are taken for the real ones: ten pictures each."""

    def batch(number: int) -> bytes:
        pictures = [coded(label, number).transpose(2, 0, 1).ravel() for label in range(10)]
        return pickle.dumps({"data": np.stack(pictures), "labels": list(range(10))})

    made = {name: batch(i) for i, name in enumerate(sorted(set(SHA256) - {"batches.meta"}))}  # test_batch: the last
    made["batches.meta"] = pickle.dumps({"label_names": [f"class{i}" for i in range(10)]})
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in made.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, md5[name]] for name, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    for name, data in made.items():
        monkeypatch.setitem(SHA256, name, hashlib.sha256(data).hexdigest())
    return {f"cifar-10-batches-py/{name}": data for name, data in made.items()}


def test_the_seven_files_are_those_of_torchvision() -> None:
    assert set(SHA256) == {name for name, _ in CIFAR10.train_list + CIFAR10.test_list} | {CIFAR10.meta["filename"]}


def test_archive_is_read_in_the_order_of_torchvision(files: Files, tmp_path: Path) -> None:
    dataset = read_cifar10(pack(tmp_path / "kept.tar.gz", files))
    assert dataset.classes == [f"class{i}" for i in range(10)]
    assert dataset.train.images.shape == (50, 32, 32, 3)
    assert dataset.train.labels.dtype == np.uint8
    for index, (image, label) in enumerate(zip(*dataset.train, strict=True)):
        assert label == index % 10
        assert np.array_equal(image, coded(int(label), index // 10))
    assert np.array_equal(dataset.test.images[3], coded(3, 5))


def test_what_counts_is_the_content(files: Files, tmp_path: Path) -> None:
    """Another compression, order, folder, more files: accepted. One byte more or less in one file: refused."""
    verify_cifar10(pack(tmp_path / "a.tar.gz", files, compresslevel=1))
    verify_cifar10(pack(tmp_path / "b.tar.gz", dict(reversed(files.items())), compresslevel=9))
    verify_cifar10(pack(tmp_path / "c.tar.gz", {f"./top/{name}": data for name, data in files.items()}))
    verify_cifar10(pack(tmp_path / "d.tar.gz", files | {"cifar-10-batches-py/readme.html": b"<html>"}))
    for name, data in files.items():
        short = name.rpartition("/")[2]
        for other in (data + b"x", data[:-1], data[:50] + bytes([data[50] ^ 1]) + data[51:]):
            with pytest.raises(
                ValueError, match=rf"wrong content: {short} has sha256 \w{{16}}\.\.\., not \w{{16}}\.\.\.$"
            ):
                verify_cifar10(pack(tmp_path / "e.tar.gz", files | {name: other}))
        with pytest.raises(ValueError, match=rf"wrong content: without {short}$"):
            verify_cifar10(pack(tmp_path / "f.tar.gz", {key: value for key, value in files.items() if key != name}))


def test_hostile_archives_are_refused(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar10.sources.datasets.LARGEST", 100_000)
    with pytest.raises(ValueError, match=r"wrong content: huge has 2,000,000 bytes"):
        verify_cifar10(pack(tmp_path / "bomb.tar.gz", {"huge": bytes(2_000_000)} | files))
    name, data = next(iter(files.items()))
    others = {key: value for key, value in files.items() if key != name}
    with pytest.raises(ValueError, match="wrong content: without"):  # a link is no file, wherever it leads
        verify_cifar10(pack(tmp_path / "link.tar.gz", others | {"elsewhere": data}, {name: "elsewhere"}))
    with pytest.raises(ValueError, match="wrong content: without"):
        verify_cifar10(pack(tmp_path / "dangling.tar.gz", others, {name: "nowhere"}))
    with pytest.raises(ValueError, match=r"not a complete tar\.gz"):
        verify_cifar10(pack(tmp_path / "no.tar", files, mode="w"))
    whole = pack(tmp_path / "whole.tar.gz", files).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"not a complete tar\.gz"):
        verify_cifar10(tmp_path / "cut.tar.gz")
    # Names that lead out of a folder are read as the file that they name, and nothing is unpacked by name.
    (tmp_path / "in/here").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "in/here"))
    before = set(tmp_path.rglob("*"))
    dataset = read_cifar10(pack(tmp_path / "whole.tar.gz", {f"../../{key}": value for key, value in files.items()}))
    assert len(dataset.train.labels) == 50
    assert set(tmp_path.rglob("*")) == before


def test_a_full_temporary_folder_is_named(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.tar.gz", files)
    full = Mock(side_effect=OSError(28, "No space left on device"))
    for function in ("pathlib.Path.write_bytes", "pathlib.Path.mkdir", "tempfile.mkdtemp"):
        with monkeypatch.context() as patch:
            patch.setattr(function, full)
            with pytest.raises(UserError) as error:
                read_cifar10(archive)
        said = "the temporary folder cannot be written: No space left on device; 190 MB needed; free some space or "
        assert str(error.value) == f"{said}name another folder: TMPDIR=/folder"
    with pytest.raises(FileNotFoundError):  # for which no other folder helps
        read_cifar10(tmp_path / "gone")


def test_an_archive_that_cannot_be_read_is_not_taken_for_a_bad_one(tmp_path: Path) -> None:
    """Or the cache's good copy would be deleted and fetched again."""
    with pytest.raises(IsADirectoryError):
        verify_cifar10(tmp_path)


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_of_other_content_is_never_unpickled(files: Files, tmp_path: Path) -> None:
    name = "cifar-10-batches-py/test_batch"  # the last: all others are good
    batch = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [Hostile(tmp_path / "harm")]})
    with pytest.raises(ValueError, match="wrong content: test_batch"):
        read_cifar10(pack(tmp_path / "a.tar.gz", files | {name: batch}))
    assert not (tmp_path / "harm").exists()
    pickle.loads(batch)  # the trap is real
    assert (tmp_path / "harm").exists()


def test_a_served_archive_and_a_mirror_relative_to_the_main_repository(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    archive = pack(tmp_path / "archive", files)
    server = Server(archive.read_bytes())
    source = server.source("wrong", "good")._replace(verify=verify_cifar10)
    monkeypatch.setattr("cifar10.sources.datasets.ARCHIVE", source)
    assert np.array_equal(load_dataset("cifar10", tmp_path / "cache", None).train.images[12], coded(2, 1))
    server.close()

    # A temporary experiment: DVC runs it elsewhere and names the main repository in DVC_ROOT.
    (tmp_path / "main" / "mirror").mkdir(parents=True)
    archive.rename(tmp_path / "main" / "mirror" / "archive")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name, value in (("DVC_ROOT", "main"), ("DATA_MIRROR", "mirror"), ("XDG_CACHE_HOME", "empty")):
        monkeypatch.setenv(name, value if name == "DATA_MIRROR" else str(tmp_path / value))
    download(params.model_copy(update={"dataset": "cifar10"}))
    assert np.load("data/test/labels.npy").tolist() == list(range(10))


def real_archive() -> Path | None:
    """CIFAR-10 itself where it is at hand: in DATA_MIRROR or in the cache that `download` fills."""
    mirror = os.environ.get("DATA_MIRROR")
    folders = [*([Path(mirror)] if mirror else []), user_cache_path("cifar10")]
    return next((path for folder in folders if (path := folder / ARCHIVE.filename).is_file()), None)


@pytest.mark.skipif(real_archive() is None, reason="CIFAR-10 itself is not at hand: set DATA_MIRROR to its folder")
def test_statistics_of_cifar10() -> None:
    archive = real_archive()
    assert archive
    dataset = read_cifar10(archive)
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (50_000, 10_000)
    assert np.bincount(dataset.train.labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    assert dataset.classes[3:6] == ["cat", "deer", "dog"]
    statistics = channel_statistics(dataset.train.images)
    assert [round(value, 4) for value in statistics.mean] == [0.4914, 0.4822, 0.4465]
    assert [round(value, 4) for value in statistics.std] == [0.2470, 0.2435, 0.2616]


def test_digits_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar10.sources.fetch.requests.get", None)
    dataset = load_dataset("digits", tmp_path, None)
    assert len(dataset.train.labels) + len(dataset.test.labels) == 1797
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.images.max() == 255
    counts = np.bincount(dataset.test.labels)
    assert counts.min() >= 34  # stratified: a fifth of 174 to 183
    assert counts.max() <= 37
    assert np.array_equal(read_digits().test.images, dataset.test.images)  # always the same split
