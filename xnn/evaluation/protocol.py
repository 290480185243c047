"""How much of a score is the protocol's: leakage between splits, another class mix, what others got."""

import json

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from ..config import files
from ..config.schema import Run, Study
from .calibration import estimated_mix, for_mix, tempered
from .comparison import load
from .intervals import confidence_intervals, interval, patient_weights, positions
from .predictions import read
from .scoring import scores

# what published tasks call a score, by the name that metrics.json has for it
TASKS = {
    "three classes": {"accuracy": "accuracy", "f1_macro": "f1_macro", "f1_weighted": "f1_weighted"},
    "pneumonia": {name: f"{name}_pneumonia" for name in ("accuracy", "auroc", "sensitivity", "specificity")},
    "bacteria or virus": {name: f"{name}_bacteria_vs_virus" for name in ("accuracy", "auroc")},
}


def leakage(study: Study, score: str = "f1_weighted", resamples: int = 2000) -> pd.DataFrame:
    """One score of the runs that a study shares with those it is compared with, and what siblings add.

    A run is shared where its parameters and seed are the same in all studies: only the split differs.

    Returns
    -------
    One row a run and study, this one first: run, study, test_images, patient and patient_and_class (the
    share of test images with a sibling in training, if the bare number names the patient, and if number
    and class do), value, low, high (the score), and bought, bought_low, bought_high: how far it lies above
    that of this study. Test splits of two studies are different images, so each is resampled by itself.
    """
    others = [files.load_study(name) for name in study.compare_with]
    rows = []
    for run in shared_runs(study, others):
        base, base_resampled = _resampled(study, run, score, resamples)
        for each in (study, *others):
            value, resampled = _resampled(each, run, score, resamples)
            bought = interval(resampled - base_resampled) if each is not study else {"low": 0, "high": 0}
            rows.append(
                {
                    "run": run,
                    "study": each.name,
                    **json.loads((each.reports / "siblings.json").read_text()),
                    "value": value,
                    **interval(resampled),
                    "bought": value - base,
                    "bought_low": bought["low"],
                    "bought_high": bought["high"],
                }
            )
    return pd.DataFrame(rows)


def shared_runs(study: Study, others: list[Study]) -> list[str]:
    """Names of the runs that have been made with the same parameters and seed in every study."""
    found = []
    for name in files.runs(study.name):
        made = [(each.reports / name / "metrics.json").exists() for each in (study, *others)]
        if all(made) and len({_recipe(files.load_run(each.name, name)) for each in (study, *others)}) == 1:
            found.append(name)
    return found


def _recipe(run: Run) -> str:
    """Parameters and seed of a run as text; the run that it starts from is replaced by its own."""
    values = run.model_dump(mode="json", exclude={"note", "online", "explanation"})
    if start := run.model.start_from:
        values["model"]["start_from"] = _recipe(files.load_run(run.study.name, start))
    return json.dumps(values, sort_keys=True)


def _resampled(study: Study, run: str, score: str, resamples: int) -> tuple[float, np.ndarray]:
    """A run's score, and that of resamples of its test patients (B,); other patients, other draws."""
    table = read(study.reports / run / "predictions.csv").sort_values("path", ignore_index=True)
    arguments = positions(table, study.classes), table[study.classes].to_numpy(), study.classes
    seed = int.from_bytes(study.name.encode(), "little") % 2**32
    drawn = patient_weights(table.patient, resamples, seed)
    return float(scores(*arguments)[score][0]), scores(*arguments, drawn)[score]


def for_the_mix_of_test(study: Study, run: str, resamples: int = 2000) -> pd.DataFrame:
    """A run's scores as they are, and with its probabilities brought to the test split's class mix.

    The mix is estimated from the run's own answers for the test images, not from their labels
    (Saerens et al. 2002), after the temperature that validation asks for.

    Returns
    -------
    One row a score and way ("as trained", "for the mix of the test split"): score, way, value, low, high.
    ``attrs["mixes"]``: share of each class, a column each of trained, estimated and test.
    """
    folder = study.reports / run
    metrics = json.loads((folder / "metrics.json").read_text())
    table = read(folder / "predictions.csv").sort_values("path", ignore_index=True)
    labels, patients = positions(table, study.classes), table.patient
    asked = tempered(table[study.classes].to_numpy(), metrics["calibration"]["temperature"])
    trained = _shares(read(folder / "validation.csv"), study)
    mix = estimated_mix(asked, trained)
    ways = {"as trained": asked, "for the mix of the test split": for_mix(asked, trained, mix)}
    rows = []
    for way, probabilities in ways.items():
        found = confidence_intervals(
            labels, probabilities, study.classes, patients, resamples, seed=study.seed
        )
        rows += [{"score": name, "way": way, **each} for name, each in found.items()]
    result = pd.DataFrame(rows)
    mixes = {"trained": trained, "estimated": mix, "test": _shares(table, study)}
    result.attrs["mixes"] = {
        name: dict(zip(study.classes, each, strict=True)) for name, each in mixes.items()
    }
    return result


def batch_average(study: Study, run: str, size: int = 32) -> dict[str, float]:
    """A run's weighted F1 over the whole test split, and as a mean over batches: a mistake that flatters.

    Images of one class often follow one another in a folder. A batch of them alone has no other class to
    be mistaken about, so the mean over batches of ``size`` says more than the network can do, and another
    number for every order and size.

    Returns
    -------
    whole, sorted (mean over batches of images sorted by class) and shuffled (the same in random order).
    """
    table = read(study.reports / run / "predictions.csv").sort_values("path", ignore_index=True)
    labels, said = positions(table, study.classes), table[study.classes].to_numpy().argmax(axis=1)
    orders = {
        "sorted": np.argsort(labels, kind="stable"),
        "shuffled": np.random.default_rng(study.seed).permutation(len(labels)),
    }
    found = {"whole": f1_score(labels, said, average="weighted")}
    for name, order in orders.items():
        batches = np.array_split(order, np.arange(size, len(order), size))
        each = [f1_score(labels[b], said[b], average="weighted", zero_division=0) for b in batches]
        found[name] = np.mean(each)
    return {name: float(value) for name, value in found.items()}


def _shares(predictions: pd.DataFrame, study: Study) -> np.ndarray:
    """(C,) share of each class among the labels; validation has the class mix of training."""
    return predictions.label.value_counts(normalize=True)[study.classes].to_numpy()


def beside_published(study: Study) -> pd.DataFrame:
    """What others published on this very split, and every run of ours, task by task.

    Returns
    -------
    One row a task and source: task, source, the scores of the task (as far as given; ours with their
    intervals) and differs (weights, resolution, epochs).
    """
    metrics, training = load(study)
    rows = [each.model_dump(exclude_none=True) for each in study.published]
    for task, names in TASKS.items():
        for run, each in metrics.items():
            found = {name: each["scores"][ours] for name, ours in names.items()}
            differs = _differs(study, run, training[run])
            rows.append({"task": task, "source": f"this report: {run}", **found, "differs": differs})
    table = pd.DataFrame(rows)
    table["task"] = pd.Categorical(table.task, list(TASKS))
    return table.sort_values("task", kind="stable").reset_index(drop=True)


def _differs(study: Study, run: str, record: dict) -> str:
    size = files.load_run(study.name, run).model.image_size or study.image_size
    return f"{record['weights']}; {size} px; {len(record['history'])} epochs"
