"""What an image file is turned into before it is packed: a baseline sRGB JPEG of the chosen short side. Pure."""

import contextlib
import io
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

EXIF_ORIENTATION = 0x0112

# Scans of 15,000 x 15,000 pixels are no decompression bombs; what is larger than this is refused.
Image.MAX_IMAGE_PIXELS = 250_000_000

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # modes of 16 bits a pixel, which Pillow would cut off at 255


class UnreadableImageError(Exception):
    """The bytes are no image that can be decoded to the end. The message is the reason."""


def to_jpeg(data: bytes, short_side: int, quality: int) -> tuple[bytes, int, int]:
    """Decode an image file and return it as JPEG bytes, width and height in pixels.

    Larger images are reduced so that the shorter side has `short_side` pixels (Lanczos), and stored as 4:2:0 JPEG:
    upright, 8 bits, in the colours of sRGB, on white where they were transparent. What already is all that, a
    baseline JPEG and small enough is returned byte for byte: encoding it again would only lose quality. Raises
    `UnreadableImageError`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                clean = (
                    image.format == "JPEG"
                    and image.mode == "RGB"
                    and not image.info.get("progressive")
                    and image.getexif().get(EXIF_ORIENTATION, 1) == 1
                    and _is_srgb(image.info.get("icc_profile"))
                )
                if clean and min(image.size) <= short_side:
                    image.load()
                    return data, *image.size
                # Decode JPEGs at a reduced size that is still at least twice the target: faster, and as good.
                image.draft("RGB", (2 * short_side, 2 * short_side))
                picture = _to_srgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise anything at all on hostile bytes
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error
    scale = short_side / min(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", icc_profile=None)
    return buffer.getvalue(), *picture.size


def _to_srgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit sRGB: its profile applied, 16 bits scaled, transparency laid on white."""
    profile = image.info.get("icc_profile")
    if image.mode in _DEEP:
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; convert the image to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if profile and not _is_srgb(profile) and image.mode in ("RGB", "CMYK", "L"):
        # A broken profile, or one of other colours than the image has, is as good as none.
        with contextlib.suppress(ImageCms.PyCMSError):
            return ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, outputMode="RGB") or image
    return image.convert("RGB")


def _is_srgb(profile: bytes | None) -> bool:
    """Whether colours need no conversion: without a profile, sRGB is what everybody assumes."""
    if not profile:
        return True
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return True
    return "srgb" in name.lower()
