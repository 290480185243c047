"""Phantoms: the same key draws the same film, the mask tells where the lesion is, nothing leaks."""

import numpy as np
import pytest
from scipy import ndimage

from xnn.data import phantom

SIZE, SEED, PATIENTS = 64, 3, 24
SICK = ("bacteria", "virus")


@pytest.fixture(scope="module")
def films():
    """Every patient's first image as each of the three classes."""
    return {
        label: [phantom.draw(label, patient, 0, SIZE, SEED) for patient in range(PATIENTS)]
        for label in phantom.CLASSES
    }


@pytest.fixture(scope="module")
def cohort():
    return phantom.cohort(3000, SEED)


def halves(mask):
    """Lesion pixels in the image's left and right half."""
    return mask[:, : SIZE // 2].sum(), mask[:, SIZE // 2 :].sum()


def same(one, other):
    return np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)


@pytest.mark.parametrize("size", [32, 65, 224])
@pytest.mark.parametrize("label", phantom.CLASSES)
def test_shape_type_and_range(label, size):
    image, mask, *_ = phantom.draw(label, 1, 0, size, SEED)
    assert image.shape == mask.shape == (size, size)
    assert image.dtype == np.uint8
    assert mask.dtype == bool
    assert np.ptp(image) > 150, "a film spans most of the grey scale"
    assert mask.any() == (label != "normal")


def test_same_key_same_film_in_any_order(films):
    for patient in reversed(range(4)):
        for label in reversed(phantom.CLASSES):
            assert same(phantom.draw(label, patient, 0, SIZE, SEED), films[label][patient])


@pytest.mark.parametrize("key", [(0, 1, SEED), (1, 0, SEED), (0, 0, SEED + 1)])
def test_patient_image_and_seed_each_matter(key, films):
    patient, image, seed = key
    assert not same(phantom.draw("virus", patient, image, SIZE, seed), films["virus"][0])


def test_one_patients_images_share_anatomy(monkeypatch):
    # With one fixed view, only noise, haze and marker are left to differ within a patient.
    fixed = {name: (sum(ends) / 2,) * 2 for name, ends in phantom.VIEW.items()}
    still = fixed | {"noise": (0, 0), "haze": (0, 0), "grain": (0, 0)}
    monkeypatch.setattr(phantom, "VIEW", still)
    monkeypatch.setattr(phantom, "MARKER_CHANCE", 0)
    first, second = (phantom.draw("normal", 5, image, SIZE, SEED).image for image in (0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, phantom.draw("normal", 6, 0, SIZE, SEED).image)


@pytest.mark.parametrize("label", SICK)
def test_lesion_brightens_its_mask_and_little_else(label, films):
    for sick, healthy in zip(films[label], films["normal"], strict=True):
        change = sick.image.astype(int) - healthy.image
        assert change.min() >= 0, "a lesion only adds attenuation"
        assert change[sick.mask].mean() > 3, "grey levels, even when barely visible"
        assert change[sick.mask].mean() > 4 * change[~sick.mask].mean()


@pytest.mark.parametrize("label", SICK)
def test_masks_lie_in_dark_lungs(label, films):
    for sick, healthy in zip(films[label], films["normal"], strict=True):
        middle = healthy.image[SIZE // 4 : -SIZE // 4, SIZE // 5 : -SIZE // 5]
        assert healthy.image[sick.mask].mean() < middle.mean(), "lungs are the dark part"
        assert not sick.mask[: SIZE // 16].any()
        assert not sick.mask[:, : SIZE // 16].any()


def test_bacteria_is_focal_and_virus_bilateral(films):
    def one_sided(mask):
        return max(halves(mask)) / mask.sum()

    focal = [one_sided(film.mask) for film in films["bacteria"]]
    diffuse = [one_sided(film.mask) for film in films["virus"]]
    assert min(focal) > 0.95
    assert np.median(diffuse) < 0.7
    assert min(min(halves(f.mask)) for f in films["virus"]) > 0
    area = {label: np.mean([film.mask.mean() for film in films[label]]) for label in SICK}
    assert 0.01 < area["bacteria"] < area["virus"] < 0.35


def test_strength_varies(films):
    for label in SICK:
        pairs = zip(films[label], films["normal"], strict=True)
        change = [(s.image[s.mask].astype(int) - h.image[s.mask]).mean() for s, h in pairs]
        assert np.percentile(change, 90) > 2 * np.percentile(change, 10)


def test_marker_does_not_depend_on_the_label():
    drawn = [
        phantom.draw(label, patient, 0, 32, SEED).marker for patient in range(20) for label in phantom.CLASSES
    ]
    films = np.array(drawn).reshape(20, len(phantom.CLASSES), 32, 32)
    assert np.array_equal(films, np.repeat(films[:, :1], len(phantom.CLASSES), axis=1))
    shown = films[:, 0].any(axis=(1, 2))
    assert 0 < shown.sum() < len(shown)
    sides = films[shown, 0][:, :, :16].any(axis=(1, 2))
    assert 0 < sides.sum() < len(sides), "both sides occur"


def test_a_planted_shortcut_changes_the_marker_alone():
    for patient in range(6):
        for label, rows in {"bacteria": slice(0, 32), "virus": slice(32, 64)}.items():
            plain = phantom.draw(label, patient, 0, 64, SEED)
            told = phantom.draw(label, patient, 0, 64, SEED, marker="class")
            assert told.marker.any()
            assert told.marker[rows].sum() == told.marker.sum()
            assert told.image[told.marker].max() > 180
            elsewhere = ~ndimage.binary_dilation(told.marker | plain.marker, iterations=4)
            assert np.array_equal(told.image[elsewhere], plain.image[elsewhere])
        assert not phantom.draw("normal", patient, 0, 64, SEED, marker="class").marker.any()


def test_cohort_rows(cohort):
    assert list(cohort.columns) == ["patient", "label", "image"]
    assert cohort.patient.is_monotonic_increasing
    assert cohort.patient.nunique() == 3000
    assert (cohort.groupby("patient").label.nunique() == 1).all()
    assert (cohort.image == cohort.groupby("patient").cumcount()).all()
    assert cohort.equals(phantom.cohort(3000, SEED))
    assert not cohort.equals(phantom.cohort(3000, SEED + 1))


def test_cohort_has_a_heavy_tail_and_the_archives_mix(cohort):
    counts = cohort.groupby("patient").size()
    assert counts.min() == 1
    assert 7 <= counts.max() <= phantom.MAX_IMAGES
    assert 1.8 < counts.mean() < 2.2
    mix = cohort.label.value_counts(normalize=True)[list(phantom.CLASSES)]
    assert np.allclose(mix, phantom.CLASS_MIX, atol=0.04)
