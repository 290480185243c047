import io
import sys

import numpy as np
import pytest

from support.serving import encoded, folder_of, picture
from xnn.app import answers, model
from xnn.app.answers import Question
from xnn.app.settings import Settings
from xnn.data import dicom
from xnn.data.images import ImageError

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")


def test_files_are_accepted_where_pydicom_is(tmp_path, monkeypatch):
    loaded = model.load(str(folder_of(tmp_path / "model")))
    data, question = made("MONOCHROME2"), Question(explain=False)
    answer = answers.answer(loaded, data, question, Settings())
    pixels = dicom.decode(data, 32)
    assert answer.radiograph == encoded(pixels)
    assert np.ptp(pixels.astype(int)) > 100
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"install xnn\[dicom\]"):
        answers.answer(loaded, data, question, Settings())


def test_the_window_and_the_rescaling_are_applied():
    pixels = picture(64).astype(np.uint16) * 16
    whole = dicom.decode(made("MONOCHROME2"), 64)
    windowed = dicom.decode(made("MONOCHROME2", WindowCenter=1000, WindowWidth=500), 64)
    moved = made("MONOCHROME2", WindowCenter=0, WindowWidth=500, RescaleSlope=1, RescaleIntercept=-1000)
    assert (windowed[pixels < 700] == 0).all()
    assert (windowed[pixels > 1300] == 255).all()
    assert np.abs(whole.astype(int) - windowed).max() > 100
    np.testing.assert_array_equal(dicom.decode(moved, 64), windowed)


def test_a_window_wider_than_the_pixels_is_not_stretched_again():
    grey = dicom.decode(made("MONOCHROME2", WindowCenter=4096, WindowWidth=8192), 64).astype(int)
    assert np.abs(grey - picture(64).astype(int) * 16 * 255 / 8191).max() <= 1
    half = made("MONOCHROME2", VOILUTSequence=[table([value // 2 for value in range(4096)])])
    assert np.abs(grey - dicom.decode(half, 64)).max() <= 1


@pytest.mark.parametrize("kind", dicom.GREY)
@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 1000, "WindowWidth": 500}])
def test_padding_is_black_and_decides_no_grey_level(kind, tags):
    plain = dicom.decode(made(kind, **tags), 64)
    data = made(kind, pad=4095, PixelPaddingValue=4095, **tags)
    padded = dicom.decode(data, 64)
    assert (padded[:8] == 0).all()
    np.testing.assert_array_equal(padded[8:], plain[8:])
    limits = made(kind, pad=4090, PixelPaddingValue=4095, PixelPaddingRangeLimit=4085, **tags)
    np.testing.assert_array_equal(dicom.decode(limits, 64), padded)


def test_an_inverse_presentation_is_inverted_once():
    plain, inverse = (made("MONOCHROME2", PresentationLUTShape=shape) for shape in ("IDENTITY", "INVERSE"))
    np.testing.assert_array_equal(255 - dicom.decode(plain, 64), dicom.decode(inverse, 64))
    both = made("MONOCHROME1", PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(dicom.decode(both, 64), dicom.decode(inverse, 64))


def test_inverted_grey_is_inverted():
    grey, inverted = (dicom.decode(made(kind), 32).astype(int) for kind in dicom.GREY)
    assert abs(grey + inverted - 255).max() <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:300], "damaged DICOM file"),
        (lambda data: data[:-2000], "damaged DICOM file"),
        (lambda data: data.replace(b"MONOCHROME2", b"PALETTE    "), "in colour"),
        (lambda data: data + dicom.DEFLATED, "compressed"),
        (lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"), "compressed"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(change, words):
    with pytest.raises(ImageError, match=words):
        dicom.decode(change(made("MONOCHROME2")), 32)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Rows": 60_000, "Columns": 60_000}, "more than a radiograph has"),
        ({"Rows": 16}, "at least 32"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"SamplesPerPixel": 3}, "in colour"),
    ],
)
def test_what_its_header_describes_is_refused_before_pixels_are_read(monkeypatch, tags, words):
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: 1 / 0)
    with pytest.raises(ImageError, match=words):
        dicom.decode(made("MONOCHROME2", **tags), 32)


def table(values):
    """A table of 12-bit grey levels."""
    from pydicom.dataset import Dataset

    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [len(values), 0, 12], list(values)
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    return lut


def made(interpretation, pad=None, **tags) -> bytes:
    """A DICOM file of 12-bit grey; the upper rows may be padding."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, generate_uid()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    file = FileDataset("x", {}, file_meta=meta, preamble=bytes(128))
    pixels = (picture(64).astype(np.uint16) * 16).clip(0, 4095)
    if pad is not None:
        pixels[:8] = pad
    file.Rows, file.Columns, file.SamplesPerPixel = 64, 64, 1
    file.PhotometricInterpretation, file.PixelRepresentation = interpretation, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PatientName = "Nobody"
    file.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    out = io.BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()
