"""Every kind of picture is read as it looks, or refused in one line; none takes more memory or time than allowed."""

import io
import os
import shutil
import signal
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cifar10.core.errors import UserError
from cifar10.pictures import MOST_MEMORY, TOO_LARGE, TOO_SLOW, reader
from cifar10.pictures.picture import read_picture

SMOOTH = np.mgrid[:64, :64].astype(np.uint8) * 3  # rises downwards, and to the right
COLOURS = np.dstack([SMOOTH[0], SMOOTH[1], 255 - SMOOTH[0]])
GREY = SMOOTH[0] // 2 + SMOOTH[1] // 2


def pixels_of(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        return np.array(read_picture(file))


def halved(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean of each 2x2 pixels: what 64x64 become at half the size."""
    mean: NDArray[np.float64] = picture.reshape(32, 2, 32, 2, -1).mean((1, 3))
    return mean


def saved(name: str, picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=name, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(size: tuple[int, int], *chunks: bytes, rows: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG written by hand, of colours; `rows` are its pixels, each row after a zero."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def tiff(data: bytes, tags: dict[int, list[int]]) -> bytes:
    """A TIFF of 64x64 written by hand: uncompressed grey in one strip, or what the numbered `tags` say."""
    usual = {256: [64], 257: [64], 259: [1], 262: [1], 273: [8], 277: [len(tags[258])], 278: [64], 279: [len(data)]}
    tags = dict(sorted((usual | tags).items()))
    start, entries, rest = 8 + len(data), b"", b""
    for tag, values in tags.items():
        content = struct.pack(f"<{len(values)}I", *values)
        place = content if len(values) == 1 else struct.pack("<I", start + 6 + 12 * len(tags) + len(rest))
        entries += struct.pack("<HHI", tag, 4, len(values)) + place
        rest += content if len(values) > 1 else b""
    return struct.pack("<2sHI", b"II", 42, start) + data + struct.pack("<H", len(tags)) + entries + bytes(4) + rest


def packed(values: NDArray[np.uint16], bits: int) -> bytes:
    """The lower `bits` of each value, one after the other."""
    return np.packbits(np.unpackbits(values.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, -bits:]).tobytes()


@pytest.mark.parametrize("upright", [True, False])
def test_the_centre_square_is_taken(tmp_path: Path, upright: bool) -> None:
    pixels = np.full((100, 40, 3), (255, 0, 0), np.uint8)
    pixels[30:70] = (0, 0, 255)
    Image.fromarray(pixels if upright else pixels.transpose(1, 0, 2)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), np.full((32, 32, 3), (0, 0, 255)))


def test_it_is_antialiased(tmp_path: Path) -> None:
    """Points of a picture of thin black and white lines would be black or white; their mean is grey."""
    lines = np.tile(np.array([0, 255], np.uint8), (301, 150))
    Image.fromarray(lines).save(tmp_path / "x.png")
    np.testing.assert_allclose(pixels_of(tmp_path / "x.png")[1:-1, 1:-1], 127.5, atol=8)


LARGE = zlib.compress(bytes(3_000_000))
ROWS = np.insert(COLOURS.reshape(64, -1), 0, 0, axis=1).tobytes()
COLOUR, OPAQUE = Image.fromarray(COLOURS), Image.fromarray(np.dstack([COLOURS, np.full((64, 64), 255, np.uint8)]))
KINDS: dict[str, tuple[bytes, NDArray[np.uint8], int]] = {  # file, what it shows, greatest difference
    "PNG": (saved("png", COLOUR), COLOURS, 2),
    "BMP": (saved("bmp", COLOUR), COLOURS, 2),
    "PPM": (saved("ppm", COLOUR), COLOURS, 2),
    "TIFF": (saved("tiff", COLOUR, compression="tiff_lzw"), COLOURS, 2),
    "WebP": (saved("webp", COLOUR, lossless=True), COLOURS, 2),
    "JPEG": (saved("jpeg", COLOUR, quality=95), COLOURS, 6),
    "grey": (saved("png", Image.fromarray(GREY)), np.dstack([GREY] * 3), 2),
    "grey JPEG": (saved("jpeg", Image.fromarray(GREY), quality=95), np.dstack([GREY] * 3), 4),
    "palette": (saved("gif", Image.fromarray(GREY)), np.dstack([GREY] * 3), 2),
    "RGBA": (saved("png", OPAQUE), COLOURS, 2),
    "CMYK": (saved("tiff", COLOUR.convert("CMYK")), COLOURS, 2),
    "CMYK JPEG": (saved("jpeg", COLOUR.convert("CMYK"), quality=95), COLOURS, 6),
    "16-bit grey": (cv2.imencode(".png", GREY.astype(np.uint16) * 257)[1].tobytes(), np.dstack([GREY] * 3), 2),
    "16-bit grey TIFF": (cv2.imencode(".tif", GREY.astype(np.uint16) * 257)[1].tobytes(), np.dstack([GREY] * 3), 2),
    "16-bit in 32": (saved("tiff", Image.fromarray(GREY.astype(np.int32) * 257)), np.dstack([GREY] * 3), 2),
    "16-bit colours": (cv2.imencode(".png", COLOURS[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), COLOURS, 2),
    "animated GIF": (
        saved("gif", Image.fromarray(GREY), save_all=True, append_images=[Image.new("L", (64, 64))]),
        np.dstack([GREY] * 3),
        2,
    ),
    "animated PNG": (saved("png", COLOUR, save_all=True, append_images=[Image.new("RGB", (64, 64))]), COLOURS, 2),
    "1x1": (saved("png", Image.new("RGB", (1, 1), (9, 8, 7))), np.full((64, 64, 3), (9, 8, 7), np.uint8), 0),
    "a line": (saved("png", Image.new("RGB", (900, 1), (9, 8, 7))), np.full((64, 64, 3), (9, 8, 7), np.uint8), 0),
    "1-bit": (saved("png", Image.new("1", (64, 64), 1)), np.full((64, 64, 3), 255, np.uint8), 0),
    "12-bit grey TIFF": (tiff(packed(GREY * np.uint16(16), 12), {258: [12]}), np.dstack([GREY] * 3), 2),
    "16-bit TIFF, white is 0": (
        tiff((65_535 - GREY * np.uint16(257)).astype("<u2").tobytes(), {258: [16], 262: [0]}),
        np.dstack([GREY] * 3),
        2,
    ),
    "grey times opacity": (  # ExtraSamples: 1
        tiff(np.dstack([GREY // 2, np.full_like(GREY, 128)]).tobytes(), {258: [8, 8], 338: [1]}),
        np.dstack([GREY // 2 + 127] * 3),
        2,
    ),
    "a large profile": (png((64, 64), chunk(b"iCCP", b"x\0\0" + LARGE), rows=ROWS), COLOURS, 2),
    "large XMP": (png((64, 64), chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE), rows=ROWS), COLOURS, 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_as_it_looks(tmp_path: Path, kind: str) -> None:
    data, shown, difference = KINDS[kind]
    (tmp_path / "x").write_bytes(data)  # what a file is does not depend on its name
    found = pixels_of(tmp_path / "x")
    assert found.shape == (32, 32, 3)
    assert found.dtype == np.uint8
    edge = np.abs(found - halved(shown))[1:-1, 1:-1]  # a resampling filter meets fewer pixels at the border
    assert edge.max() <= difference


@pytest.mark.parametrize("size", [(128, 128), (520, 512), (2000, 1600)])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path, size: tuple[int, int]) -> None:
    """Its details, which are a pixel of the result each, included."""
    detailed = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8))
    detailed.resize(size, Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    Image.open(tmp_path / "x.png").save(tmp_path / "x.jpg", quality=95)
    small, exact = (pixels_of(tmp_path / name).astype(int) for name in ("x.jpg", "x.png"))
    assert np.abs(small - exact).max() <= 12


def test_transparency_is_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:16] = (255, 0, 0, 128)  # half of it
    pixels[16:] = (0, 0, 0, 0)  # black, but unseen
    Image.fromarray(pixels).save(tmp_path / "x.png")
    found = pixels_of(tmp_path / "x.png").astype(int)
    assert np.abs(found[:16] - (255, 127, 127)).max() <= 1
    assert (found[16:] == 255).all()
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 0, 200, 0])
    palette.save(tmp_path / "x.gif", transparency=1)
    assert (pixels_of(tmp_path / "x.gif") == 255).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_grey_value_is_transparent(tmp_path: Path, depth: int) -> None:
    """In a PNG it is a value of the file's depth."""
    for value, found in ((1, 255), (0, 0)):
        rows = bytes([0, *packed(np.full(32, value, np.uint16), depth)]) * 32
        data = png((32, 32), chunk(b"tRNS", b"\0\1"), rows=rows, depth=depth, colour=0)
        (tmp_path / "x").write_bytes(data)
        assert (pixels_of(tmp_path / "x") == found).all()


# How the file stores what is seen, for each value of EXIF's orientation.
ORIENTATIONS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: np.rot90(seen),
    7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
    8: lambda seen: np.rot90(seen, -1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photograph_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    seen = COLOURS[:32, :32]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](seen))).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), seen)


