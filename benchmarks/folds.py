"""How good is a recipe on every patient? Grouped five-fold cross-validation: each image is tested once.

Patients are in one fold each, and so are patients who share an image. Folds are stratified by class. One in
eight of the images outside a fold is for validation, by patient as well; the rest is for training. Images
that the study sets aside for the app are tested too. Everything else is as in the run's file, with its seed.
Scores are computed once over the test predictions of all folds, with 95 % intervals by bootstrap over
patients.

    python benchmarks/folds.py prepare                  # the folds' records, from those of the study
    python benchmarks/folds.py train --fold 0           # and 1 to 4, side by side where there is room
    python benchmarks/folds.py pool                     # their test predictions, to benchmarks/folds.csv
    python benchmarks/folds.py report > benchmarks/folds.md

`train` continues an interrupted training. With --quick all but `report` use few patients and one epoch, and
`pool` writes elsewhere.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from labels import by_readers, is_checked  # the benchmark beside this one
from sklearn.model_selection import StratifiedGroupKFold

from xnn import in_words, load_images, load_model, load_records, load_run, wrangle
from xnn.config.provenance import read_json
from xnn.config.schema import Run
from xnn.data.records import write_csv
from xnn.evaluation.comparison import markdown, signed, with_interval
from xnn.evaluation.intervals import all_and_resampled, summary
from xnn.evaluation.predictions import arrays, predictions_table, read
from xnn.evaluation.scoring import scores

FOLDS, VALIDATION = 5, 8  # one in so many images
FEWER = 20  # one in so many groups, with --quick
KEPT = Path(__file__).with_suffix(".csv")
RESAMPLES = 2000
SCORES = (
    "f1_weighted",
    "f1_macro",
    "accuracy",
    "auroc_pneumonia",
    "sensitivity_pneumonia",
    "specificity_pneumonia",
    "accuracy_bacteria_vs_virus",
)


def splits(records: pd.DataFrame, seed: int = 0) -> list[np.ndarray]:
    """Return for each fold the split (N,) of each record: train, val or test."""
    options = {"shuffle": True, "random_state": seed}
    labels, groups, found = records.label.to_numpy(), records.group.to_numpy(), []
    for rest, _ in StratifiedGroupKFold(FOLDS, **options).split(labels, labels, groups):
        split = np.full(len(records), "test", object)
        split[rest] = "train"
        inner = StratifiedGroupKFold(VALIDATION, **options).split(rest, labels[rest], groups[rest])
        split[rest[next(inner)[1]]] = "val"
        found.append(split)
    return found


def of_fold(run: Run, fold: int, quick: bool = False) -> Run:
    """Return a run for one fold: its study has artifacts of its own."""
    name = f"{run.study.name}-{'quick-' * quick}fold-{fold}"
    training = run.training.model_copy(update={"epochs": 1} if quick else {})
    study = run.study.model_copy(update={"name": name})
    return run.model_copy(update={"study": study, "training": training})


def prepare(run: Run, quick: bool = False) -> None:
    """Write the records of each fold, beside a link to the study's images."""
    if not (run.study.artifacts / "records.csv").exists():
        wrangle(run.study)
    records = load_records(run.study)
    if quick:
        records = records[records.group % FEWER == 0].reset_index(drop=True)
    for fold, split in enumerate(splits(records, run.study.seed)):
        folder = of_fold(run, fold, quick).study.artifacts
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "images.npy").unlink(missing_ok=True)
        (folder / "images.npy").symlink_to(run.study.artifacts.absolute() / "images.npy")
        write_csv(records.assign(split=split), folder / "records.csv")
        print(f"{folder.name}: {pd.Series(split).value_counts().to_dict()}")


def train(run: Run, fold: int, workers: int = 0, quick: bool = False) -> None:
    """Train the run of a fold and write its test predictions to its artifacts."""
    from xnn import fit
    from xnn.models.classifier import answers

    own = of_fold(run, fold, quick)
    helped = own.training.model_copy(update={"workers": workers})
    own = own.model_copy(update={"training": helped})
    fit(own, model=True)
    records = load_records(own.study)
    records = records[records.split == "test"].sort_values("path").reset_index(drop=True)
    images = load_images(own.study)[records.row.to_numpy()]
    found = answers(load_model(own), images, own.evaluation.flip)
    write_csv(predictions_table(records, found, own.study.classes), own.artifacts / "predictions.csv")


def pool(run: Run, quick: bool = False) -> pd.DataFrame:
    """Return the test predictions of all folds; raise ValueError unless each image was tested once."""
    runs = [of_fold(run, fold, quick) for fold in range(FOLDS)]
    tables = [read(each.artifacts / "predictions.csv").assign(fold=n) for n, each in enumerate(runs)]
    table = pd.concat(tables).sort_values("path", ignore_index=True)
    wanted = load_records(runs[0].study).path.sort_values(ignore_index=True)
    if not table.path.equals(wanted):
        raise ValueError(f"{len(table)} predictions for {len(wanted)} images: prepare and train again")
    return table.round(4)


