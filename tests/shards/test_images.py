"""shards/images: every readable image becomes an upright sRGB JPEG, with the colours and details of the original."""

import io
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms

from shards.images import UnreadableImageError, is_blank, to_jpeg, to_picture, to_pixels


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _colour(data: bytes) -> list[int]:
    """Return the colour at the centre of a packed image."""
    with Image.open(io.BytesIO(to_jpeg(data, 64, 95)[0])) as image:
        assert "icc_profile" not in image.info
        return list(image.getpixel((image.width // 2, image.height // 2)))


def test_unusual_images_become_upright_rgb_and_small_clean_ones_are_not_changed():
    clean = _encode(Image.new("RGB", (80, 50), "red"), "JPEG")
    assert to_jpeg(clean, 64, 90) == (clean, 80, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, options in (("RGB", {"progressive": True}), ("RGB", {"exif": exif}), ("L", {}), ("CMYK", {})):
        small = _encode(Image.new(kind, (50, 50)), "JPEG", **options)
        assert to_jpeg(small, 64, 90)[0] != small
    odd = [
        _encode(Image.new("CMYK", (300, 200)), "JPEG"),
        _encode(Image.new("L", (300, 200)), "JPEG"),
        _encode(Image.new("P", (300, 200)), "PNG"),
        _encode(Image.new("RGBA", (300, 200)), "WEBP"),
        _encode(Image.new("I;16", (300, 200)), "PNG"),
        _encode(Image.new("RGB", (200, 300)), "JPEG", exif=exif),
        _encode(Image.new("RGB", (300, 200)), "JPEG", progressive=True),
    ]
    for data in odd:
        jpeg, width, height = to_jpeg(data, 64, 90)
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.mode, image.size, (width, height)) == (
                "JPEG",
                "RGB",
                (96, 64),
                (96, 64),
            )
            assert not image.info.get("progressive")
    with pytest.raises(UnreadableImageError):
        to_jpeg(clean[:300], 64, 90)
    assert to_jpeg(_encode(Image.new("RGB", (300, 200)), "JPEG", exif=b"Exif\0\0nonsense"), 64, 90)[1:] == (96, 64)
    harmed = clean[:-40] + b"\xff\x00" * 19 + b"\xff\xd9"  # Pillow reads it, the decoder of trainings would not
    with pytest.raises(ValueError, match="Corrupt"):
        simplejpeg.decode_jpeg(harmed)
    assert simplejpeg.decode_jpeg(to_jpeg(harmed, 64, 90)[0]).shape == (50, 80, 3)


def test_pixels_are_those_of_the_packed_jpeg_and_a_clean_one_is_decoded_once(monkeypatch):
    noise = Image.effect_noise((90, 60), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    clean = _encode(noise, "JPEG")
    for data in (clean, _encode(noise, "JPEG", exif=exif), _encode(noise.convert("CMYK"), "JPEG"),
                 _encode(noise.resize((300, 200)), "JPEG"), _encode(noise, "PNG")):  # fmt: skip
        expected = simplejpeg.decode_jpeg(to_jpeg(data, 64, 90)[0])
        assert np.array_equal(to_pixels(data, 64, 90), expected)
    decoded, decode = [], simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *args, **more: decoded.append(1) or decode(*args, **more))
    to_pixels(clean, 64, 90)
    assert len(decoded) == 1
    with pytest.raises(UnreadableImageError):
        to_pixels(clean[:300], 64, 90)


def test_a_jpeg_whose_subsampling_trainings_cannot_read_is_encoded_again():
    data = bytearray(_encode(Image.new("RGB", (80, 50), "red"), "JPEG", subsampling="4:2:0"))
    data[data.index(b"\xff\xc0") + 11] = 0x14  # 4:4:1: the chroma is reduced to a quarter, all of it vertically
    with pytest.raises(KeyError):
        simplejpeg.decode_jpeg_header(bytes(data))
    packed = to_jpeg(bytes(data), 64, 90)[0]
    assert simplejpeg.decode_jpeg_header(packed)[:2] == (50, 80)
    assert to_pixels(bytes(data), 64, 90).shape == (50, 80, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (200, 300), "black")
    picture.paste("white", (0, 0, 100, 100))
    # Where the EXIF standard puts the first row and column of the file.
    top, left = orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8)
    jpeg, width, height = to_jpeg(_encode(picture, "JPEG", exif=exif), 64, 90)
    assert (width, height) == ((64, 96) if orientation < 5 else (96, 64))
    with Image.open(io.BytesIO(jpeg)) as image:
        for x, y in ((4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5)):
            white = (y == 4) == top and (x == 4) == left
            assert image.getpixel((x, y))[0] == pytest.approx(255 * white, abs=20)


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_large_images_are_reduced_before_lanczos_without_a_visible_difference(paintings, monkeypatch, kind):
    scan = Image.new("RGB", (1800, 1800))
    for number, file in enumerate(sorted((paintings / "images").rglob("*.jpg"))[:64]):
        with Image.open(file) as image:
            scan.paste(image.resize((225, 225)), (number % 8 * 225, number // 8 * 225))
    data = _encode(scan.crop((0, 0, 1765, 1677)), kind)  # not multiples of 8: reducing must not shift the image

    with Image.open(io.BytesIO(data)) as image:
        expected = image.resize((269, 256), Image.Resampling.LANCZOS)
    resized, resize = [], Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, *args: resized.append(image.size) or resize(image, *args))
    with Image.open(io.BytesIO(data)) as image:
        picture = to_picture(image, data, 256)
    error = np.mean((np.asarray(expected, np.float64) - np.asarray(picture)) ** 2)
    assert 10 * np.log10(255**2 / error) > 45
    ((width, height),) = resized
    assert width * height < 0.26 * 1765 * 1677  # half the width and half the height, or less


def test_colours_are_those_that_a_viewer_would_show():
    # A profile whose red is green: the built-in one with the names of two table entries exchanged.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    swapped = swapped.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    red = Image.new("RGB", (60, 60), (255, 0, 0))
    near = {"abs": 6}
    assert _colour(_encode(red, "JPEG", icc_profile=swapped, quality=95)) == pytest.approx([0, 255, 0], **near)
    assert _colour(_encode(red.convert("P"), "PNG", icc_profile=swapped)) == pytest.approx([0, 255, 0], **near)
    transparent = red.copy()
    transparent.putalpha(0)
    assert _colour(_encode(transparent, "PNG")) == pytest.approx([255, 255, 255], **near)
    assert _colour(_encode(Image.new("I;16", (60, 60), 0x8000), "PNG")) == pytest.approx([128, 128, 128], **near)
    assert _colour(_encode(red, "PNG", icc_profile=b"no profile")) == pytest.approx([255, 0, 0], **near)


def test_a_large_scan_is_packed_and_a_bomb_is_not():
    scan = _encode(Image.new("L", (15_000, 15_000), 80), "JPEG")
    assert to_jpeg(scan, 64, 90)[1:] == (64, 64)
    for side in (16_000, 60_000):
        bomb = bytearray(_encode(Image.new("L", (8, 8)), "PNG"))
        bomb[16:24] = side.to_bytes(4) * 2  # the size in its header
        bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4)
        with pytest.raises(UnreadableImageError, match="bomb"):
            to_jpeg(bytes(bomb), 64, 90)


def _red(mode: str) -> Image.Image:
    image = Image.new("RGB", (90, 60), (200, 30, 40))
    return image.quantize() if mode == "P" else image.convert(mode)


KINDS = {
    "AVIF": ("RGB", {}),
    "AVIF, transparent": ("RGBA", {}),
    "BMP": ("RGB", {}),
    "DIB": ("RGB", {}),
    "GIF": ("P", {}),
    "GIF, animated": ("P", {"save_all": True, "append_images": [Image.new("P", (90, 60))]}),
    "JPEG2000": ("RGB", {}),
    "JPEG2000, codestream": ("RGB", {"no_jp2": True}),
    "JPEG2000, lossy": ("RGB", {"irreversible": True, "quality_layers": [20]}),
    "JPEG2000, transparent": ("RGBA", {}),
    "MPO": ("RGB", {"save_all": True, "append_images": [Image.new("RGB", (90, 60))]}),
    "PCX": ("RGB", {}),
    "PPM": ("RGB", {}),
    "QOI": ("RGB", {}),
    "SGI": ("RGB", {}),
    "TGA": ("RGB", {}),
    "TIFF": ("RGB", {}),
    "TIFF, LZW": ("RGB", {"compression": "tiff_lzw"}),
    "TIFF, CMYK": ("CMYK", {}),
    "TIFF, Lab": ("LAB", {}),
    "TIFF, several pages": ("RGB", {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
    "WEBP, lossless": ("RGB", {"lossless": True}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_pillow_decodes_is_packed(kind):
    mode, options = KINDS[kind]
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(_red("RGB"), ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    else:
        image = _red(mode)
    data = _encode(image, kind.partition(",")[0], **options)
    assert to_jpeg(data, 64, 90)[1:] == (90, 60)
    assert np.abs(np.subtract(_colour(data), (200, 30, 40))).max() < 12
    with pytest.raises(UnreadableImageError):
        to_jpeg(data[: len(data) // 6], 64, 90)


def test_only_one_colour_is_blank():
    page = Image.new("RGB", (300, 200), (250, 248, 240))
    assert is_blank(_encode(page, "JPEG"))
    page.paste("black", (10, 10, 40, 60))
    assert not is_blank(_encode(page, "JPEG"))
    assert not is_blank(_encode(Image.effect_noise((300, 200), 20), "JPEG"))