def test_damaged_exif_harms_no_pixel(tmp_path: Path) -> None:
    Image.fromarray(COLOURS[:32, :32]).save(tmp_path / "x.png", exif=b"Exif\0\0no TIFF file")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), COLOURS[:32, :32])
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "camera"
    wrong = exif.tobytes().replace(b"\x01\x10\0\x02", b"\x01\x00\0\x02")  # a width that is text
    assert wrong != exif.tobytes()
    seen = {name: tmp_path / f"{name}.png" for name in ("sound", "wrong")}
    for path, data in zip(seen.values(), (exif.tobytes(), wrong), strict=True):
        Image.fromarray(COLOURS[:32, :32]).save(path, exif=data)
    np.testing.assert_array_equal(pixels_of(seen["wrong"]), pixels_of(seen["sound"]))


def icon(image: bytes) -> bytes:
    """An ICO of one 16x16 picture, which the file claims this is."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(image), 22) + image


def changed(data: bytes, *changes: tuple[int, bytes]) -> bytes:
    copy = bytearray(data)
    for place, content in changes:
        copy[place : place + len(content)] = content
    return bytes(copy)


KIND = "is of an unsupported kind"
PLANES = {262: [2], 273: [8] * 3, 279: [4096] * 3, 284: [2]}
SHALLOW = saved("jpeg2000", COLOUR)
SHALLOW = changed(SHALLOW, (SHALLOW.index(b"\xff\x4f\xff\x51") + 42, b"\x03"))  # bits, less one
BITFIELDS = changed(saved("bmp", COLOUR), (28, struct.pack("<HI", 16, 3)))
TWELVE_BITS = saved("jpeg", COLOUR).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
REFUSED = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "text": (b"hello\n", "is not a picture; these formats can be read: PNG, JPEG, "),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", f"{KIND}, such as HEIC or a film; save it as PNG"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing, not pixels"),
    "truncated PNG": (saved("png", COLOUR)[:-100], "cannot be read: it is damaged: image file is truncated"),
    "truncated JPEG": (saved("jpeg", COLOUR)[:-200], "cannot be read: it is damaged: image file is truncated"),
    "huge": (png((60_000, 60_000)), "has too many pixels: 60,000 x 60,000, at most 64,000,000"),
    "large": (png((10_000, 9_000)), "has too many pixels: 10,000 x 9,000, at most 64,000,000; make it smaller"),
    "an icon": (icon(png((13_300, 13_300))), "has too many pixels: 176,890,000, at most 64,000,000; make it smaller"),
    "floats": (saved("tiff", Image.fromarray(GREY.astype(np.float32))), "has floating-point pixels"),
    "32 bits": (saved("tiff", Image.fromarray(GREY.astype(np.int32) * 10**6)), "has pixels of 32 bits"),
    "EPS": (saved("eps", COLOUR), "is not a picture"),  # Pillow would start Ghostscript
    # What Pillow decodes wrongly.
    "planes": (tiff(b"", PLANES | {258: [16] * 3}), f"{KIND}: a TIFF of separate planes with 16 bits"),
    "planes, bits turned": (tiff(b"", PLANES | {258: [8] * 3, 266: [2]}), f"{KIND}: a TIFF of separate planes"),
    "planes of lightness": (tiff(b"", PLANES | {258: [8] * 3, 262: [8]}), f"{KIND}: a TIFF of separate planes"),
    "planes, white is 0": (tiff(b"", {258: [8], 262: [0], 284: [2]}), f"{KIND}: a TIFF of separate planes"),
    "planes, opacity": (tiff(b"", {258: [8] * 2, 259: [5], 284: [2], 338: [2]}), f"{KIND}: a TIFF of separate planes"),
    "subsampled": (tiff(b"", {258: [8] * 3, 262: [6], 530: [2, 2]}), f"{KIND}: a TIFF of subsampled colours"),
    "8 bits with sign": (tiff(b"", {258: [8], 339: [2]}), "has signed pixels of 8 bits, whose black"),
    "16 bits with sign": (tiff(b"", {258: [16], 339: [2]}), "has signed pixels of 16 bits, whose black"),
    "16-bit transparency": (png((64, 64), chunk(b"tRNS", bytes(6)), depth=16), f"{KIND}: a PNG of 16 bits"),
    "4-bit JPEG 2000": (SHALLOW, f"{KIND}: a JPEG 2000 of 4 bits"),
    # What Pillow does not decode.
    "10 bits": (tiff(b"", {258: [10]}), f"{KIND}: unknown pixel mode; save it as PNG"),
    "JPEG 2000 in TIFF": (tiff(b"", {258: [8], 259: [34712]}), f"{KIND}: unknown code 34712"),
    "WebP in TIFF": (tiff(b"", {258: [8], 259: [50001]}), f"{KIND}: a TIFF compressed with WebP"),
    "12-bit JPEG": (TWELVE_BITS, f"{KIND}: cannot handle 12-bit layers; save it as PNG"),
    "bitfields": (BITFIELDS, f"{KIND}: Unsupported BMP bitfields layout; save it as PNG"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reason = REFUSED[kind]
    (tmp_path / "x.png").write_bytes(data)
    if kind in ("huge", "large"):  # by the header: nothing is decoded
        monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    with pytest.raises(UserError) as error:
        pixels_of(tmp_path / "x.png")
    assert str(error.value).startswith(reason)
    assert "\n" not in str(error.value)


def test_a_damaged_file_never_raises_anything_else(tmp_path: Path) -> None:
    random, refused = np.random.default_rng(0), 0
    files = [KINDS[kind][0] for kind in ("PNG", "TIFF", "WebP", "JPEG", "palette", "BMP", "16-bit grey TIFF")]
    for data in [data for data in files for _ in range(40)]:
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[random.integers(0, len(data), 5)] = random.integers(0, 256, 5)
        damaged[random.integers(0, min(64, len(data)))] ^= 1 << random.integers(8)
        (tmp_path / "x").write_bytes(damaged[: random.integers(len(data) // 2, len(data) + 1)].tobytes())
        try:
            assert pixels_of(tmp_path / "x").shape == (32, 32, 3)
        except UserError:
            refused += 1
    assert refused > 20


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[reader.Reader]:
    """A reader that allows a second."""
    code = "from cifar10.pictures import decoder; decoder.MOST_SECONDS = 1; decoder.serve()"
    monkeypatch.setattr(reader, "DECODER", f"import sys; sys.path[:] = sys.argv[1:]; {code}")
    with reader.Reader() as each:
        yield each


def webp(side: int) -> bytes:
    """38 bytes that hold a black square: each of the five codes has one symbol, which takes no bits."""
    bits = [(side - 1, 14), (side - 1, 14), (0, 7), *[(1, 4)] * 5]
    value = sum(number << sum(width for _, width in bits[:i]) for i, (number, _) in enumerate(bits))
    return b"RIFF\x1e\0\0\0WEBPVP8L\x12\0\0\0\x2f" + value.to_bytes(17, "little")


def scans(side: int, number: int) -> bytes:
    """A progressive JPEG that repeats its shortest scan."""
    first, *others, last = saved("jpeg", Image.new("L", (side, side)), progressive=True).split(b"\xff\xda")
    return b"\xff\xda".join([first, *others, *[min(others, key=len)] * number, last])


TILE = {256: [32], 257: [32], 258: [8], 259: [8], 322: [26_000], 323: [26_000], 324: [8], 325: [1]}
ATTACKERS = {
    "WebP": (webp(8000), TOO_LARGE),
    "tile": (tiff(b"x", TILE), TOO_LARGE),
    "scans": (scans(2000, 3000), TOO_SLOW),
}


@pytest.mark.skipif(sys.platform != "linux", reason="macOS limits no memory")
@pytest.mark.parametrize("kind", ATTACKERS)
def test_no_picture_takes_more_than_allowed(limited: reader.Reader, tmp_path: Path, kind: str) -> None:
    data, reason = ATTACKERS[kind]
    for name, content in (("attacker", data), ("next", png((64, 64), rows=ROWS))):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        limited.read(str(tmp_path / "attacker"), pipe=False)
    assert str(error.value) == reason
    assert limited.read(str(tmp_path / "next"), pipe=False) == pixels_of(tmp_path / "next").tobytes()
    assert peak(limited) < MOST_MEMORY


def peak(each: reader.Reader) -> int:
    status = Path(f"/proc/{each._process.pid}/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="macOS limits no memory")
def test_as_many_pixels_as_allowed_are_read(tmp_path: Path) -> None:
    """Grey with transparency, which needs the most memory: three times as colours, two at a time."""
    tags = {256: [8000], 257: [8000], 258: [8] * 2, 338: [2], 278: [8000], 273: [1000], 279: [128_000_000]}
    (tmp_path / "x").write_bytes(tiff(b"", tags))
    os.truncate(tmp_path / "x", 1000 + 128_000_000)
    with reader.Reader() as each:
        assert each.read(str(tmp_path / "x"), pipe=False) == b"\xff" * 3072
        assert 2 * 256_000_000 < peak(each) < MOST_MEMORY


@pytest.mark.skipif(sys.platform != "linux", reason="macOS limits no memory")
def test_a_decoder_has_one_thread(tmp_path: Path) -> None:
    """Where numpy starts one for each of 16 cores, their memory alone is more than allowed."""
    Image.fromarray(GREY.astype(np.uint16)).save(tmp_path / "x.png")
    with reader.Reader() as each:
        assert len(each.read(str(tmp_path / "x.png"), pipe=False)) == 3072
        assert "Threads:\t1\n" in Path(f"/proc/{each._process.pid}/status").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps, which macOS has")
def test_without_a_limit_a_decoder_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WATCHES", True)
    monkeypatch.setattr(reader, "MOST_MEMORY", 1_000_000)
    (tmp_path / "x").write_bytes(scans(2000, 3000))
    with reader.Reader() as each, pytest.raises(UserError, match=TOO_LARGE):
        each.read(str(tmp_path / "x"), pipe=False)


def test_a_decoder_that_has_died_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(png((64, 64), rows=ROWS))
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in the command: a lost reader ends it
    try:
        with reader.Reader() as each:
            each._process.terminate()
            each._process.wait()
            with pytest.raises(UserError, match=r"^cannot be read: its decoder ended with exit code -15$"):
                each.read(str(tmp_path / "x"), pipe=False)
            assert len(each.read(str(tmp_path / "x"), pipe=False)) == 3072
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_libraries_write_nothing_themselves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As libtiff and Pillow's logger would."""
    with reader.Reader() as each:
        for tags in ({258: [8], 259: [5]}, {258: [8], 277: [9]}):
            (tmp_path / "x").write_bytes(tiff(bytes(4096), tags))
            with pytest.raises(UserError):
                each.read(str(tmp_path / "x"), pipe=False)
    assert capfd.readouterr() == ("", "")


def test_a_pipe_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_BYTES", 4095)
    with pytest.raises(UserError, match="is too large for a pipe: at most 4,095 bytes"):
        reader._copy(io.BytesIO(bytes(4096)))
    monkeypatch.setattr("tempfile.tempdir", "/no such folder")
    with pytest.raises(UserError, match=r"^cannot be copied: No such file or directory; name another folder: TMPDIR="):
        reader._copy(io.BytesIO(b"picture"))
