"""A picture file as the network takes it, or the reason why it cannot be read."""

import io
import re
import stat
import sys
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cifar10.core.errors import UserError

SIDE = 32
HOW = f"the centre square, scaled to {SIDE}x{SIDE} (antialiased), transparency on white"
# Not EPS, for which Pillow starts another program, nor TGA, which begins like nothing in particular. JPEG includes MPO.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM", "ICO")
MOST_PIXELS = 64_000_000  # decoded, a quarter of a gigabyte; a small file can claim any number
MOST_BYTES = 256_000_000  # of a pipe, which is kept in memory


def read_picture(source: str) -> NDArray[np.uint8]:
    """The picture in a file, or in standard input for "-", as RGB (32, 32, 3); UserError says why it cannot be read."""
    try:
        with _opened(source) as file, warnings.catch_warnings(action="ignore"):
            return _scaled(_open(file))
    except (UserError, KeyboardInterrupt):
        raise
    except MemoryError:
        raise UserError("there is not enough memory to decode it") from None
    except Exception as error:  # for a damaged file Pillow raises almost anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"it is damaged: {error}"
        raise UserError(f"cannot be read: {' '.join(str(reason).split())}") from None


def _opened(source: str) -> BinaryIO:
    if source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError("there is no picture in standard input; send one: cifar10 classify - < picture.png")
        return _in_memory(sys.stdin.buffer)
    path = Path(source)
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        with path.open("rb") as pipe:
            return _in_memory(pipe)
    if not stat.S_ISREG(mode):
        raise UserError("is neither a file nor a folder")
    return path.open("rb")


def _in_memory(pipe: BinaryIO) -> BinaryIO:
    """Pillow must be able to go back in a file."""
    data = pipe.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UserError(f"is too large for a pipe: at most {MOST_BYTES:,} bytes; name a file instead")
    return io.BytesIO(data)


def _open(file: BinaryIO) -> Image.Image:
    """Read the header alone; UserError where it is of no picture, or of one that is too large to decode."""
    start = file.read(1000).lstrip(b"\xef\xbb\xbf \t\r\n")
    file.seek(0)
    if not start:
        raise UserError("is empty")
    try:
        image: Image.Image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        if start.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in start:
            raise UserError("is an SVG drawing, not pixels; save it as PNG") from None
        raise UserError(f"is not a picture; these formats can be read: {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit, which is higher; it names the number of pixels
        pixels = next((int(number) for number in re.findall(r"\d+", str(error))), 0)
        raise UserError(f"has too many pixels: {pixels:,}, at most {MOST_PIXELS:,}; make it smaller") from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UserError(f"has too many pixels: {width:,} x {height:,}, at most {MOST_PIXELS:,}; make it smaller")
    return image


def _scaled(image: Image.Image) -> NDArray[np.uint8]:
    """Decode the first frame, turn it upright, and do what HOW says."""
    image.draft(None, (8 * SIDE, 8 * SIDE))  # a JPEG: decoded at up to an eighth of its size, four times faster
    image = ImageOps.exif_transpose(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = _eight_bits(image.crop((left, top, left + side, top + side)))
    # With transparency, Pillow weighs each pixel by its opacity, so hidden colours do not show at the edges.
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.array(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The upper 8 of 16 bits of grey; Pillow would take all above 255 for white, but does it so for colours."""
    if image.mode == "F":
        raise UserError("has floating-point pixels, whose black and white nobody knows; save it with 8 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65_535:
        raise UserError("has pixels of 32 bits, whose white nobody knows; save it with 8 bits")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
