"""What siblings share is measured where it is known."""

import numpy as np
import pandas as pd
import pytest

from xnn.config.schema import Study
from xnn.explore import siblings

CLASSES = ["bacteria", "normal", "virus"]


def made(shared: float, seed=0):
    """Two images of each of 60 numbers in two classes; those of a number share ``shared`` of their vector."""
    rng = np.random.default_rng(seed)
    rows = [(n, label) for n in range(60) for label in ("bacteria", "virus") for _ in range(2)]
    records = pd.DataFrame(rows, columns=["patient", "label"])
    of_number, of_patient = rng.normal(size=(60, 40)), rng.normal(size=(120, 40))
    which = records.patient * 2 + (records.label == "virus")
    vectors = shared * of_number[records.patient] + of_patient[which] + rng.normal(size=(240, 40))
    return records, vectors


def test_siblings_are_alike_and_shared_numbers_only_if_they_are_one_patient():
    two = siblings.likeness(*made(shared=0)).set_index("pair")
    one = siblings.likeness(*made(shared=1)).set_index("pair")
    shared = "one number, bacteria and virus"
    assert two.low["siblings, bacteria"] > 0.3
    assert two.low[shared] < two.value["chance: numbers shuffled"] + 0.02
    assert one.low[shared] > one.high["chance: numbers shuffled"] + 0.1
    assert two.numbers[shared] == 60


@pytest.mark.parametrize(("shared", "helps"), [(3, True), (0, False)])
def test_siblings_in_training_are_worth_what_they_share(shared, helps):
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(90), 3)
    records = pd.DataFrame(
        {"patient": patient.astype(str), "group": patient, "label": np.array(CLASSES)[patient % 3]}
    )
    vectors = shared * rng.normal(size=(90, 20))[patient] + rng.normal(size=(270, 20))
    study = Study(title="t", source="phantom")
    gain = siblings.worth(study, records, vectors).set_index("head").gain["nearest neighbour"]
    assert (gain["low"] > 0.2) is helps
    assert gain["high"] > 0 or not helps
