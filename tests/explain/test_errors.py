"""What explanations tell of errors, on maps whose traits are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from xnn.explain import errors
from xnn.explain.sample import Sample

COUNT = 120
RNG = np.random.default_rng(0)
RIGHT = RNG.random(COUNT) < 0.75
PATIENTS = np.arange(COUNT)
PROBABILITY = RNG.uniform(0.5, 1, COUNT)
NOISE = RNG.normal(size=COUNT)


def test_traits_of_a_map_are_shares():
    lungs = np.zeros((2, 20, 20), bool)
    lungs[:, :10] = True
    maps = np.ones((2, 20, 20))
    maps[1, :, 10:] = -1
    sample = Sample(
        torch.zeros(2, 3, 20, 20), torch.zeros(2, dtype=int), np.arange(2), RIGHT[:2], lungs=lungs
    )
    found = errors.traits(maps, sample)
    assert found["share that raises the log-odds"].to_numpy() == pytest.approx([1, 0.5])
    assert found["share in the lungs"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.01)
    assert found["share in the strongest tenth"][0] == pytest.approx(0.1)
    assert "share in the lungs" not in errors.traits(maps, sample._replace(lungs=None))


@pytest.mark.parametrize("strength", [3, 0])
def test_a_trait_of_errors_is_found_and_noise_is_not(strength):
    traits = pd.DataFrame({"trait": NOISE + strength * ~RIGHT})
    found = errors.telling(RIGHT, PATIENTS, PROBABILITY, traits)
    gain = found.loc["gain by the traits"]
    assert (gain.n, gain.wrong) == (COUNT, (~RIGHT).sum())
    assert (gain.low > 0) == (strength > 0)
    assert found.loc["trait"].value == pytest.approx(0.98 if strength else 0.5, abs=0.12)
    assert (found.loc["trait"].low > 0.5) == (strength > 0)


def test_few_errors_are_not_compared():
    right = np.arange(COUNT) > 5
    assert errors.telling(right, PATIENTS, PROBABILITY, pd.DataFrame({"trait": NOISE})).empty


def test_errors_of_one_patient_are_not_compared():
    patients = np.where(RIGHT, PATIENTS, -1)
    assert errors.telling(RIGHT, patients, PROBABILITY, pd.DataFrame({"trait": NOISE})).empty
