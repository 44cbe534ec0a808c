"""Read a picture file as the network takes it, or say why it cannot be read."""

import re
import warnings
from collections.abc import Callable
from typing import IO, BinaryIO

from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from cifar10.core import SIDE
from cifar10.core.errors import UserError
from cifar10.pictures.depth import Depth, depth_of

# EPS is left out because Pillow starts another program for it, TGA because it has no signature. JPEG includes MPO.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM", "ICO")
MOST_PIXELS = 64_000_000  # a quarter of a gigabyte when decoded
NO_MEMORY = re.compile("out of memory|too much memory|data too large|decoder error -9", re.I)
UNSUPPORTED = re.compile("unsupported|not (yet )?supported|unknown|cannot handle|unable|samples per pixel|ftyp", re.I)


def read_picture(file: BinaryIO) -> Image.Image:
    """Return the picture in an open file as 32x32 RGB. Raise UserError or MemoryError if it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return _scaled(_open(file), file)
    except (UserError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # of a picture inside the file; the message names its pixels
        pixels = next((int(number) for number in re.findall(r"\d+", str(error))), 0)
        raise UserError(f"has too many pixels: {pixels:,}, at most {MOST_PIXELS:,}; make it smaller") from None
    except Exception as error:  # Pillow raises almost anything
        if NO_MEMORY.search(str(error)):
            raise MemoryError from None
        raise UserError(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error.__cause__, KeyError) and text.isdigit():  # missing in a table of what Pillow reads
        text = f"unknown code {text}"
    if UNSUPPORTED.search(text):
        return f"is of an unsupported kind: {text}; save it as PNG"
    return f"cannot be read: it is damaged: {text}"


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    """Read only the header. Raise UserError if the file is not a picture, or too large."""
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow raises an error for more than twice as many
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28  # a colour profile or XMP may be large
    start = file.read(1000)
    file.seek(0)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise UserError("is empty")
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text:
        raise UserError("is an SVG drawing, not pixels; save it as PNG")
    image = _factory(start)(file, "")
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UserError(f"has too many pixels: {width:,} x {height:,}, at most {MOST_PIXELS:,}; make it smaller")
    return image


def _factory(start: bytes) -> Callable[[IO[bytes], str], ImageFile.ImageFile]:
    """Return Pillow's reader for files that begin with `start`. Image.open would hide why a file cannot be read."""
    for load in (Image.preinit, Image.init):  # the second loads all formats, which takes longer
        load()
        for name in FORMATS:
            factory, accept = Image.OPEN.get(name, (None, None))
            if factory and accept and accept(start[:16]) is True:
                return factory
    if start[4:8] == b"ftyp":
        raise UserError("is of an unsupported kind, such as HEIC or a film; save it as PNG")
    raise UserError(f"is not a picture; these formats can be read: {', '.join(FORMATS)}")


def _scaled(image: ImageFile.ImageFile, file: BinaryIO) -> Image.Image:
    """Decode the first frame, turn it upright, and do what HOW says. At most two copies exist at a time."""
    depth = depth_of(image, file)
    image.draft(None, (8 * SIDE, 8 * SIDE))  # decodes a JPEG at down to an eighth of its size, four times faster
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # of damaged EXIF, in whatever way; the pixels are sound
        pass
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    del image
    square = _eight_bits(square, depth)
    # With transparency, Pillow weighs each pixel by its opacity, so hidden colours do not show at the edges.
    mode = "RGBA" if square.has_transparency_data else "RGB"
    square = square.convert(mode)
    small = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    return small


def _eight_bits(image: Image.Image, depth: Depth) -> Image.Image:
    """Reduce 16 bits of grey to the upper 8, as Pillow does for colours; it would make all grey above 255 white."""
    if image.mode == "F":
        raise UserError("has floating-point pixels, whose black and white nobody knows; save it with 8 bits")
    if image.mode == "La":  # grey multiplied by its opacity, which Pillow converts only to LA
        return image.convert("LA")
    if not image.mode.startswith("I"):
        return image
    import numpy as np  # imported here, because it loads slowly and few pictures need it

    transparent = image.info.get("transparency")  # a value of 16 bits
    grey = Image.new("L" if transparent is None else "LA", image.size)
    for top in range(0, image.height, 100):  # all rows at once would need three more copies
        values = np.asarray(image.crop((0, top, image.width, min(top + 100, image.height))))
        if values.min() < 0 or values.max() > 65_535:
            raise UserError("has pixels of 32 bits, whose white nobody knows; save it with 8 bits")
        rows = Image.fromarray((values >> (depth.bits - 8)).astype(np.uint8))
        if depth.white_is_zero:
            rows = ImageOps.invert(rows)
        if transparent is not None:
            rows.putalpha(Image.fromarray((values != transparent).astype(np.uint8) * 255))
        grey.paste(rows, (0, top))
    return grey