# ---- the page ------------------------------------------------------------------------------------

PAGE = """# How good is the recipe on every patient?

**Answer.** {answer}

Output of `python benchmarks/folds.py report --run {run}`, which describes the method.

The recipe is that of `{run}`, trained {folds} times; every radiograph is tested by the network that has not
seen its patient. Scores of all {n} radiographs of {patients} patients, with 95 % intervals over patients:

{table}
The recipe was chosen on the validation of the report's own split, whose images are tested here too, so these
scores may be slightly too high. AUROC is computed over answers of {folds} networks, whose probabilities need
not be comparable; its mean over folds is free of that.
{by_readers}"""
READERS = """
## Labels that a third expert checked

Of the images that the publishers meant for training, two experts graded the labels; in their test folder a
third one checked these (Kermany et al. 2018). Here the same networks are tested on both:

{table}
Accuracy on bacteria and virus differs by {difference}. [What that says about the labels](labels.md).
"""


def resampled(table: pd.DataFrame, classes, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the scores of predictions on all images and on resamples of patients, (1 + B,) each."""
    return scores(*arrays(table, classes), classes, all_and_resampled(table.patient, RESAMPLES, seed))


def by_fold(table: pd.DataFrame, classes) -> pd.DataFrame:
    """Return the scores of each fold, a row each."""
    rows = {
        fold: {name: float(each[0]) for name, each in scores(*arrays(own, classes), classes).items()}
        for fold, own in table.groupby("fold")
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def with_readers(table: pd.DataFrame, run: Run) -> str:
    """Return the scores by whether a third expert checked the label; "" without the publishers' folders."""
    checked = is_checked(table)
    if not checked.any() or checked.all():
        return ""
    folders = {"two": table[~checked], "three": table[checked]}
    row, _ = by_readers(run.name, folders, run.study.classes)
    difference = row.pop("difference in accuracy")
    return READERS.format(table=markdown(pd.DataFrame([row])), difference=signed(difference))


def width(score: dict[str, float]) -> float:
    """Return the width of a score's interval."""
    return score["high"] - score["low"]


def report(table: pd.DataFrame, run: Run) -> str:
    """Return the benchmark as Markdown, from the predictions of all folds."""
    classes = run.study.classes
    found, folds = resampled(table, classes), by_fold(table, classes)
    single = read_json(run.reports / "metrics.json")
    names = [name for name in SCORES if name in found]
    rows = [
        {
            "score": in_words(name),
            "all folds": with_interval(summary(found[name])),
            "mean of folds": f"{folds[name].mean():.3f}",
            "standard deviation": f"{folds[name].std():.3f}",
            "lowest": f"{folds[name].min():.3f}",
            "highest": f"{folds[name].max():.3f}",
        }
        | (
            {f"the report's split (n = {single['n']})": with_interval(single["scores"][name])}
            if single
            else {}
        )
        for name in names
    ]
    f1, own = summary(found["f1_weighted"]), folds.f1_weighted
    others = " and ".join(f"{in_words(n)} {with_interval(summary(found[n]))}" for n in names[2:4])
    answer = (
        f"Weighted F1 is **{with_interval(f1)}**, {others}. By fold, weighted F1 is {own.min():.3f} to "
        f"{own.max():.3f}, with a standard deviation of {own.std():.3f}."
    )
    if single:
        alone = single["scores"]["f1_weighted"]
        place = "within" if alone["low"] <= f1["value"] <= alone["high"] else "outside"
        answer += (
            f" The report's one split gives {with_interval(alone)}: the score of all folds lies {place} that "
            f"interval, which is {width(alone) / width(f1):.1f} times as wide."
        )
    return PAGE.format(
        answer=answer,
        run=run.name,
        folds=len(folds),
        n=len(table),
        patients=table.patient.nunique(),
        table=markdown(pd.DataFrame(rows)),
        by_readers=with_readers(table, run),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["prepare", "train", "pool", "report"])
    parser.add_argument("--study", default="kermany")
    parser.add_argument("--run", default="mobilenetv2-robust")
    parser.add_argument("--fold", type=int, choices=range(FOLDS))
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare images of a fold")
    parser.add_argument("--table", type=Path, default=KEPT, help="the predictions of all folds")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    run = load_run(given.study, given.run)
    match given.step:
        case "prepare":
            prepare(run, given.quick)
        case "train" if given.fold is not None:
            train(run, given.fold, given.workers, given.quick)
        case "train":
            parser.error("train needs --fold")
        case "pool" if given.quick and given.table == KEPT:
            parser.error("pool --quick needs --table")
        case "pool":
            write_csv(pool(run, given.quick), given.table)
        case "report":
            print(report(read(given.table), run), end="")


if __name__ == "__main__":
    main()
