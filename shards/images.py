"""What an image file is turned into before it is packed: a baseline RGB JPEG of the chosen short side. Pure."""

import io

from PIL import Image, ImageOps

EXIF_ORIENTATION = 0x0112


class UnreadableImageError(Exception):
    """The bytes are no image that can be decoded to the end. The message is the reason."""


def to_jpeg(data: bytes, short_side: int, quality: int) -> tuple[bytes, int, int]:
    """Decode an image file and return it as JPEG bytes, width and height in pixels.

    Larger images are reduced so that the shorter side has `short_side` pixels (Lanczos), and stored as 4:2:0 JPEG.
    What already is an upright baseline RGB JPEG and small enough is returned byte for byte: encoding it again
    would only lose quality. Raises `UnreadableImageError`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            clean = (
                image.format == "JPEG"
                and image.mode == "RGB"
                and not image.info.get("progressive")
                and image.getexif().get(EXIF_ORIENTATION, 1) == 1
            )
            if clean and min(image.size) <= short_side:
                image.load()
                return data, *image.size
            # Decode JPEGs at a reduced size that is still at least twice the target: faster, and as good.
            image.draft("RGB", (2 * short_side, 2 * short_side))
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # decoders raise anything at all on hostile bytes
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error
    scale = short_side / min(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue(), *picture.size
