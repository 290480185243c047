"""Archives that do harm where one is trusted: names, links, sizes and headers that lie, and plain damage."""

import io
import itertools
import stat
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from support import hostile

Members = list[tuple[zipfile.ZipInfo | str, bytes]]
INSIDE = "chest_xray/train/NORMAL"
UNKNOWN = 99  # a way of compression that nobody has
DAMAGED = {how.__name__ for how in hostile.DAMAGES}


def corpus(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` zip files, each a kind and its bytes: all of ``odd``, then these damaged at random."""
    rng = np.random.default_rng(seed)
    whole = list(itertools.islice(odd(rng), count))
    yield from whole
    small = [data for _, data in whole if len(data) < 200_000]  # damage to a large file is seldom seen
    for number in range(count - len(whole)):
        how = hostile.DAMAGES[number % len(hostile.DAMAGES)]
        yield how.__name__, how(small[rng.integers(len(small))], rng)


def radiographs(rng) -> Members:
    """What every archive holds beside the harm: enough children of every class, each film different."""
    names = [
        f"chest_xray/{split}/{folder}/{name.format(number)}.jpeg"
        for number in range(12)
        for split in ["test" if number % 4 == 3 else "train"]
        for folder, name in (
            ("PNEUMONIA", "person{}_bacteria_1"),
            ("PNEUMONIA", "person1{:02}_virus_1"),
            ("NORMAL", "IM-{:04}-0001"),
        )
    ]
    films = [hostile.grey(rng, 40, 48) for _ in names]
    return [
        (name, hostile.save(hostile.Image.fromarray(film), "JPEG"))
        for name, film in zip(names, films, strict=True)
    ]


def packed(members: Members, before: bytes = b"", comment: bytes = b"") -> bytes:
    """A zip file of the members, of which two may have one name."""
    file = io.BytesIO(before)
    file.seek(len(before))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def odd(rng) -> Iterator[tuple[str, bytes]]:
    """Whole archives of radiographs, each with one kind of harm."""
    films = radiographs(rng)
    picture = hostile.save(hostile.Image.fromarray(hostile.grey(rng, 52, 44)), "JPEG")
    yield "none", packed(films)
    for kind, members in harm(picture):
        yield kind, packed(films + members)
    yield "program before it", packed(films, before=b"MZ" + bytes(5000))
    yield "long comment", packed(films, comment=b"PK\3\4" * 16_000)
    for kind, place, value in LIES:
        yield kind, lying(packed([*films, (f"{INSIDE}/IM-9999-0001.jpeg", picture)]), place, value)
    yield "empty", packed([])
    yield "two in one", packed(films) + packed(films[:3])


def harm(picture: bytes) -> Iterator[tuple[str, Members]]:
    """Members that are not what a radiograph's file should be."""
    for name in (
        "../../out.jpeg",
        "/out.jpeg",
        "..\\..\\out.jpeg",
        "C:\\out.jpeg",
        f"{INSIDE}/../../../out.jpeg",
    ):
        yield "out of the folder", [(name, picture), (f"NORMAL/{name}", picture)]
    for kind, mode in (("link", stat.S_IFLNK), ("device", stat.S_IFCHR), ("pipe", stat.S_IFIFO)):
        info = zipfile.ZipInfo(f"{INSIDE}/IM-0001-0009.jpeg")
        info.create_system, info.external_attr = 3, (mode | 0o777) << 16
        yield kind, [(info, b"/etc/passwd")]
    yield "bomb", [(f"{INSIDE}/IM-0001-0009.jpeg", bytes(100 << 20))]
    yield "many bombs", [(f"{INSIDE}/IM-{i:04}-0009.jpeg", bytes(8 << 20)) for i in range(20)]
    for kind, data in hostile.bombs(hostile.Image.fromarray(np.zeros((80, 80), np.uint8))):
        yield f"image: {kind}", [(f"{INSIDE}/IM-0001-0009.png", data)]
    inner = packed([("a.jpeg", picture)])
    yield "zip in a zip", [(f"{INSIDE}/inner.zip", inner), (f"{INSIDE}/IM-0001-0009.jpeg", inner)]
    same = f"{INSIDE}/IM-0001-0009.jpeg"
    yield "one name twice", [(same, picture), (same, picture[::-1])]
    yield "one name in two classes", [(same, picture), (same.replace("NORMAL", "PNEUMONIA/virus"), picture)]
    for name in ("\u202egepj.IM-1-1", "ünï\u0301cødé", "😀" * 40, "\u200b", "\uff2e\uff2f"):
        yield "unicode", [(f"{INSIDE}/{name}.jpeg", picture)]
    for name in ("\n\n", "\t,;\"'", "\x1b[31m", "=1+1", "-rf", ".", "%s%n", "a\x07"):
        yield "odd name", [(f"{INSIDE}/{name}.jpeg", picture)]
    yield "long name", [(f"{INSIDE}/{'n' * 60_000}.jpeg", picture)]
    yield "deep folders", [(f"{'d/' * 5000}normal/1.jpeg", picture)]
    yield "many empty files", [(f"{INSIDE}/IM-{i:04}-0009.jpeg", b"") for i in range(2000)]


# what a member's header says: offsets of the field in the local header and in the list at the end
LIES = (
    ("encrypted", ("<H", 6, 8), 1),
    ("unknown compression", ("<H", 8, 10), UNKNOWN),
    ("wrong checksum", ("<I", 14, 16), 1),
    ("larger than it says", ("<I", 22, 24), 10),
    ("4 GB, as it says", ("<I", 22, 24), 0xFFFFFFF0),
)


def lying(data: bytes, place: tuple[str, int, int], value: int) -> bytes:
    """The archive with another value in a field of its last member's headers."""
    content = bytearray(data)
    name, (kind, local, central) = b"IM-9999-0001.jpeg", place
    start = len(f"{INSIDE}/".encode())
    struct.pack_into(kind, content, content.find(name) - start - 30 + local, value)
    struct.pack_into(kind, content, content.rfind(name) - start - 46 + central, value)
    return bytes(content)
