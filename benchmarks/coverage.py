"""Coverage of the 95 % intervals on splits drawn from a population whose true scores are known.

Every patient has one class, some images, and an effect on the logits that these share, so images of one
patient tend to be classified correctly or wrongly together. For many simulated test splits, the output gives
the share of intervals that contain the population's score: resampling patients, as the report does, and
resampling images, as if they were independent.

A second table does the same for explanation measures, averaged over 150 images, the number that a page
explains. Their values are spread evenly or have a long tail, and images of a patient are alike or not. Limits
are those for one question, or for the eight that a verdict on controls asks.

    python benchmarks/coverage.py --splits 1000
"""

import argparse
import itertools
import time

import numpy as np
import pandas as pd
from scipy.special import softmax
from tqdm import tqdm

from xnn.evaluation.intervals import interval, patient_weights
from xnn.evaluation.scoring import scores
from xnn.explain.card import mean_interval

CLASSES = ("bacteria", "normal", "virus")
SHARES = (0.47, 0.27, 0.26)  # shares of the classes, as in the radiographs of Kermany et al.
SIGNAL, OF_PATIENT, OF_IMAGE = 1.5, 1.0, 0.5  # of the logits: class effect, and standard deviations
EXPLAINED, POOL = 150, 275  # images explained, and patients they are drawn from: 1.3 images of each drawn
QUESTIONS = (1, 8)  # whose limits hold together; two measures by four controls are eight
ALIKE = (0.0, 0.5)  # share of the variance that images of a patient have in common
TAILS = {"even": lambda normal: normal, "long tail": np.exp}  # of a standard normal value; exp: skewness 6


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


def measured(tail: str, alike: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a measure (EXPLAINED,) of images drawn at random, and their patients."""
    owner = rng.integers(0, POOL, EXPLAINED)
    shared, own = rng.normal(size=POOL)[owner], rng.normal(size=EXPLAINED)
    return TAILS[tail](alike**0.5 * shared + (1 - alike) ** 0.5 * own), owner


def of_means(splits: int, seed: int = 0) -> pd.DataFrame:
    """Return the share of intervals that contain a measure's true mean, a row a kind of measure."""
    rng, rows = np.random.default_rng(seed), []
    for tail, alike in itertools.product(TAILS, ALIKE):
        truth = TAILS[tail](rng.normal(size=2_000_000)).mean()
        row = {"values": tail, "alike": alike} | dict.fromkeys(QUESTIONS, 0)
        for _ in tqdm(range(splits), unit="sample", leave=False):
            values, patients = measured(tail, alike, rng)
            for questions in QUESTIONS:
                limits = mean_interval(values, patients, questions)
                row[questions] += (limits["low"] <= truth <= limits["high"]) / splits
        rows.append(row)
    return pd.DataFrame(rows)


def answer(table: pd.DataFrame, means: pd.DataFrame) -> str:
    own, naive = (table.drop("ece")[way] for way in ("patients", "images"))
    even, long = (means[means["values"] == tail][1] for tail in TAILS)
    return (
        f"Yes, if patients are resampled: the 95 % intervals of all scores but the calibration error contain "
        f"the true score in {own.min():.1%} to {own.max():.1%} of splits; if images are resampled, in only "
        f"{naive.min():.1%} to {naive.max():.1%}. Those of explanations, over {EXPLAINED} images, contain "
        f"the true mean in {even.min():.1%} to {even.max():.1%} where values are spread evenly, and in "
        f"{long.min():.1%} to {long.max():.1%} where they have a long tail."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in {"splits": 1000, "patients": 300, "resamples": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    began = time.time()
    found = coverage(given.splits, given.patients, given.resamples)
    means = of_means(given.splits)
    print(f"# Do the intervals contain the true scores?\n\n{answer(pd.DataFrame(found).T, means)}\n")
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
        "and higher still in a resample, since fewer distinct images make its bins noisier.\n"
    )
    print(
        f"## Means of measures of explanations\n\n{EXPLAINED} images drawn from {POOL} patients; "
        f"{given.splits} samples a row. *Alike*: share of the variance that images of a patient have in "
        "common. Last column: limits that hold for eight questions together; each alone should hold in "
        f"{1 - 0.05 / QUESTIONS[1]:.1%}.\n\n"
        "| values | alike | one question | eight questions |\n| --- | --- | --- | --- |"
    )
    for row in means.itertuples(index=False):
        print(f"| {row[0]} | {row[1]} | {row[2]:.1%} | {row[3]:.1%} |")


if __name__ == "__main__":
    main()
