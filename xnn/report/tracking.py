"""Finished runs in MLflow, logged from their result files."""

import base64
import errno
import tempfile
from datetime import datetime
from pathlib import Path

import nbformat
from filelock import FileLock
from pandas import json_normalize

from ..config import files, freshness, schema
from ..config.provenance import read_json
from ..config.schema import Run, Study, root
from ..config.sweep import STEPS

KEY = "xnn.results"  # tag with the hash of the result files; set last, so it marks a complete log
KIND = {"mlflow.experimentKind": "custom_model_development"}  # opens the page on runs, not on traces
RESULTS = ("training.json", "metrics.json", "explanations.json")


def uri() -> str:
    """Address of the MLflow database of all studies."""
    return f"sqlite:///{root() / 'artifacts/mlflow.db'}"


def track(study: Study) -> list[str]:
    """Log every run of a study that has results; return the names of new or changed runs.

    A study is an MLflow experiment. A run with changed results replaces its old entry. Raises OSError if
    another program holds the database for more than some seconds.
    """
    from mlflow import MlflowClient

    (root() / "artifacts").mkdir(exist_ok=True)
    runs = [files.load_run(study.name, name) for name in files.runs(study.name)]
    runs = [run for run in runs if (run.reports / "training.json").exists()]
    try:
        with FileLock(root() / "artifacts/.mlflow.lock"):  # the first user makes the tables
            client = MlflowClient(uri())
            experiment = _experiment(client, study)
            return [run.name for run in runs if _log(client, experiment, run)]
    except Exception as error:  # of MLflow or SQLAlchemy
        if "database is locked" not in str(error):
            raise
        raise OSError(errno.EBUSY, "in use by another program", "artifacts/mlflow.db") from None


def _experiment(client, study: Study) -> str:
    """Id of the study's experiment; a new one if the project was moved, since MLflow keeps absolute paths."""
    place = (root() / "artifacts/mlflow" / study.name).as_uri()
    found = client.get_experiment_by_name(study.name)
    if found and found.artifact_location == place:
        return found.experiment_id
    if found:
        client.rename_experiment(found.experiment_id, f"{study.name} (before a move, {found.experiment_id})")
        client.delete_experiment(found.experiment_id)
    return client.create_experiment(study.name, artifact_location=place, tags=KIND)


def _log(client, experiment: str, run: Run) -> bool:
    """Log a run unless these results are logged already; remove older entries."""
    wanted = _key(run)
    found = client.search_runs([experiment], f"attributes.run_name = '{run.name}'")
    if [each.data.tags.get(KEY) for each in found] == [wanted]:
        return False
    for each in found:
        client.delete_run(each.info.run_id)
    record = read_json(run.reports / "training.json")
    started = datetime.fromisoformat(record["provenance"]["started"]).timestamp() * 1000
    new = client.create_run(experiment, start_time=int(started), run_name=run.name).info.run_id
    _log_values(client, new, run, record, int(started))
    _log_files(client, new, run)
    client.set_tag(new, KEY, wanted)
    client.set_terminated(new, end_time=int(started + record["provenance"]["seconds"] * 1000))
    return True


def _log_values(client, new: str, run: Run, record: dict, started: int) -> None:
    """Log parameters, one value per epoch of each curve, and the test scores."""
    from mlflow.entities import Metric, Param, RunTag

    values = run.model_dump(mode="json") | {"study": run.study.model_dump(mode="json")}
    values = json_normalize(values).to_dict("records")[0]
    curves, now = [], started
    for row in record["history"]:
        now += int(row["seconds"] * 1000)
        curves += [Metric(k, v, now, row["epoch"]) for k, v in row.items() if k != "epoch"]
    for name, score in (read_json(run.reports / "metrics.json") or {}).get("scores", {}).items():
        for bound, value in score.items():
            if value is not None:
                curves.append(Metric(f"test_{name}_{bound}".removesuffix("_value"), value, now, 0))
    tagged = ("weights", "regime", "stopped", "precision", "best_epoch", "images_per_second")
    tags = {name: record[name] for name in tagged} | record["parameters"] | record["provenance"]
    client.log_batch(
        new,
        metrics=curves,
        params=[Param(k, str(v)[:6000]) for k, v in values.items()],
        tags=[RunTag(k, str(v)[:5000]) for k, v in tags.items()],
    )


def _log_files(client, new: str, run: Run) -> None:
    """Log the figures of the run's pages, its result files, and its model if it is here."""
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            for number, (kind, image) in enumerate(_figures(run.reports / f"{step}.ipynb"), 1):
                file = Path(folder) / f"{step}-{number}.{kind}"
                file.write_bytes(image)
        client.log_artifacts(new, folder, "figures")
    for name in (*RESULTS, "predictions.csv"):
        if (run.reports / name).exists():
            client.log_artifact(new, str(run.reports / name))
    if (run.artifacts / "model").exists():
        client.log_artifacts(new, str(run.artifacts / "model"), "model")


def _figures(page: Path) -> list[tuple[str, bytes]]:
    """Kind (png or jpeg) and bytes of the pictures of an executed notebook."""
    cells = nbformat.read(page, as_version=4).cells if page.exists() else []
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    pictures = [(kind, data.get(f"image/{kind}")) for data in shown for kind in ("png", "jpeg")]
    return [(kind, base64.b64decode(picture)) for kind, picture in pictures if picture]


def _key(run: Run) -> str:
    """Hash of the run's result files and parameters, and of whether its model is here."""
    results = [read_json(run.reports / name) for name in RESULTS]
    return freshness.digest([*results, schema.sha256(run), (run.artifacts / "model").exists()])
