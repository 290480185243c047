"""Archives of radiographs: read in place, downloaded, and what their file names or a table say."""

import hashlib
import io
import os
import re
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath

import pandas as pd

from ..config.errors import UserError
from ..config.schema import Study, root
from .images import MAX_BYTES, ImageError

SPLITS = ("train", "val", "test")
LITTER = re.compile(r"(^|/)(\.|__MACOSX/|Thumbs\.db$|desktop\.ini$|$)", re.IGNORECASE)
BESIDE = re.compile(r"\b(mask|thumb|thumbnail)s?( \d+)*( png| jpe?g)?$")  # the last word of lung_masks


class DataError(UserError, ValueError):
    """A data set that cannot be used; the message names the place and the fix."""


class Archive:
    """A zip file or an unpacked folder of radiographs, read in place; maybe with a table of labels."""

    def __init__(self, path: Path, labels: str | None = None):
        self.path, self.zip, self.labels = Path(path), None, b""
        files, self.links = {}, []
        if self.path.is_dir():
            inside = os.path.realpath(path)
            for file in self.path.rglob("*"):
                name = file.relative_to(path).as_posix()
                if not Path(os.path.realpath(file)).is_relative_to(inside):
                    self.links.append(name)
                elif file.is_file():  # a pipe or a device would block
                    files[name] = file.stat().st_size, file
        elif self.path.is_file():
            try:
                self.zip = zipfile.ZipFile(path)
            except Exception as error:  # a damaged directory raises a wide range of errors
                message = f"{path}: not a zip archive ({error}); download it again or give an unpacked folder"
                raise DataError(message) from None
            # some programs of Windows write backslashes
            files = {each.filename.replace("\\", "/"): (each.file_size, each) for each in self.zip.infolist()}
        else:
            raise DataError(f"{path}: no such file or folder; set ARCHIVE to the zip or the unpacked folder")
        self.files = {name: files[name] for name in sorted(files) if not LITTER.search(name)}
        if labels:
            try:
                self.labels = self.read(labels) if labels in self.files else (root() / labels).read_bytes()
            except (ImageError, OSError) as error:
                raise DataError(f"archive.labels: no table {labels} in {path} or {root()}: {error}") from None
            self.files.pop(labels, None)

    def names(self) -> list[str]:
        """Return the paths of all files, sorted, without hidden files and other litter."""
        return list(self.files)

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise ImageError if it cannot be read."""
        size, member = self.files[name]
        if size > MAX_BYTES:
            raise ImageError(f"too large for one radiograph: {size / 2**20:.0f} MB")
        try:
            with self.zip.open(member) if self.zip else member.open("rb") as file:
                return file.read(MAX_BYTES + 1)  # a zip bomb lies about its size
        except Exception as error:  # zipfile and each way of compression have errors of their own
            raise ImageError(f"cannot be read: {error}") from None

    def fingerprint(self) -> str:
        """Return a hash of all names and sizes: cheap, and different for another archive."""
        listing = "\n".join(f"{name}\t{size}" for name, (size, _) in self.files.items())
        return hashlib.sha256(listing.encode("utf-8", "surrogatepass") + self.labels).hexdigest()


def archive(study: Study) -> Archive:
    """Return the study's archive: ``ARCHIVE`` if it is set, else the download."""
    given = os.environ.get("ARCHIVE")
    return Archive(root() / Path(given).expanduser() if given else download(study), study.archive.labels)


def download(study: Study) -> Path:
    """Return the study's archive in artifacts/downloads, downloaded once and checked, or not at all."""
    import pooch

    source = study.archive
    if not source.url:
        raise DataError(f"{study.file}: no archive.url: set ARCHIVE to a zip or folder of radiographs")
    known = source.sha256 and f"sha256:{source.sha256}"
    place = {"path": root() / "artifacts/downloads", "fname": f"{study.name}.zip"}
    try:
        path = Path(pooch.retrieve(source.url, known, **place, progressbar=True))
    except Exception as error:  # requests, urllib3, pooch and the file system have errors of their own
        message = f"{source.url}: download failed ({error}); download it by hand and set ARCHIVE to the file"
        raise DataError(message) from None
    size = path.stat().st_size
    if source.bytes and size != source.bytes:
        path.unlink()
        raise DataError(f"{source.url}: expected {source.bytes} bytes, got {size}; try again")
    return path


