"""Runs of a study side by side, from their result files alone."""

import json

import pandas as pd

from . import params
from .params import Study

SHOWN = ("f1_weighted", "f1_macro", "accuracy", "auroc_pneumonia", "accuracy_bacteria_vs_virus", "ece")


def load(study: Study) -> tuple[dict[str, dict], dict[str, dict]]:
    """Contents of metrics.json and training.json, by run, of the runs that have been made."""
    folders = {run: study.reports / run for run in params.runs(study.name)}
    made = {run: folder for run, folder in folders.items() if (folder / "metrics.json").exists()}
    return tuple(
        {run: json.loads((folder / name).read_text()) for run, folder in made.items()}
        for name in ("metrics.json", "training.json")
    )


def score(metrics: dict[str, dict], name: str) -> pd.DataFrame:
    """One score of every run: columns run, value, low, high.

    ``metrics`` holds the content of each run's metrics.json by the run's name.
    """
    return pd.DataFrame([{"run": run, **each["scores"][name]} for run, each in metrics.items()])


def results(metrics: dict[str, dict], training: dict[str, dict]) -> pd.DataFrame:
    """The study's result table, best weighted F1 first: one row a run, scores with their intervals.

    ``training`` holds the content of each run's training.json by the run's name.
    """
    rows = []
    for run in sorted(metrics, key=lambda run: -metrics[run]["scores"]["f1_weighted"]["value"]):
        scores, record = metrics[run]["scores"], training[run]
        shown = [name for name in scores if name in SHOWN or name.startswith("average_precision_")]
        rows.append(
            {
                "run": run,
                "regime": record["regime"],
                "starting weights": record["weights"],
                **{name.replace("_", " "): with_interval(scores[name]) for name in shown},
                "parameters trained": record["parameters"]["trained"],
                "minutes": round(sum(row["seconds"] for row in record["history"]) / 60, 1),
                "test images": metrics[run]["n"],
            }
        )
    return pd.DataFrame(rows)


def with_interval(score: dict[str, float | None]) -> str:
    """A score as 0.842 (0.811-0.870); a dash where it is undefined."""
    if score["value"] is None:
        return "-"
    return f"{score['value']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, for pages that show the numbers without computing them."""
    lines = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
