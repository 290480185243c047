"""Archives of radiographs: read in place, downloaded, and what their file names say."""

import hashlib
import os
import re
import zipfile
from pathlib import Path, PurePosixPath

from ..config.schema import ROOT, Study
from .images import MAX_BYTES, ImageError

SPLITS = ("train", "val", "test")
LITTER = re.compile(r"(^|/)(\.|__MACOSX/|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


class DataError(ValueError):
    """A data set that cannot be used; the message names the place and the fix."""


class Archive:
    """A zip file or an unpacked folder of radiographs, read in place."""

    def __init__(self, path: Path):
        self.path, self.zip = Path(path), None
        if self.path.is_dir():
            sizes = _files(self.path)
        elif self.path.is_file():
            self.zip = _opened(self.path)
            sizes = {i.filename: i.file_size for i in self.zip.infolist() if not i.filename.endswith("/")}
        else:
            raise DataError(f"{path}: no such file or folder; set ARCHIVE to the zip or the unpacked folder")
        self.sizes = {name: sizes[name] for name in sorted(sizes) if not LITTER.search(name)}

    def names(self) -> list[str]:
        """Return the paths of all files, sorted, without hidden files and other litter."""
        return list(self.sizes)

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise ImageError if it cannot be read."""
        if self.sizes[name] > MAX_BYTES:
            raise ImageError(f"{self.sizes[name] / 2**20:.0f} MB is too large for one radiograph")
        try:
            if self.zip is None:
                return (self.path / name).read_bytes()
            with self.zip.open(name) as member:
                return member.read(MAX_BYTES + 1)  # a zip bomb lies about its size
        except Exception as error:  # zipfile and each way of compression have errors of their own
            raise ImageError(f"cannot be read: {error}") from None

    def fingerprint(self) -> str:
        """Return a hash of all names and sizes: cheap, and different for another archive."""
        listing = "\n".join(f"{name}\t{size}" for name, size in self.sizes.items())
        return hashlib.sha256(listing.encode("utf-8", "surrogatepass")).hexdigest()


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory raises a wide range of errors
        raise DataError(
            f"{path}: not a zip archive ({error}); download it again or give an unpacked folder"
        ) from None


def _files(folder: Path) -> dict[str, int]:
    """Return the sizes of all regular files in a folder; links that lead out of it are ignored."""
    root, found = os.path.realpath(folder), {}
    for file in folder.rglob("*"):
        inside = Path(os.path.realpath(file)).is_relative_to(root)
        if inside and file.is_file():  # a pipe or a device would block
            found[file.relative_to(folder).as_posix()] = file.stat().st_size
    return found


def archive(study: Study) -> Archive:
    """Return the study's archive: ``ARCHIVE`` if it is set, else the download."""
    given = os.environ.get("ARCHIVE")
    return Archive(ROOT / Path(given).expanduser() if given else download(study))


def download(study: Study) -> Path:
    """Return the study's archive in artifacts/downloads, downloaded once and checked.

    Raises DataError if that fails; an incomplete download leaves nothing behind.
    """
    import pooch

    source = study.archive
    if not source.url:
        raise DataError(f"{study.file}: no archive.url: set ARCHIVE to a zip or folder of radiographs")
    known = source.sha256 and f"sha256:{source.sha256}"
    place = {"path": ROOT / "artifacts/downloads", "fname": f"{study.name}.zip"}
    try:
        path = Path(pooch.retrieve(source.url, known, **place, progressbar=True))
    except Exception as error:  # requests, urllib3, pooch and the file system have errors of their own
        raise DataError(
            f"{source.url}: download failed ({error}); download it by hand and set ARCHIVE to the file"
        ) from None
    size = path.stat().st_size
    if source.bytes and size != source.bytes:
        path.unlink()
        raise DataError(f"{source.url}: expected {source.bytes} bytes, got {size}; try again")
    return path


def label_of(path: str, classes: list[str]) -> str:
    """Return the class that a folder or a word of the file name names; raise ImageError unless it is one."""
    *folders, name = PurePosixPath(path.lower()).parts or ("",)
    words = {*folders, *re.split(r"[^a-z]+", name)}
    found = sorted(label for label in classes if label.lower() in words)
    if not found:
        raise ImageError(f"no class: neither its folders nor its name hold one of {', '.join(classes)}")
    if len(found) > 1:
        raise ImageError(f"two classes: its folders and name hold {' and '.join(found)}")
    return found[0]


def patient_of(path: str, patterns: list[str]) -> str:
    """Return group 1 of the first pattern that matches the file name; if none does, the name's stem."""
    name = PurePosixPath(path).name
    matches = (re.search(pattern, name) for pattern in patterns)
    return next((match[1] for match in matches if match and match[1]), PurePosixPath(name).stem)


def source_split_of(path: str) -> str:
    """Return the archive's own split (train, val or test), or "" if it has none."""
    folders = PurePosixPath(path.lower()).parts[:-1]
    return next((split for split in SPLITS if split in folders), "")