def described(source: Archive, study: Study) -> pd.DataFrame:
    """Return what its path or the table says of each file and link, and the reason if it cannot be used."""
    listed, classes = study.archive.labels, {_words(label): label for label in study.classes}
    table = _rows(source, study) if listed else {}
    rows = [(link, "", "", "", "a link that leads out of the folder: not followed") for link in source.links]
    for name in source.names():
        label = patient = part = reason = ""
        try:
            name.encode()
            label, patient, part = table.pop(name) if listed else (label_of(name, study.classes), "", "")
            label = classes[_words(label)]
        except UnicodeEncodeError:
            reason = "its name is not text in UTF-8: rename it"
        except KeyError:
            reason = f"no class: {listed} has {f'the label {label!r}' if label else 'no label'} for it"
        except ImageError as error:
            reason = str(error)
        patient = patient or patient_of(name, study.archive.patient)
        rows.append((name, label, patient, part or source_split_of(name), reason))
    rows += [(path, *row, f"no such file: {listed} names it") for path, row in table.items()]
    rows = [[text.encode("utf-8", "backslashreplace").decode() for text in row] for row in rows]
    return pd.DataFrame(rows, columns=["path", "label", "patient", "source_split", "reason"])


def _rows(source: Archive, study: Study) -> dict[str, tuple[str, str, str]]:
    """Return label, patient and split by path, from the study's table of labels.

    Its paths begin beside the table or at the top of the archive.
    """
    where = f"{study.file}: archive.labels: {study.archive.labels}"
    try:
        table = pd.read_csv(io.BytesIO(source.labels), dtype=str, keep_default_na=False, encoding="utf-8-sig")
        columns = [*table[["path", "label"]], "patient", "split"]
    except (ValueError, KeyError) as error:
        raise DataError(f"{where}: no CSV table with columns path and label: {str(error).strip()}") from None
    table = table.reindex(columns=columns).fillna("")
    if wrong := {*table.split} - {"", *SPLITS}:
        raise DataError(f"{where}: split {min(wrong)!r} is none of {', '.join(SPLITS)}")
    files = {unicodedata.normalize("NFC", name): name for name in source.names()}
    beside, rows = PurePosixPath(study.archive.labels).parent, {}
    for path, *row in table.itertuples(index=False, name=None):
        plain = PurePosixPath(unicodedata.normalize("NFC", path.replace("\\", "/")))
        name = files.get(str(beside / plain)) or files.get(str(plain)) or path
        if rows.setdefault(name, row) != row:
            raise DataError(f"{where}: two rows for {path}: keep the right one")
    return rows


def label_of(path: str, classes: list[str]) -> str:
    """Return the class that the deepest folder names or, where no folder does, the file name.

    Raise ImageError unless it is exactly one, and for a mask or a thumbnail.
    """
    known = {_words(label): label for label in classes}
    *folders, name = map(_words, PurePosixPath(path).parts or ("",))
    if any(map(BESIDE.search, [*folders, name])) and not any(map(BESIDE.search, known)):
        raise ImageError("a mask or thumbnail: no radiograph")
    if found := [known[folder] for folder in reversed(folders) if folder in known]:
        return found[0]
    longest = sorted(known, key=len, reverse=True)  # "viral pneumonia" before "pneumonia"
    found = sorted(set(re.findall(rf"\b(?:{'|'.join(map(re.escape, longest))})\b", name)))
    if len(found) > 1:
        raise ImageError(f"two classes: its name holds {' and '.join(found)}")
    if not found:
        raise ImageError(f"no class: neither its folders nor its name hold one of {', '.join(classes)}")
    return known[found[0]]


def _words(name: str) -> str:
    """Return the words and numbers in a name, the same whatever its case, separators and Unicode form."""
    plain = unicodedata.normalize("NFKC", name.casefold())
    return " ".join(re.findall(r"\d+|[^\W\d_]+", plain)) or plain


def patient_of(path: str, patterns: list[str]) -> str:
    """Return group 1 of the first pattern that is found in the file name or else the path; "" if none is."""
    texts = PurePosixPath(path).name, path
    matches = (re.search(pattern, text) for pattern in patterns for text in texts)
    return next((match[1] for match in matches if match and match[1]), "")


def source_split_of(path: str) -> str:
    """Return the archive's own split (train, val or test), or "" if it has none."""
    folders = PurePosixPath(path.lower()).parts[:-1]
    return next((split for split in SPLITS if split in folders), "")
