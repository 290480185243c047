"""Coverage of the 95 % intervals on splits drawn from a population whose true scores are known.

Every patient has one class, some images, and an effect on the logits that these share, so images of one
patient tend to be classified correctly or wrongly together. For many simulated test splits, the output gives
the share of intervals that contain the population's score: resampling patients, as the report does, and
resampling images, as if they were independent.

    python benchmarks/coverage.py --splits 1000
"""

import argparse
import time

import numpy as np
import pandas as pd
from scipy.special import softmax
from tqdm import tqdm

from xnn.evaluation.intervals import interval, patient_weights
from xnn.evaluation.scoring import scores

CLASSES = ("bacteria", "normal", "virus")
SHARES = (0.47, 0.27, 0.26)  # shares of the classes, as in the radiographs of Kermany et al.
SIGNAL, OF_PATIENT, OF_IMAGE = 1.5, 1.0, 0.5  # of the logits: class effect, and standard deviations


def draw(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (N,), probabilities (N, 3) and patients (N,) of a split; mean of 3 images per patient."""
    images = rng.geometric(1 / 3, patients)
    owner = np.repeat(np.arange(patients), images)
    labels = rng.choice(3, patients, p=SHARES)[owner]
    looks = rng.normal(0, OF_PATIENT, (patients, 3))[owner]
    logits = SIGNAL * np.eye(3)[labels] + looks + rng.normal(0, OF_IMAGE, (len(owner), 3))
    return labels, softmax(logits, axis=1), owner


def covered(split, truth: dict[str, float], units: np.ndarray, resamples: int, seed: int) -> dict[str, bool]:
    """Return whether each score's interval contains the truth if `units` (N,) are resampled."""
    labels, probabilities, _ = split
    found = scores(labels, probabilities, CLASSES, patient_weights(units, resamples, seed))
    edges = {name: interval(found[name]) for name in truth}
    return {name: edges[name]["low"] <= truth[name] <= edges[name]["high"] for name in truth}


def coverage(splits: int, patients: int, resamples: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Return the share of intervals that contain the truth, by score and resampled unit."""
    rng = np.random.default_rng(seed)
    labels, probabilities, _ = draw(200_000, rng)
    truth = {name: float(value[0]) for name, value in scores(labels, probabilities, CLASSES).items()}
    counts = {name: {"patients": 0, "images": 0} for name in truth}
    for number in tqdm(range(splits), unit="split", leave=False):
        split = draw(patients, rng)
        ways = {"patients": split[2], "images": np.arange(len(split[0]))}
        for way, units in ways.items():
            for name, holds in covered(split, truth, units, resamples, number).items():
                counts[name][way] += holds
    return {name: {way: n / splits for way, n in each.items()} for name, each in counts.items()}


def answer(table: pd.DataFrame) -> str:
    own, naive = (table.drop("ece")[way] for way in ("patients", "images"))
    return (
        f"Yes, if patients are resampled: the 95 % intervals of all scores but the calibration error contain "
        f"the true score in {own.min():.1%} to {own.max():.1%} of splits; if images are resampled, in only "
        f"{naive.min():.1%} to {naive.max():.1%}."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in {"splits": 1000, "patients": 300, "resamples": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    began = time.time()
    found = coverage(given.splits, given.patients, given.resamples)
    print(f"# Do the intervals contain the true scores?\n\n{answer(pd.DataFrame(found).T)}\n")
    print(f"Output of `python benchmarks/coverage.py --splits {given.splits}`, which describes the method.\n")
    print(
        f"{given.splits} test splits of {given.patients} patients with 3 images each on average, "
        f"{given.resamples} resamples, {time.time() - began:.0f} s. Nominal coverage is 95 %, with a "
        f"standard error of {100 * (0.95 * 0.05 / given.splits) ** 0.5:.1f} points.\n"
    )
    print("| score | patients resampled | images resampled |\n| --- | --- | --- |")
    for name, each in found.items():
        print(f"| {name} | {each['patients']:.1%} | {each['images']:.1%} |")
    print(
        "\nThe calibration error (`ece`) is the exception: it is higher in a sample than in the population, "
        "and higher still in a resample, since fewer distinct images make its bins noisier."
    )


if __name__ == "__main__":
    main()
