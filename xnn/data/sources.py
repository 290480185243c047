"""Where radiographs come from: an archive read as it is, a download, and what file names tell."""

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
    """A data set that cannot be used; the message names where and how to mend it."""


class Archive:
    """A zip file or an unpacked folder of radiographs, read without unpacking anything."""

    def __init__(self, path: Path):
        self.path = Path(path)
        if self.path.is_dir():
            self.zip = None
            self._sizes = _files(self.path)
            return
        if not self.path.is_file():
            raise DataError(f"{path}: no such file or folder; set ARCHIVE to the zip or the unpacked folder")
        try:
            self.zip = zipfile.ZipFile(self.path)
        except Exception as error:  # a damaged list of members raises a wide range of errors
            raise DataError(
                f"{path}: not a zip archive ({error}); download it again or give an unpacked folder"
            ) from None
        self._sizes = {i.filename: i.file_size for i in self.zip.infolist() if i.filename[-1:] != "/"}

    def names(self) -> list[str]:
        """Paths of the files inside, sorted, without the litter that systems leave."""
        return sorted(name for name in self._sizes if not LITTER.search(name))

    def read(self, name: str) -> bytes:
        """Bytes of one file; raise ImageError where it cannot be read."""
        if self._sizes[name] > MAX_BYTES:
            raise ImageError(f"{self._sizes[name] / 2**20:.0f} MB is too large for one radiograph")
        try:
            if self.zip is None:
                return (self.path / name).read_bytes()
            # read one byte more than promised at most: a zip bomb lies about its size
            with self.zip.open(name) as member:
                return member.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, RuntimeError, EOFError) as error:
            raise ImageError(f"cannot be read: {error}") from None
        except Exception as error:  # zlib, lzma and bz2 have errors of their own
            raise ImageError(f"cannot be unpacked: {error}") from None

    def fingerprint(self) -> str:
        """Hash of names and sizes: cheap, and another archive has another one."""
        listing = "\n".join(f"{name}\t{self._sizes[name]}" for name in self.names())
        return hashlib.sha256(listing.encode("utf-8", "surrogatepass")).hexdigest()


def _files(folder: Path) -> dict[str, int]:
    """Regular files below a folder with their sizes; links that lead out of it are left alone."""
    found = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in files:
            path = Path(parent, name)
            inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
            if inside and path.is_file():  # a pipe or a device would block
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def archive(study: Study) -> Archive:
    """The study's source: ``ARCHIVE`` where it is set, else the download (once, checked)."""
    given = os.environ.get("ARCHIVE")
    return Archive(ROOT / Path(given).expanduser()) if given else Archive(download(study))


def download(study: Study) -> Path:
    """Download the study's archive into artifacts/downloads; raise DataError with what was tried.

    A download that breaks leaves nothing behind, so the next one starts cleanly.
    """
    import pooch

    source = study.archive
    if not source.url:
        raise DataError(f"{study.file}: no archive.url: set ARCHIVE to a zip or folder of radiographs")
    folder = ROOT / "artifacts" / "downloads"
    try:
        path = Path(
            pooch.retrieve(
                source.url,
                known_hash=f"sha256:{source.sha256}" if source.sha256 else None,
                fname=f"{study.name}.zip",
                path=folder,
                progressbar=True,
            )
        )
    except Exception as error:  # requests, urllib3, pooch and the file system each have their own
        raise DataError(
            f"{source.url}: download failed ({error}); download it by hand and set ARCHIVE to the file"
        ) from None
    if source.bytes and path.stat().st_size != source.bytes:
        size = path.stat().st_size
        path.unlink()
        raise DataError(f"{source.url}: {size} bytes came instead of {source.bytes}; try again")
    return path


# ---- from names to labels and patients ----------------------------------------------------------


def label_of(path: str, classes: list[str]) -> str:
    """The class that the folder names, else the one that the file name holds between separators.

    Raises ImageError where neither or both with different classes do.
    """
    parts = PurePosixPath(path.lower()).parts or ("",)
    by_folder = {c for c in classes if c.lower() in parts[:-1]}
    words = re.split(r"[^a-z]+", parts[-1])
    by_name = {c for c in classes if c.lower() in words}
    found = by_folder | by_name
    if len(found) == 1:
        return found.pop()
    if not found:
        raise ImageError(f"no class: neither its folders nor its name hold one of {', '.join(classes)}")
    raise ImageError(f"two classes: its folders and name hold {' and '.join(sorted(found))}")


def patient_of(path: str, patterns: list[str]) -> str:
    """Group 1 of the first pattern that the file name matches, else the file's own name."""
    name = PurePosixPath(path).name
    for pattern in patterns:
        if (match := re.search(pattern, name)) and match[1]:
            return match[1]
    return PurePosixPath(name).stem


def source_split_of(path: str) -> str:
    """The archive's own split (train, val, test), or "" where it has none."""
    folders = PurePosixPath(path.lower()).parts[:-1]
    return next((split for split in SPLITS if split in folders), "")
