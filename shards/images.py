"""Converting image files to what is packed: baseline sRGB JPEGs of the chosen short side. Pure."""

import contextlib
import io
import math
import warnings

import numpy as np
import simplejpeg
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from .index import MAX_PIXELS

EXIF_ORIENTATION = 0x0112

# Scans of 15,000 x 15,000 pixels are not decompression bombs; larger images are refused.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

# The formats that pictures come in. Some of the other formats that Pillow reads start programs.
_FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000"),
    *("DIB", "PPM", "PSD", "QOI", "SGI", "PCX", "TGA"),
)

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow would clip these at 255


# Grey levels of 255, of the colour channel that varies most. Of the 30 paintings with the least contrast among 5,000,
# white monochromes have 1 to 2, faint drawings 4 and more.
BLANK = 3.5


class UnreadableImageError(Exception):
    """The bytes are not an image, or cannot be decoded to the end. The message is the reason."""


def to_jpeg(data: bytes, short_side: int, quality: int) -> tuple[bytes, int, int]:
    """Decode an image file and return it as JPEG bytes, width and height in pixels.

    Larger images are reduced so that the shorter side has `short_side` pixels (Lanczos). The result is a 4:2:0 JPEG:
    upright, 8 bits, sRGB, transparent parts on white. An upright sRGB baseline JPEG that is small enough is returned
    byte for byte: encoding it again would only lose quality. `quality` is that of JPEG, 1 to 95.

    Raises `UnreadableImageError` if the bytes cannot be decoded to the end.
    """
    jpeg, size, _ = _converted(data, short_side, quality)
    return jpeg, *size


def to_pixels(data: bytes, short_side: int, quality: int) -> np.ndarray:
    """Return the pixels that trainings decode from the JPEG of `to_jpeg`, uint8 (height, width, 3). Raises as that."""
    jpeg, _, pixels = _converted(data, short_side, quality)
    return simplejpeg.decode_jpeg(jpeg) if pixels is None else pixels


def _converted(data: bytes, short_side: int, quality: int) -> tuple[bytes, tuple[int, int], np.ndarray | None]:
    """The JPEG, its width and height, and its pixels if they had to be decoded for this."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                # Pillow only warns up to twice the limit. To make that an error would race with other threads.
                if (n := image.width * image.height) > MAX_PIXELS:
                    raise Image.DecompressionBombError(f"{n:,} pixels, a decompression bomb if over {MAX_PIXELS:,}")
                if min(image.size) <= short_side and (pixels := _clean_pixels(image, data)) is not None:
                    return data, image.size, pixels
                picture = to_picture(image, data, short_side)
                buffer = io.BytesIO()
                picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", icc_profile=None)
                return buffer.getvalue(), picture.size, None
    except UnidentifiedImageError:  # its message has an address in memory
        raise UnreadableImageError(f"not one of {', '.join(_FORMATS)}, or damaged at its beginning") from None
    except Exception as error:  # decoders raise all kinds of exceptions on hostile bytes
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def is_blank(jpeg: bytes) -> bool:
    """Whether an image shows nothing but one colour: the standard deviation of each channel is very small."""
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32)
    return bool(pixels.std((0, 1)).max() < BLANK)


def _clean_pixels(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels of a file that is packed as it is, None if it has to be converted."""
    try:
        if (
            image.format == "JPEG"
            and image.mode == "RGB"
            and not image.info.get("progressive")
            and image.getexif().get(EXIF_ORIENTATION, 1) == 1
            and _is_srgb(image.info.get("icc_profile"))
        ):
            simplejpeg.decode_jpeg_header(data)  # trainings read it, and it raises on rare kinds of chroma subsampling
            pixels: np.ndarray = simplejpeg.decode_jpeg(data)
            return pixels
    except Exception:  # broken EXIF, or pixels that only a tolerant decoder can read
        return None
    return None


def to_picture(image: Image.Image, data: bytes, short_side: int) -> Image.Image:
    """Return the pixels that `to_jpeg` encodes: upright 8-bit RGB, its shorter side at most `short_side` pixels.

    `image` is opened but not loaded, `data` are the bytes of its file. Large images are first reduced by a cheaper
    filter than Lanczos, to at least twice the short side, without a visible difference. Raises what decoders raise.
    """
    if image.format not in ("JPEG", "MPO"):
        image.load()  # this turns a TIFF upright, which changes its size
    full = image.size
    reduced, factor = _reduced(image, data, short_side)
    picture = _to_srgb(reduced)
    scale = short_side / min(full)
    if scale < 1:
        size = (max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))
        # The last pixels of the reduced image may lie partly outside: without the box, everything would be shifted.
        picture = picture.resize(size, Image.Resampling.LANCZOS, (0, 0, full[0] * factor, full[1] * factor))
    picture.info = dict(image.info)
    with contextlib.suppress(Exception):  # broken EXIF: the pixels stay as they are
        ImageOps.exif_transpose(picture, in_place=True)
    picture.info = {}
    return picture


def _reduced(image: Image.Image, data: bytes, short_side: int) -> tuple[Image.Image, float]:
    """Return the image at a size that is cheap to decode, and that size relative to the file's."""
    factor = 1.0
    if image.format == "JPEG" and image.mode == "RGB":
        # Pillow does the same in twice the time, but tolerates more: where this raises, it may still succeed.
        with contextlib.suppress(ValueError):
            pixels, factor = _decode_reduced(data, image.size, short_side)
            decoded = Image.fromarray(pixels)
            decoded.info = image.info
            image = decoded
    else:
        width = image.width
        if drafted := image.draft(image.mode, (2 * short_side, 2 * short_side)):
            factor = drafted[1][2] / width
    image.load()
    times = min(image.size) // (3 * short_side)
    reducible = image.mode in ("L", "RGB", "CMYK", "LA", "RGBA") and "transparency" not in image.info
    return (image.reduce(times), factor / times) if times > 1 and reducible else (image, factor)


def _decode_reduced(data: bytes, size: tuple[int, int], short_side: int) -> tuple[np.ndarray, float]:
    """Decode a JPEG at the fewest eighths of its size that give twice the short side or more.

    Returns the pixels, uint8 (height, width, 3), and the size relative to the file's.
    """
    eighths = next((n for n in range(1, 8) if min(size) * n >= 8 * 2 * short_side), 8)
    width, height = (math.ceil(side * eighths / 8) for side in size)
    return simplejpeg.decode_jpeg(data, min_height=height, min_width=width), eighths / 8


def _to_srgb(image: Image.Image) -> Image.Image:
    """Return the image as 8-bit sRGB: colour profile applied, 16 bits scaled, transparent parts on white."""
    profile = image.info.get("icc_profile")
    if image.mode in _16_BIT_MODES:
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no defined white; convert the image to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "P":  # the profile describes the colours of the palette
        image = image.convert("RGB")
    if profile and not _is_srgb(profile) and image.mode in ("RGB", "CMYK", "L"):
        # A broken profile, or one for other channels than the image has, is ignored.
        with contextlib.suppress(ImageCms.PyCMSError):
            return ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, outputMode="RGB") or image
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_srgb(profile: bytes | None) -> bool:
    """Whether colours need no conversion. Without a profile, sRGB is assumed."""
    if not profile:
        return True
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return True
    return "srgb" in name.lower()
