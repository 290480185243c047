"""With a real MLflow and its sqlite database."""

import base64
import json
import shutil
from pathlib import Path

import nbformat
import pytest

from support.project import write_study
from xnn import load_run, load_study
from xnn.config import provenance
from xnn.config.schema import root
from xnn.report import tracking

PIXEL = base64.b64encode(b"\x89PNG not really").decode()
STAMP = {"commit": "abc", "dirty": False, "started": "2026-01-01T00:00:00.000+00:00", "seconds": 20.0}


def results(run, f1=0.5):
    """Write result files as a run's notebooks leave them."""
    history = [
        {"epoch": n, "train_loss": 1 / n, "val_loss": 1.0, "val_f1": 0.3, "lr": 0.1, "seconds": 2.0}
        for n in (1, 2)
    ]
    record = {"weights": "random", "regime": "full", "stopped": "all epochs done", "precision": "32-true"}
    record |= {"best_epoch": 2, "images_per_second": 9.0, "parameters": {"total": 3, "trained": 2}}
    provenance.write_json(record | {"history": history, "provenance": STAMP}, run.reports / "training.json")
    scores = {
        "f1_weighted": {"value": f1, "low": 0.4, "high": 0.6},
        "auroc": dict.fromkeys(("value", "low", "high")),
    }
    provenance.write_json({"scores": scores}, run.reports / "metrics.json")
    picture = nbformat.v4.new_output("display_data", {"image/png": PIXEL})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[picture])])
    nbformat.write(notebook, run.reports / "4-evaluate.ipynb")
    (run.artifacts / "model").mkdir(parents=True, exist_ok=True)
    (run.artifacts / "model/config.json").write_text(json.dumps({}))


@pytest.fixture(scope="module")
def study():
    """A study of its own: other tests read all results of the shared one."""
    write_study("logged", tracked="model: {weights: none}")
    return "logged"


@pytest.fixture
def client(study):
    from mlflow import MlflowClient

    results(load_run(study, "tracked"))
    tracking.track(load_study(study))
    return MlflowClient(tracking.uri())


def tracked(client, study):
    experiment = client.get_experiment_by_name(study).experiment_id
    return client.search_runs([experiment], "attributes.run_name = 'tracked'")


def test_a_run_is_logged_with_all_that_belongs_to_it(client, study):
    (run,) = tracked(client, study)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 20_000
    assert run.data.params["training.batch_size"] == "32"
    assert run.data.params["study.image_size"] == "32"
    assert run.data.metrics["test_f1_weighted_high"] == 0.6
    assert "test_auroc" not in run.data.metrics
    curve = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(each.step, each.value) for each in curve] == [(1, 1.0), (2, 0.5)]
    assert run.data.tags["commit"] == "abc"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"figures", "model", "metrics.json", "training.json"} <= names
    (figure,) = client.list_artifacts(run.info.run_id, "figures")
    file = client.download_artifacts(run.info.run_id, figure.path)
    assert Path(file).read_bytes() == base64.b64decode(PIXEL)
    assert list((root() / "artifacts/mlflow" / study).rglob("figures/4-evaluate-1.png"))


def test_photographs_are_figures_too(tmp_path):
    outputs = [nbformat.v4.new_output("display_data", {f"image/{kind}": PIXEL}) for kind in ("jpeg", "png")]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    nbformat.write(page, tmp_path / "page.ipynb")
    assert [kind for kind, _ in tracking._figures(tmp_path / "page.ipynb")] == ["jpeg", "png"]


def test_the_same_results_are_logged_once(client, study):
    before = tracked(client, study)
    assert tracking.track(load_study(study)) == []
    assert [run.info.run_id for run in tracked(client, study)] == [run.info.run_id for run in before]


def test_changed_results_take_the_place_of_the_old_ones(client, study):
    (before,) = tracked(client, study)
    results(load_run(study, "tracked"), f1=0.7)
    assert tracking.track(load_study(study)) == ["tracked"]
    (after,) = tracked(client, study)
    assert after.info.run_id != before.info.run_id
    assert after.data.metrics["test_f1_weighted"] == 0.7


def test_a_half_logged_run_is_logged_again(client, study):
    (before,) = tracked(client, study)
    client.delete_tag(before.info.run_id, tracking.KEY)
    assert tracking.track(load_study(study)) == ["tracked"]
    (after,) = tracked(client, study)
    assert tracking.KEY in after.data.tags


def test_a_moved_project_logs_into_its_new_place(client, study, monkeypatch, tmp_path):
    monkeypatch.setattr(tracking, "root", lambda: tmp_path)
    (tmp_path / "artifacts").mkdir()
    shutil.copy(root() / "artifacts/mlflow.db", tmp_path / "artifacts")
    assert "tracked" in tracking.track(load_study(study))
    (after,) = tracked(type(client)(tracking.uri()), study)
    assert after.info.artifact_uri.startswith(tmp_path.as_uri())
    assert list((tmp_path / "artifacts/mlflow" / study).rglob("metrics.json"))
