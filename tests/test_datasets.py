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

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray
from PIL import Image

from cifar10.datasets import (
    SOURCES,
    content_digest,
    load_dataset,
    read_cifar10,
    read_cifar10_jpeg,
    read_digits,
)
from cifar10.disk import file_digest
from cifar10.errors import UserError
from cifar10.fetch import Source, fetch
from cifar10.params import Params
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
        Thread(target=self.server.serve_forever, daemon=True).start()

    def source(self, *faults: str) -> Source:
        def verify(path: Path) -> None:
            if path.read_bytes() != BODY:
                raise ValueError("wrong content")

        port = self.server.server_address[1]
        return Source("archive", [f"http://127.0.0.1:{port}/{fault}/archive" for fault in faults], verify)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar10.fetch.TIMEOUT", (0.5, 0.5))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_first_mirror_that_works_wins(server: Server, tmp_path: Path) -> None:
    path = fetch(server.source("404", "503", "wrong", "good", "spare"), tmp_path, None)
    assert path.read_bytes() == BODY
    assert [fault for fault, _ in server.requests] == ["404", "503", "wrong", "good"]
    fetch(server.source("good"), tmp_path, None)
    assert len(server.requests) == 4  # the second time it comes from the cache


@pytest.mark.parametrize("fault", ["429", "stall", "reset"])
def test_the_next_address_goes_on(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr("cifar10.fetch.ATTEMPTS", 1)
    assert fetch(server.source(fault, "good"), tmp_path, None).read_bytes() == BODY
    assert [where for where, _ in server.requests] == [fault, "good"]
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "archive.lock"}


@pytest.mark.parametrize("fault", ["truncated", "stall", "reset"])
def test_broken_download_is_resumed_where_it_broke(server: Server, tmp_path: Path, fault: str) -> None:
    assert fetch(server.source(fault), tmp_path, None).read_bytes() == BODY
    starts = [int((wanted or "bytes=0-")[6:-1]) for _, wanted in server.requests]
    assert starts[0] == 0
    assert all(50_000 < later - earlier <= 100_000 for earlier, later in pairwise(starts))


def test_slow_is_no_fault(server: Server, tmp_path: Path) -> None:
    assert fetch(server.source("slow"), tmp_path, None).read_bytes() == BODY
    assert len(server.requests) == 1


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


def test_resumed_onto_other_bytes_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "archive.part").write_bytes(b"another file's beginning")
    assert fetch(server.source("good"), tmp_path, None).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == ["bytes=24-", None]


def test_damaged_cache_is_noticed_and_healed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "archive").write_bytes(BODY[:-1] + b"x")
    assert fetch(server.source("good"), tmp_path, None).read_bytes() == BODY
    assert "wrong content; fetching it again" in capsys.readouterr().err


def test_unreachable_names_every_address_and_both_ways_on(server: Server, tmp_path: Path) -> None:
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
        "DATA_MIRROR=",
        "dataset=digits",
    ):
        assert part in message
    assert "\n" not in message
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"archive.lock"}


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


def test_resumed_onto_wrong_bytes_ends(server: Server, tmp_path: Path) -> None:
    (tmp_path / "archive.part").write_bytes(b"an earlier beginning")
    with pytest.raises(UserError, match="wrong content"):
        fetch(server.source("wrong"), tmp_path, None)
    assert len(server.requests) == 2


