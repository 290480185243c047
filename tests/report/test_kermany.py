"""The real radiographs and ImageNet weights, where a copy of them lies beside the project."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn import metrics as sk

from support.project import PROJECT, write_study
from xnn import audit, build, load_run, load_study, parameter_counts, wrangle

SHARED = PROJECT.parent / "shared"
ARCHIVE = SHARED / "data/chest_xray_224.zip"
WEIGHTS = SHARED / "weights"
# alone: the studies that it is compared with are not there
STUDY = re.sub(r"compare_with: .*\n", "", (PROJECT / "params/kermany/study.yaml").read_text())


@pytest.fixture
def study(monkeypatch):
    write_study("real", f"{STUDY}image_size: 32\n", run=json.dumps({"model": {"weights": "imagenet"}}))
    monkeypatch.setenv("ARCHIVE", str(ARCHIVE))
    monkeypatch.setenv("WEIGHTS", str(WEIGHTS))
    return load_study("real")


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no copy of the radiographs in ../shared/data")
def test_every_radiograph_is_found_and_no_patient_is_torn_apart(study):
    records, set_aside = wrangle(study)
    assert len(set_aside) == 0
    assert records.label.value_counts().to_dict() == {"bacteria": 2772, "normal": 1575, "virus": 1493}
    assert (records.source_split == "test").sum() == 624
    assert records.patient.str.match(r"person\d+$|(NORMAL2-)?IM-\d+$").all()
    leaks = audit(records)
    assert leaks[["shared_images", "duplicates"]].to_numpy().sum() == 0
    assert (leaks.images / len(records)).loc[["train", "val", "test"]].tolist() == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.005
    )


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no weight files in ../shared/weights")
def test_the_imagenet_weights_fit(study):
    start = build(load_run("real", "run"))
    assert start.weights == "imagenet: mobilenet_v2-imagenet1k.safetensors"


FILES = {file.stem: file for file in (PROJECT / "params/kermany").glob("*.yaml")}
ONLINE = sorted(name for name, file in FILES.items() if "online: true" in file.read_text())


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Random weights under the names and in the layout of the files that a user would download."""
    from torchvision.models import resnet50
    from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

    folder = tmp_path_factory.mktemp("hub")
    tiny = ConvNextV2ForImageClassification(ConvNextV2Config())  # the default sizes are those of tiny
    save_file(resnet50(weights=None).state_dict(), folder / "resnet50-imagenet1k.safetensors")
    save_file(tiny.state_dict(), folder / "convnextv2-imagenet1k.safetensors")
    return folder


@pytest.mark.parametrize("name", ONLINE)
def test_runs_that_need_a_download_are_complete(name, hub, monkeypatch):
    monkeypatch.setenv("WEIGHTS", str(hub))
    texts = {each: FILES[each].read_text().replace("study: kermany", "study: online") for each in ONLINE}
    write_study("online", STUDY, **texts)
    run = load_run("online", name)
    if first := run.model.start_from:
        build(load_run("online", first)).model.save_pretrained(run.study.artifacts / first / "model")
    start = build(run)
    assert start.weights.startswith("the trained run" if first else "imagenet: ")
    counts = parameter_counts(start.model)
    share = counts["trained"] / counts["total"]
    assert share == 1 if run.model.regime == "full" else 0 < share < 0.7
    assert start.model.image_size == 224
    assert start.model.eval()(torch.rand(1, 3, 224, 224)).shape == (1, 3)


def test_the_committed_report_is_whole():
    folder = PROJECT / "reports/kermany"
    runs = sorted(file.parent.name for file in folder.glob("*/metrics.json"))
    assert {"mobilenetv2-full", "resnet18-scratch", "convnextv2-atto-scratch"} <= set(runs) <= set(FILES)
    for run in runs:
        metrics = json.loads((folder / run / "metrics.json").read_text())
        assert metrics["provenance"]["dirty"] is False
        assert sum(map(sum, metrics["confusion"])) == metrics["n"]
    parts = {run for run in runs if "region: " in FILES[run].read_text()}  # given a part of each radiograph
    assert all((folder / run / "regions.json").exists() for run in parts)
    explained = {file.parent.name for file in folder.glob("*/explanations.json")}
    assert {"mobilenetv2-112-ft", "mobilenetv2-robust"} <= explained
    table = pd.read_csv(folder / "results.csv")
    assert set(table.run) == set(runs) - parts


