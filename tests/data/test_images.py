"""Radiograph files: good ones keep their grey levels, hostile ones are refused in one clear line."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xnn import load_images, load_study
from xnn.data import images
from xnn.data.images import ImageError, decode, write_images

RAMP = np.tile(np.linspace(0, 255, 96).round().astype(np.uint8), (64, 1))  # 64 high, 96 wide
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(image, kind="PNG", **options):
    """Bytes of an image file."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, bits, colour, data=b""):
    """A PNG whose header says what it likes."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return SIGNATURE + body


def refusal(data, size=32):
    """The one line that says why a file is refused."""
    with pytest.raises(ImageError) as caught:
        decode(data, size)
    message = str(caught.value)
    assert message
    assert len(message.splitlines()) == 1
    return message


def assert_image_or_refusal(data):
    try:
        found = decode(data, 32)
    except ImageError:
        refusal(data)
    else:
        assert found.shape == (32, 32)


# ---- files that are refused ---------------------------------------------------------------------


def test_an_empty_file_is_refused():
    assert refusal(b"") == "the file is empty"


@pytest.mark.parametrize(
    "data",
    [
        bytes(1000),
        b"\xff" * 1000,
        b"a text\nof lines",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        b"PK\x03\x04" + bytes(100),
        b"\0" * 128 + b"DICM" + bytes(100),
        *(encoded(RAMP, kind) for kind in ("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO")),
    ],
)
def test_what_is_neither_jpeg_nor_png_is_refused(data):
    assert "not a JPEG or PNG" in refusal(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("eighths", range(1, 8))
def test_a_truncated_file_is_refused(kind, eighths):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    whole = encoded(noise, kind)
    assert decode(whole).shape == (64, 64)
    message = refusal(whole[: len(whole) * eighths // 8])
    assert "truncated" in message or "not a JPEG or PNG" in message


@pytest.mark.parametrize("head", [b"", b"\xff\xd8\xff", SIGNATURE, SIGNATURE + b"\0\0\0\rIHDR"])
@settings(max_examples=50, derandomize=True, deadline=None, database=None)
@given(tail=st.binary(max_size=300))
def test_random_bytes_are_refused(head, tail):
    refusal(head + tail)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=40))
def test_a_damaged_file_gives_an_image_or_a_refusal(kind, place, junk):
    whole = encoded(RAMP, kind)
    at = int(place * len(whole))
    assert_image_or_refusal(whole[:at] + junk + whole[at + len(junk) :])


def test_sixteen_bits_of_grey_are_refused_with_a_hint():
    data = encoded(RAMP.astype(np.uint16) * 257)
    assert "16 bits or more): export it with 8 bits" in refusal(data)


@pytest.mark.parametrize(
    ("width", "height", "bits", "colour"),
    [
        (10_000, 8_000, 8, 0),  # below the limit of Pillow's own warning
        (12_000, 8_000, 8, 0),  # where Pillow warns only
        (60_000, 60_000, 8, 2),  # where Pillow refuses
        (2**31 - 1, 2**31 - 1, 8, 0),
        (2**31 - 1, 1, 8, 0),
    ],
)
def test_a_header_that_promises_too_much_is_refused(width, height, bits, colour):
    assert "bomb" in refusal(png(width, height, bits, colour, bytes(100)))


def test_a_real_bomb_of_one_bit_pixels_is_refused():
    data = png(20_000, 20_000, 1, 0, bytes(20_000 * 2501))
    assert len(data) < 100_000
    assert "bomb" in refusal(data)


@pytest.mark.parametrize("size", [(1, 1), (31, 64), (1000, 1)])
def test_an_image_too_small_is_refused(size):
    assert "at least 32 per side" in refusal(encoded(Image.new("L", size)))


def test_an_image_without_pixels_is_refused():
    refusal(png(0, 0, 8, 0))


def test_an_animation_is_refused():
    frames = [Image.new("L", (64, 64), grey) for grey in (0, 100, 200)]
    data = encoded(frames[0], save_all=True, append_images=frames[1:])
    assert "animation" in refusal(data)


def test_a_file_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 2**20)
    assert refusal(bytes(2**20 + 1)) == "too large for one radiograph: 1 MB"


def test_a_text_chunk_that_inflates_is_refused_or_ignored():
    bomb = zlib.compress(bytes(2**24))
    body = b"zTXtnote\0\0" + bomb
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    whole = encoded(RAMP)
    assert_image_or_refusal(whole[:33] + chunk + whole[33:])


# ---- files that are used ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_a_grey_gradient_survives_every_png_mode(mode):
    grey = decode(encoded(Image.fromarray(RAMP).convert(mode)))
    assert grey.dtype == np.uint8
    assert grey.shape == RAMP.shape
    assert np.array_equal(grey, RAMP)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_a_grey_gradient_survives_every_jpeg_mode(mode):
    grey = decode(encoded(Image.fromarray(RAMP).convert(mode), "JPEG", quality=95))
    assert grey.shape == RAMP.shape
    assert np.abs(grey.astype(int) - RAMP).max() <= 4


def test_one_bit_is_black_and_white():
    grey = decode(encoded(Image.fromarray(RAMP > 127)))
    assert np.array_equal(grey, np.where(RAMP > 127, 255, 0))


def test_colours_become_luminance():
    red = decode(encoded(Image.new("RGB", (32, 32), (255, 0, 0))))
    assert set(np.unique(red)) == {76}


@pytest.mark.parametrize("shape", [(32, 400), (400, 32), (33, 57)])
@pytest.mark.parametrize("size", [None, 32, 64, 100])
def test_any_shape_becomes_the_asked_one(shape, size):
    grey = decode(encoded(np.zeros(shape, np.uint8)), size)
    assert grey.shape == (shape if size is None else (size, size))
    assert grey.dtype == np.uint8
    assert grey.flags.writeable


def test_resizing_keeps_the_gradient():
    grey = decode(encoded(RAMP), 32).astype(int)
    assert np.abs(grey - np.linspace(0, 255, 32)).max() < 6
    assert (np.diff(grey, axis=1) > 0).all()


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, RAMP), (2, RAMP[:, ::-1]), (3, RAMP[::-1, ::-1]), (6, np.rot90(RAMP, -1)), (8, np.rot90(RAMP))],
)
def test_the_orientation_that_exif_tells_is_followed(orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = decode(encoded(RAMP, "JPEG", quality=95, exif=exif))
    assert grey.shape == turned.shape
    assert np.abs(grey.astype(int) - turned).max() <= 4


def test_a_large_jpeg_decoded_at_a_fraction_equals_a_plain_resize():
    y, x = np.mgrid[0:1200, 0:1600] / 1600
    film = (128 + 60 * np.sin(9 * x) + 60 * np.cos(7 * y + 3 * x)).astype(np.uint8)
    data = encoded(film, "JPEG", quality=90)
    plain = Image.open(io.BytesIO(data)).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(decode(data, 64).astype(int) - np.asarray(plain)).max() <= 4


def test_decoding_twice_gives_the_same_pixels():
    data = encoded(RAMP, "JPEG")
    assert np.array_equal(decode(data, 48), decode(data, 48))


@pytest.mark.parametrize("size", [None, 32])
def test_a_jpeg_with_a_second_picture_inside_is_read(size):
    first, second = (Image.fromarray(np.full((80, 64), grey, np.uint8)) for grey in (200, 20))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    assert Image.open(file).n_frames == 2
    grey = decode(file.getvalue(), size)
    assert grey.shape == ((80, 64) if size is None else (32, 32))
    assert np.abs(grey.astype(int) - 200).max() <= 2


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L"])
def test_transparent_pixels_are_black(mode):
    grey, opacity = np.full((2, 40, 40), 200, np.uint8)
    opacity[:20], opacity[30:] = 0, 255
    file = io.BytesIO()
    if mode in ("LA", "RGBA"):
        image = Image.fromarray(grey).convert(mode)
        image.putalpha(Image.fromarray(opacity))
        image.save(file, "PNG")
    else:
        grey[:20] = 90
        Image.fromarray(grey).convert(mode).save(file, "PNG", transparency=90)
    found = decode(file.getvalue())
    assert (found[:20] == 0).all()
    assert (found[30:] == 200).all()
    assert (abs(found[20:30].astype(int) - (157 if "A" in mode else 200)) <= 1).all()


# ---- the store ----------------------------------------------------------------------------------


@pytest.fixture
def films():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16), np.uint8)


def failing(films):
    """Some images, then a full disk or whatever it may be."""
    yield from films[:2]
    raise OSError("it broke")


def test_the_store_gives_back_what_was_written(tmp_path, films):
    write_images(tmp_path / "new" / "images.npy", 5, 16, iter(films))
    assert np.array_equal(np.load(tmp_path / "new" / "images.npy"), films)


def test_the_images_of_a_study_are_mapped_into_memory(small):
    images = load_images(load_study(small))
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable


def test_masks_are_written_as_zeros_and_ones(tmp_path, films):
    write_images(tmp_path / "masks.npy", 5, 16, (film > 100 for film in films))
    masks = np.load(tmp_path / "masks.npy")
    assert masks.dtype == np.uint8
    assert np.array_equal(masks, films > 100)


def test_a_broken_write_leaves_nothing(tmp_path, films):
    with pytest.raises(OSError, match="it broke"):
        write_images(tmp_path / "images.npy", 5, 16, failing(films))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_write_leaves_the_older_store_whole(tmp_path, films):
    write_images(tmp_path / "images.npy", 5, 16, iter(films))
    with pytest.raises(OSError, match="it broke"):
        write_images(tmp_path / "images.npy", 5, 16, failing(255 - films))
    assert [file.name for file in tmp_path.iterdir()] == ["images.npy"]
    assert np.array_equal(np.load(tmp_path / "images.npy"), films)


def test_an_open_store_keeps_its_images_when_it_is_rewritten(tmp_path, films):
    write_images(tmp_path / "images.npy", 5, 16, iter(films))
    older = np.load(tmp_path / "images.npy", mmap_mode="r")
    write_images(tmp_path / "images.npy", 5, 16, iter(255 - films))
    assert np.array_equal(older[:], films)


@pytest.mark.parametrize("shapes", [[(8, 8)], [(8, 8)] * 3, [(8, 8), (8, 9)]])
def test_a_store_has_what_was_said(tmp_path, shapes):
    with pytest.raises(ValueError, match="image"):
        write_images(tmp_path / "images.npy", 2, 8, (np.zeros(shape, np.uint8) for shape in shapes))
    assert not list(tmp_path.iterdir())
