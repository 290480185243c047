import pytest
import torch

from xnn import load_run
from xnn.training import fit, recipe


def test_class_weights_are_balanced(small):
    run = load_run(small, "tuned")
    data = fit.Radiographs(run)
    counts = data.part("train").label.value_counts()[run.study.classes].to_numpy()
    weights = recipe.class_weights(run, data).numpy()
    assert weights * counts == pytest.approx([counts.sum() / 3] * 3, rel=1e-6)
    assert recipe.class_weights(load_run(small, "plain"), data) is None


def test_precision_is_what_is_asked_for(small):
    run = load_run(small, "plain")
    for asked, wanted in {"32": "32-true", "bf16": "bf16-mixed"}.items():
        other = run.model_copy(update={"training": run.training.model_copy(update={"precision": asked})})
        assert recipe.precision(other) == wanted
    assert recipe.precision(run) in ("32-true", "bf16-mixed")


def test_mixup_blends_inputs_and_labels_alike(small):
    run = load_run(small, "plain")
    run = run.model_copy(update={"training": run.training.model_copy(update={"mixup": 0.4})})

    class Linear(torch.nn.Module):  # logits that equal their input
        classes = run.study.classes

        def forward_range(self, inputs, first):
            return inputs

    learner = recipe.Learner(Linear(), run)
    inputs, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(1)
    found = learner._mixed(inputs, labels)
    torch.manual_seed(1)
    share = torch.distributions.Beta(torch.tensor(0.4), torch.tensor(0.4)).sample()
    others = torch.randperm(6)
    truth = torch.eye(3)[labels]
    blended = share * truth + (1 - share) * truth[others]
    logits = share * inputs + (1 - share) * inputs[others]
    assert found.item() == pytest.approx(-(blended * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-5)
    assert 0 < share < 1