STALE = """
from xnn.config.schema import root
from xnn.report import site
for page in sorted(root().glob("reports/kermany*/**/[!.]*.ipynb")):
    for doubt in site.doubts(page):
        print(page.relative_to(root()), doubt)
"""


def test_every_committed_page_is_current():
    """In a clone and beside the records, whatever the times of the files are."""
    here = {**os.environ, "XNN_ROOT": str(PROJECT)}
    told = subprocess.run([sys.executable, "-c", STALE], env=here, capture_output=True, text=True, check=True)
    assert told.stdout == ""


COMMITTED = sorted((PROJECT / "reports").glob("kermany*/*/metrics.json"))


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_committed_scores_are_recomputed_by_scikit_learn(file):
    """An independent few lines, from the predictions alone."""
    metrics, table = json.loads(file.read_text()), pd.read_csv(file.with_name("predictions.csv"))
    classes = metrics["classes"]
    p, truth = table[classes].to_numpy(), table.label.to_numpy()
    said, ill = np.array(classes)[p.argmax(axis=1)], truth != "normal"
    hot = truth[:, None] == np.array(classes)
    bacteria, of_bacteria = truth[ill] == "bacteria", p[ill, 0] / (p[ill, 0] + p[ill, 2])
    expected = {
        "accuracy": sk.accuracy_score(truth, said),
        "f1_weighted": sk.f1_score(truth, said, average="weighted"),
        "f1_macro": sk.f1_score(truth, said, average="macro"),
        **{
            f"average_precision_{name}": sk.average_precision_score(hot[:, c], p[:, c])
            for c, name in enumerate(classes)
        },
        "average_precision_micro": sk.average_precision_score(hot, p, average="micro"),
        "auroc_pneumonia": sk.roc_auc_score(ill, 1 - p[:, 1]),
        "accuracy_pneumonia": sk.accuracy_score(ill, said != "normal"),
        "sensitivity_pneumonia": sk.recall_score(ill, said != "normal"),
        "specificity_pneumonia": sk.recall_score(~ill, said == "normal"),
        "accuracy_bacteria_vs_virus": sk.accuracy_score(bacteria, of_bacteria >= 0.5),
        "auroc_bacteria_vs_virus": sk.roc_auc_score(bacteria, of_bacteria),
    }
    bins = pd.cut(p.max(axis=1), np.linspace(0, 1, 16), right=False)
    gaps = pd.Series((said == truth) - p.max(axis=1)).groupby(bins, observed=True).sum()
    expected["ece"] = gaps.abs().sum() / len(table)
    found = {name: score["value"] for name, score in metrics["scores"].items()}
    assert found == pytest.approx(expected, abs=1e-6)
    assert metrics["confusion"] == sk.confusion_matrix(truth, said, labels=classes).tolist()
    assert metrics["n"] == len(table)
    assert metrics["patients"] == table.patient.nunique()


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="not a git checkout")
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("none/4-evaluate.ipynb", False),
        ("none/validation.csv", False),
        ("none/metrics.json", True),
        ("none/predictions.csv", True),
        ("8-sweep.ipynb", True),
        ("sweep.json", True),
    ],
)
def test_of_the_runs_of_a_sweep_only_numbers_are_committed(name, kept):
    path = f"reports/kermany/sweeps/kermany-augmentation/{name}"
    ignored = subprocess.run(["git", "-C", PROJECT, "check-ignore", "-q", "--no-index", path]).returncode == 0
    assert ignored != kept
