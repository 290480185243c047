"""Trained models and training records that are kept, and the inputs that decide whether they are current."""

from pathlib import Path

from ..config import files, freshness, provenance, schema
from ..config.provenance import read_json
from ..config.schema import ParameterError, Run, Study
from ..data.records import load_records
from . import weights

__by_value__ = True  # this module decides what is kept, and no number
CONFIG, METRICS, SHIPPED = "config.json", "metrics.json", "shipped.json"  # in a model's folder
WEIGHTS, STATISTICS, CARD = "model.safetensors", "statistics.safetensors", "README.md"


def inputs(run: Run) -> dict:
    """Return what decides a trained model: code, parameters, records, and what it starts from."""
    code = freshness.of_function("xnn.training.fit", "trained")
    groups = {
        name: schema.leaves(each, code.groups(type(each)))
        for name, each in {"study": run.study, "run": run}.items()
    }
    found = {"code": code.sha256, "parameters": groups, "records": seen_sha256(run.study)}
    if run.model.region != "whole":
        found["lungs"] = provenance.lungs_sha256(run.study)
    if first := run.model.start_from:
        start = files.load_run(run.study.name, first)
        records = [read_json(folder / "training.json") for folder in (start.artifacts, start.reports)]
        found["start"] = next((each["key"] for each in records if each), None)
    elif file := weights.local_file(run.model):
        found["start"] = provenance.file_sha256(file)
    return found


def seen_sha256(study: Study) -> str | None:
    """Return the hash of the records that a training sees; None before they are made."""
    if provenance.records_sha256(study) is None:
        return None
    records = load_records(study)
    seen = records.loc[records.split.isin(["train", "val"]), ["row", "path", "label", "split", "sha256"]]
    return freshness.digest(seen.to_csv(index=False))


def model(run: Run, now: dict) -> dict | None:
    """Return the record of the run's model if there is one, trained from the inputs `now`."""
    own, reported = read_json(run.artifacts / "training.json"), record(run, now)
    if own is None or not (run.artifacts / "model").exists():
        return reported if reported and folder(run) else None
    if reported is not None and reported["key"] == own["key"]:
        return reported  # whose inputs may have been renewed
    return own if not freshness.differences(own.get("inputs"), now) else None


def folder(run: Run) -> Path | None:
    """Return the folder of the run's model: in its artifacts, else the rounded copy in models/, if any."""
    own, shipped = run.artifacts / "model", schema.root() / "models" / f"{run.study.name}-{run.name}"
    if own.exists():
        return own
    origin, reported = read_json(shipped / "shipped.json"), read_json(run.reports / "training.json")
    return shipped if origin and reported and origin["training_key"] == reported["key"] else None


def record(run: Run, now: dict) -> dict | None:
    """Return the training record in the run's reports if it is of these inputs, its model aside."""
    reported = read_json(run.reports / "training.json")
    return reported if reported and not freshness.differences(reported.get("inputs"), now) else None


def check_recipe(run: Run) -> None:
    """Raise ParameterError if the run was trained with other parameters than its file has now."""
    made = (read_json(run.reports / "training.json") or {}).get("inputs")
    if made is None:
        return
    names = {key.partition(".")[0] for key in made["parameters"]["run"]}
    changed = freshness.differences(made, {**made, "parameters": {"run": schema.leaves(run, names)}})
    if changed := [each for each in changed if each.startswith("run: ")]:
        raise ParameterError(
            f"run {run.name} was trained otherwise ({changed[0][5:]}): execute its 3-train first"
        )


def seconds(run: Run) -> float | None:
    """Return how long the run's last training took, None if that is not known."""
    reported = read_json(run.reports / "training.json")
    return reported and reported["frozen_seconds"] + sum(row["seconds"] for row in reported["history"])
