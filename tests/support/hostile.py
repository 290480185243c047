"""Files that an upload may be: images of every kind, damaged ones, and what is no image at all."""

import io
import itertools
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin


def corpus(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` files, each a kind and its bytes: all of ``odd``, then valid ones damaged at random."""
    yielded = list(itertools.islice(odd(), count))
    yield from yielded
    rng = np.random.default_rng(seed)
    whole = [(kind, data) for kind, data in images(rng)]
    for number in range(count - len(yielded)):
        kind, data = whole[rng.integers(len(whole))]
        how = DAMAGES[number % len(DAMAGES)]
        yield f"{how.__name__} {kind}", how(data, rng)


# ---- whole images --------------------------------------------------------------------------------


def grey(rng, width=96, height=80) -> np.ndarray:
    coarse = rng.integers(0, 256, (5, 5), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def images(rng) -> Iterator[tuple[str, bytes]]:
    """Images that could be looked at, in every mode that PNG and JPEG have."""
    picture = Image.fromarray(grey(rng))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield (
            f"png {mode}",
            save(picture.convert("RGB").convert(mode) if mode != "I;16" else deep(rng), "PNG"),
        )
    for mode in ("L", "RGB", "CMYK"):
        yield f"jpeg {mode}", save(picture.convert(mode), "JPEG")
    for orientation in range(1, 9):
        yield f"jpeg turned {orientation}", turned(picture, orientation)
    yield "jpeg progressive", save(picture, "JPEG", progressive=True)
    yield "png interlaced", interlaced()


def deep(rng) -> Image.Image:
    return Image.fromarray(grey(rng).astype(np.uint16) * 257)


def save(picture, form, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def turned(picture, orientation) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "<script>alert(1)</script>"
    return save(picture, "JPEG", exif=exif)


def interlaced() -> bytes:
    """An Adam7 header over rows that are not: valid checksums, wrong content."""
    rows = b"".join(b"\0" + bytes(64) for _ in range(64))
    return png(64, 64, zlib.compress(rows), interlace=1)


# ---- odd ones ------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, packed=b"", depth=8, colour=0, interlace=0, extra=b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def odd() -> Iterator[tuple[str, bytes]]:
    """Files that mean harm or are of another kind."""
    rng = np.random.default_rng(1)
    picture, whole = Image.fromarray(grey(rng)), save(Image.fromarray(grey(rng)), "PNG")
    jpeg = save(picture, "JPEG")
    yield "empty", b""
    yield "one byte", b"\x89"
    yield from bombs(picture)
    yield "1 x 1", save(picture.resize((1, 1)), "PNG")
    yield "long and thin", save(picture.resize((20000, 40)), "PNG")
    for form in ("GIF", "BMP", "TIFF", "WEBP", "ICO", "PPM"):
        yield form.lower(), save(picture, form)
    yield "animation", save(picture, "PNG", save_all=True, append_images=[picture.rotate(90)])
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n"
    yield (
        "pickle",
        b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.py", "import os")
    yield "png and zip", whole + archive.getvalue()
    yield "zip and png", archive.getvalue() + whole
    yield "jpeg and html", jpeg + b"<script>alert(1)</script>"
    yield (
        "jpeg in a comment",
        jpeg[:2] + b"\xff\xfe\x00\x30" + b"<?php system($_GET[0]); ?>".ljust(46) + jpeg[2:],
    )
    yield "dicom", bytes(128) + b"DICM" + rng.bytes(500)
    yield "noise", rng.bytes(50_000)
    for value in (0, 128, 255):
        yield f"all {value}", save(Image.fromarray(np.full((64, 64), value, np.uint8)), "PNG")


def bombs(picture) -> Iterator[tuple[str, bytes]]:
    """Small files that want much memory or time."""
    yield "20000 x 20000 bits", png(20000, 20000, zlib.compress(bytes(20000 * 2501), 9), depth=1)
    yield "7000 x 7000, all black", save(Image.new("L", (7000, 7000)), "PNG")
    yield "6000 x 6000 RGBA", save(Image.new("RGBA", (6000, 6000)), "PNG", compress_level=1)
    yield (
        "promises 65000 x 65000",
        save(picture, "JPEG").replace(
            struct.pack(">HH", picture.height, picture.width), struct.pack(">HH", 65000, 65000), 1
        ),
    )
    yield "huge header", png(2**31 - 1, 2**31 - 1)
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 900_000, zip=True)
    yield "much text", save(picture, "PNG", pnginfo=text)
    packed = b"c\0\0" + zlib.compress(bytes(100_000_000), 9)
    yield "text bomb", png(64, 64, zlib.compress(bytes(65 * 64)), extra=chunk(b"zTXt", packed))
    profile = b"icc\0\0" + zlib.compress(bytes(100_000_000), 9)
    yield "profile bomb", png(64, 64, zlib.compress(bytes(65 * 64)), extra=chunk(b"iCCP", profile))
    yield "more rows than said", png(64, 64, zlib.compress(bytes(200_000_000), 9))


# ---- damage --------------------------------------------------------------------------------------


def flipped(data, rng) -> bytes:
    """A few bits are others."""
    values = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(values), rng.integers(1, 20))
    values[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return values.tobytes()


def cut(data, rng) -> bytes:
    """The end is missing."""
    return data[: rng.integers(1, len(data))]


def spliced(data, rng) -> bytes:
    """A piece stands in another place."""
    a, b = sorted(rng.integers(0, len(data), 2))
    return data[:a] + data[b:] + data[a:b]


def filled(data, rng) -> bytes:
    """A piece is noise, or all of one value."""
    start = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, 200))
    piece = rng.bytes(length) if rng.random() < 0.5 else bytes([int(rng.choice([0, 255]))]) * length
    return data[:start] + piece + data[start + length :]


def resized(data, rng) -> bytes:
    """The header says another size: the numbers that follow IHDR or a JPEG's frame marker."""
    numbers = struct.pack(">HH", *(int(n) for n in rng.integers(0, 2**16, 2)))
    at = data.find(b"IHDR")
    if at >= 0:
        numbers = struct.pack(">II", *(int(n) for n in rng.integers(0, 20000, 2)))
        header = data[at : at + 4] + numbers + data[at + 12 : at + 17]
        return data[:at] + header + struct.pack(">I", zlib.crc32(header)) + data[at + 21 :]
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + numbers + data[at + 9 :]


DAMAGES = (flipped, cut, spliced, filled, resized)
