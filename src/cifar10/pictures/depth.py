"""Read the depth that Pillow's modes do not hold; refuse the kinds that Pillow decodes wrongly without an error.

Both were found with Pillow 13.0, on 700 files of all kinds that tifffile, imagecodecs and ImageMagick wrote.
"""

from typing import BinaryIO, NamedTuple

from PIL import ImageFile

from cifar10.core.errors import UserError

# The numbers of TIFF's tags.
BITS, PHOTOMETRIC, FILL_ORDER, PLANAR, SAMPLE_FORMAT, SUBSAMPLING = 258, 262, 266, 284, 339, 530


class Depth(NamedTuple):
    """Hold the depth of grey in Pillow's modes I and I;16."""

    bits: int
    white_is_zero: bool


def depth_of(image: ImageFile.ImageFile, file: BinaryIO) -> Depth:
    """Return the depth of an opened file. Raise UserError if Pillow would decode it wrongly."""
    if image.format == "TIFF":
        return _of_tiff(image)
    if image.format == "PNG":
        _check_png(image)
    if image.format == "JPEG2000":
        _check_jpeg2000(image, file)
    return Depth(16, False)


def _of_tiff(image: ImageFile.ImageFile) -> Depth:
    tags = image.tag_v2  # type: ignore[attr-defined] # TiffImageFile's
    bits, photometric = tags.get(BITS, (1,))[0], tags.get(PHOTOMETRIC, 0)
    if image.info["compression"] == "webp":
        raise UserError("is of an unsupported kind: a TIFF compressed with WebP; save it as PNG")
    if 2 in tags.get(SAMPLE_FORMAT, ()) and bits < 32:
        raise UserError(f"has signed pixels of {bits} bits, whose black and white nobody knows; save it as PNG")
    by_libtiff = image.use_load_libtiff  # type: ignore[attr-defined] # otherwise by Pillow itself
    if photometric == 6 and max(tags.get(SUBSAMPLING, (1, 1))) > 1 and not by_libtiff:
        raise UserError("is of an unsupported kind: a TIFF of subsampled colours, not compressed; save it as PNG")
    if tags.get(PLANAR) == 2:
        plain = bits == 8 and photometric in (1, 2, 3, 5) and tags.get(FILL_ORDER, 1) == 1
        if "A" in image.mode.upper()[:2] or not (plain or by_libtiff):
            raise UserError(f"is of an unsupported kind: a TIFF of separate planes with {bits} bits; save it as PNG")
    return Depth(bits if bits < 16 else 16, photometric == 0)


def _check_png(image: ImageFile.ImageFile) -> None:
    depth = image.tile[0].args if image.tile else None
    if "transparency" in image.info and depth == "RGB;16B":
        raise UserError("is of an unsupported kind: a PNG of 16 bits with one transparent colour; save it with 8 bits")
    if isinstance(image.info.get("transparency"), int) and depth in ("L;2", "L;4"):
        image.info["transparency"] *= 255 // (2 ** int(depth[-1]) - 1)  # Pillow scales only the pixels


def _check_jpeg2000(image: ImageFile.ImageFile, file: BinaryIO) -> None:
    file.seek(0)
    header = file.read(1_000_000).partition(b"\xff\x4f\xff\x51")[2]  # behind the markers SOC and SIZ
    bits = [(each & 127) + 1 for each in header[38 : 38 + 3 * int.from_bytes(header[36:38], "big") : 3]]
    if bits and min(bits) < 8 and image.mode not in ("P", "PA"):
        raise UserError(f"is of an unsupported kind: a JPEG 2000 of {min(bits)} bits; save it with 8 bits")