def pack(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """A tar.gz of these files and symbolic links."""
    with tarfile.open(path, "w:gz") as archive:
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


def test_original_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [f"class{i}" for i in range(10)]

    def batch(numbers: range) -> bytes:
        pictures = [coded(i, n).transpose(2, 0, 1).ravel() for n in numbers for i in range(10)]
        return pickle.dumps({"data": np.stack(pictures), "labels": [i for _ in numbers for i in range(10)]})

    files = {
        "data_batch_1": batch(range(0, 2)),
        "data_batch_2": batch(range(2, 4)),
        "test_batch": batch(range(4, 5)),
        "batches.meta": pickle.dumps({"label_names": classes}),
    }
    archive = pack(tmp_path / "kept.tar.gz", {f"cifar-10-batches-py/{name}": data for name, data in files.items()})
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [[name, md5[name]] for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(cifar10, "test_list", [["test_batch", md5["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
    monkeypatch.setattr(cifar10, "meta", meta)

    dataset = read_cifar10(archive, tmp_path)
    assert dataset.classes == classes
    assert dataset.train.images.shape == (40, 32, 32, 3)
    assert dataset.train.labels.dtype == np.uint8
    for index, (image, label) in enumerate(zip(*dataset.train, strict=True)):
        assert label == index % 10
        assert np.array_equal(image, coded(int(label), index // 10))
    assert np.array_equal(dataset.test.images[3], coded(3, 4))


def test_jpeg_archive(tmp_path: Path) -> None:
    def jpeg(shade: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (shade, 2 * shade, 255 - shade)).save(file, "JPEG", quality=95)
        return file.getvalue()

    names = ["bird", "cat"]
    files = {
        f"top/{split}/{name}/{number:04}.jpg": jpeg(20 * label + 5 * number + (100 if split == "test" else 0))
        for split, count in (("train", 3), ("test", 2))
        for number in reversed(range(count))  # the archive's order does not matter
        for label, name in enumerate(names)
    }
    files["top/README.md"] = b"not a picture"
    dataset = read_cifar10_jpeg(pack(tmp_path / "a.tar.gz", files))
    assert dataset.classes == names
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    shades = dataset.train.images[:, 16, 16, 0].astype(int)
    assert np.abs(shades - [0, 5, 10, 20, 25, 30]).max() <= 2  # JPEG rounds
    assert np.abs(dataset.test.images[3, 5, 5].astype(int) - [125, 250, 130]).max() <= 2


def test_a_served_archive_and_a_mirror_relative_to_the_main_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), (9, 9, 9)).save(picture, "JPEG")
    archive = pack(tmp_path / "archive", {f"top/{part}/cat/0000.jpg": picture.getvalue() for part in ("train", "test")})
    digest, server = content_digest(archive), Server(archive.read_bytes())

    def verify(path: Path) -> None:
        if content_digest(path) != digest:
            raise ValueError("wrong content")

    source = server.source("wrong", "good")._replace(verify=verify)
    monkeypatch.setitem(SOURCES, "cifar10-jpeg", source)
    assert load_dataset("cifar10-jpeg", tmp_path / "cache", None).train.images.tolist() == [[[[9] * 3] * 32] * 32]
    server.server.shutdown()
    server.server.server_close()

    # A temporary experiment: DVC runs it elsewhere and names the main repository in DVC_ROOT.
    (tmp_path / "main" / "mirror").mkdir(parents=True)
    archive.rename(tmp_path / "main" / "mirror" / "archive")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name, value in (("DVC_ROOT", "main"), ("DATA_MIRROR", "mirror"), ("XDG_CACHE_HOME", "empty")):
        monkeypatch.setenv(name, value if name == "DATA_MIRROR" else str(tmp_path / value))
    download(params)
    assert np.load("data/test/labels.npy").tolist() == [0]


def test_content_digest_sees_names_and_bytes_but_not_the_packing(tmp_path: Path) -> None:
    files = {"top/train/cat/0001.jpg": b"one", "top/train/cat/0002.jpg": b"two"}
    digest = content_digest(pack(tmp_path / "a.tar.gz", files))
    assert digest == content_digest(pack(tmp_path / "b.tar.gz", dict(reversed(files.items()))))
    for other in (
        {**files, "top/train/cat/0002.jpg": b"twO"},
        {"top/train/cat/0001.jpg": b"one", "top/train/dog/0002.jpg": b"two"},
        {**files, "top/extra": b""},
    ):
        assert digest != content_digest(pack(tmp_path / "c.tar.gz", other))


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    verify = SOURCES["cifar10-jpeg"].verify
    with pytest.raises(ValueError, match="no small plain file"):
        verify(pack(tmp_path / "link.tar.gz", {}, {"top/train": "/etc"}))
    with pytest.raises(ValueError, match="no small plain file"):
        verify(pack(tmp_path / "bomb.tar.gz", {"top/huge": bytes(2_000_000)}))
    with pytest.raises(ValueError, match="wrong content"):
        verify(pack(tmp_path / "up.tar.gz", {"../../x": b"x"}))
    with pytest.raises(ValueError, match="wrong content"):
        verify(pack(tmp_path / "absolute.tar.gz", {"/etc/x": b"x"}))
    whole = pack(tmp_path / "whole.tar.gz", {"top/x": BODY}).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"no complete tar\.gz"):
        verify(tmp_path / "cut.tar.gz")
    with pytest.raises(ValueError, match="wrong content"):
        SOURCES["cifar10"].verify(tmp_path / "cut.tar.gz")
    assert file_digest(tmp_path / "cut.tar.gz") == hashlib.sha256(whole[: len(whole) // 2]).hexdigest()


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_with_more_than_arrays_is_refused_before_it_acts(tmp_path: Path) -> None:
    batch = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [Hostile(tmp_path / "harm")]})
    archive = pack(tmp_path / "a.tar.gz", {"cifar-10-batches-py/data_batch_1": batch})
    with pytest.raises(ValueError, match=r"holds posix\.mkdir, which is no array"):
        read_cifar10(archive, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
    with pytest.raises(ValueError, match="wrong content"):  # and its digest is checked before all that
        SOURCES["cifar10"].verify(archive)


def test_digits_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar10.fetch.requests.get", None)
    dataset = load_dataset("digits", tmp_path, None)
    assert len(dataset.train.labels) + len(dataset.test.labels) == 1797
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.images.max() == 255
    counts = np.bincount(dataset.test.labels)
    assert counts.min() >= 34  # stratified: a fifth of 174 to 183
    assert counts.max() <= 37
    assert np.array_equal(read_digits().test.images, dataset.test.images)  # always the same split
