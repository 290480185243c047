import numpy as np
import pytest
import torch

from xnn import baseline


def test_baselines():
    images = torch.rand(2, 3, 32, 32)
    assert (baseline("black", images) == 0).all()
    mean = baseline("mean", images, np.full((32, 32), 0.25, np.float32))
    assert mean.shape == (1, 3, 32, 32)
    assert (mean == 0.25).all()
    blurred = baseline("blur", images)
    assert blurred.shape == images.shape
    assert blurred.std() < images.std() / 3
    healthy = torch.rand(5, 3, 32, 32)
    assert baseline("expected", images, healthy=healthy).shape == (1, 5, 3, 32, 32)
    for name in ("mean", "expected"):
        with pytest.raises(ValueError, match="not given"):
            baseline(name, images)
    with pytest.raises(ValueError, match="choose black, mean, blur, expected"):
        baseline("grey", images)
