"""Effects of the protocol on a score: leakage, batches, class mix, and published results."""

import json

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from ..config import files
from ..config.schema import Study
from . import calibration
from .comparison import load_results, read_results, recipe
from .intervals import confidence_intervals, interval, patient_weights
from .predictions import arrays, read
from .scoring import scores

# names of scores in published tasks, and in metrics.json
TASKS = {
    "three classes": {"accuracy": "accuracy", "f1_macro": "f1_macro", "f1_weighted": "f1_weighted"},
    "pneumonia": {name: f"{name}_pneumonia" for name in ("accuracy", "auroc", "sensitivity", "specificity")},
    "bacteria or virus": {name: f"{name}_bacteria_vs_virus" for name in ("accuracy", "auroc")},
}


def batch_average(study: Study, run: str, size: int = 32) -> dict[str, float]:
    """Return a run's weighted F1 over the whole test split, and as means over sorted and shuffled batches.

    Folders often hold images in order of class. A batch of one class offers no other class to confuse it
    with, so the mean over batches is too high, and it depends on their order and size.
    """
    labels, probabilities = arrays(read(study.reports / run / "predictions.csv"), study.classes)
    predicted = probabilities.argmax(axis=1)
    orders = {
        "sorted": np.argsort(labels, kind="stable"),
        "shuffled": np.random.default_rng(study.seed).permutation(len(labels)),
    }
    found = {"whole": f1_score(labels, predicted, average="weighted")}
    for name, order in orders.items():
        batches = np.array_split(order, np.arange(size, len(order), size))
        each = [f1_score(labels[b], predicted[b], average="weighted", zero_division=0) for b in batches]
        found[name] = np.mean(each)
    return {name: float(value) for name, value in found.items()}


def leakage(study: Study, score: str = "f1_weighted", resamples: int = 2000) -> pd.DataFrame:
    """Return one score of each run that this study shares with one it is compared with, per study.

    Columns run, study, test_images, patient and patient_and_class (share of test images with a sibling in
    training, if the bare number names the patient, and if number and class do), value, low, high (the score)
    and change, change_low, change_high: the difference from this study, whose row comes first. The test
    images of two studies differ, so each study is resampled independently.
    """
    others = [files.load_study(name) for name in study.compare_with]
    rows = []
    for run, sharing in shared_runs(study, others).items():
        studies, base = (study, *sharing), _resampled(study, run, score, resamples)
        found = {
            each.name: read_results(each, "metrics.json", [run])[run]["scores"][score] for each in studies
        }
        for each in studies:
            change = interval(_resampled(each, run, score, resamples) - base)
            rows.append(
                {
                    "run": run,
                    "study": each.name,
                    **json.loads((each.reports / "siblings.json").read_text()),
                    **found[each.name],
                    "change": found[each.name]["value"] - found[study.name]["value"],
                    "change_low": change["low"],
                    "change_high": change["high"],
                }
            )
    return pd.DataFrame(rows)


def shared_runs(study: Study, others: list[Study]) -> dict[str, list[Study]]:
    """Return the runs that another study has evaluated with the same parameters and seed, and which did."""
    found = {}
    for name in files.runs(study.name):
        made = [each for each in (study, *others) if (each.reports / name / "metrics.json").exists()]
        recipes = {each.name: recipe(files.load_run(each.name, name), "explanation") for each in made}
        alike = [each for each in made if recipes[each.name] == recipes.get(study.name)]
        if len(alike) > 1:
            found[name] = alike[1:]
    return found


def _resampled(study: Study, run: str, score: str, resamples: int) -> np.ndarray:
    """A run's score on resamples of its test patients (B,); each study draws its own."""
    table = read(study.reports / run / "predictions.csv")
    arguments = *arrays(table, study.classes), study.classes
    seed = int.from_bytes(study.name.encode(), "little") % 2**32
    weights = patient_weights(table.patient, resamples, seed)
    return scores(*arguments, weights)[score]


def for_the_mix_of_test(study: Study, run: str, resamples: int = 2000) -> pd.DataFrame:
    """Return a run's scores as trained, and with probabilities corrected for the test split's class mix.

    Probabilities are calibrated on validation with a bias per class; their mean there is the mix that the
    network assumes (Alexandari et al. 2020). The mix of the test split is estimated without its labels
    (Saerens et al. 2002), and for comparison taken from them. Columns score, way, value, low and high;
    ``attrs["mixes"]`` holds the class shares trained, assumed, estimated and test.
    """
    folder, classes, seed = study.reports / run, study.classes, files.load_run(study.name, run).seed
    table, validation = (read(folder / f"{name}.csv") for name in ("predictions", "validation"))
    labels, probabilities = arrays(table, classes)
    known = arrays(validation, classes)
    fitted = calibration.bias_corrected(*known, classes)
    calibrated, assumed = (calibration.corrected(each, *fitted) for each in (probabilities, known[1]))
    mixes = {"trained": _shares(validation, classes), "assumed": assumed.mean(axis=0)}
    mixes["estimated"] = calibration.estimated_mix(calibrated, mixes["assumed"])
    mixes["test"] = _shares(table, classes)
    ways = {"as trained": probabilities, "calibrated on validation": calibrated} | {
        words: calibration.for_mix(calibrated, mixes["assumed"], mixes[mix])
        for words, mix in {"for the estimated mix": "estimated", "for the true mix": "test"}.items()
    }
    rows = []
    for way, each in ways.items():
        found = confidence_intervals(labels, each, classes, table.patient, resamples, seed=seed)
        rows += [{"score": name, "way": way, **score} for name, score in found.items()]
    result = pd.DataFrame(rows)
    result.attrs["mixes"] = {name: dict(zip(classes, each, strict=True)) for name, each in mixes.items()}
    return result


def _shares(predictions: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """The share of each class among the labels, (C,)."""
    return predictions.label.value_counts(normalize=True)[classes].to_numpy()


def beside_published(study: Study) -> pd.DataFrame:
    """Return published results on this split beside those of every run, one row per task and source.

    Columns task, source, the scores of the task (where given; this report's with intervals) and differs
    (weights, resolution, epochs).
    """
    metrics, training = load_results(study)
    rows = [
        each.model_dump(exclude_none=True, exclude={"link"}) | {"source": f"[{each.source}]({each.link})"}
        for each in study.published
    ]
    for task, names in TASKS.items():
        for run, each in metrics.items():
            found = {name: each["scores"][ours] for name, ours in names.items()}
            differs = _differs(study, run, training[run])
            rows.append({"task": task, "source": f"this report: `{run}`", **found, "differs": differs})
    table = pd.DataFrame(rows)
    table["task"] = pd.Categorical(table.task, list(TASKS))
    return table.sort_values("task", kind="stable").reset_index(drop=True)


def _differs(study: Study, run: str, record: dict) -> str:
    size = files.load_run(study.name, run).model.image_size or study.image_size
    return f"{record['weights']}; {size} px; {len(record['history'])} epochs"
