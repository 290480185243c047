"""Is label noise what limits the scores? From the predictions that the report keeps; nothing is trained.

Four networks that share nothing but the training labels (two architectures from random weights, two others
from ImageNet weights) classify the test images of the patient split. A *shared error* is an image to which
all of them give the same class, and not that of its label.

- *By chance*: shared errors if each network's answers are permuted among the images of a class, which leaves
  its confusion matrix as it is and makes the networks independent given the class.
- *Doubtful labels*: those that 2-explore finds by cleanlab, from a linear classifier out of fold on features
  of MobileNetV2. It shares its weights with one of the four, and a hard image looks like a wrong label to it.
- *Readers*: two experts graded all images, a third one checked the publishers' test folder (Kermany et al.
  2018). The same network, on patients that it never saw, is scored on images of both folders. Only the labels
  were treated differently, unless the publishers also chose clearer images. *Balanced by size*: in each fifth
  of the original's size bacteria and virus have the same weight, so that size tells nothing.
- *Noise*: if a network is right with probability a where labels are right, and a share e of labels is wrong
  whatever the network says, it agrees with labels at a rate of a (1 - e) + (1 - a) e.

Intervals are 95 % by bootstrap over patients.

    python benchmarks/labels.py > benchmarks/labels.md
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from xnn import in_words, load_study
from xnn.config.schema import Study
from xnn.data.archive import source_split_of
from xnn.evaluation.comparison import by_validation, load_results, markdown, signed, with_interval
from xnn.evaluation.intervals import all_and_resampled, interval, summary
from xnn.evaluation.predictions import KEYS, arrays, read
from xnn.evaluation.scoring import PNEUMONIAS, mean, scores

STUDY, PUBLISHERS = "kermany", "kermany-official"
NETWORKS = (
    "convnextv2-atto-scratch",
    "resnet18-scratch",
    "efficientnet-lite0-robust",
    "mobilenetv2-robust",
)
PERMUTATIONS = RESAMPLES = 2000
FIFTHS = 5  # groups of size
BY_READERS = ("accuracy_bacteria_vs_virus", "auroc_pneumonia")


class Answers(NamedTuple):
    """The answers of K networks to N test images of C classes, and what else is known of these."""

    classes: list[str]
    names: tuple[str, ...]  # of the networks
    best: int  # the network that validation chooses
    table: pd.DataFrame  # path, label and patient, sorted by path; doubtful and checked (N,) bool
    labels: np.ndarray  # (N,) int
    likelier: np.ndarray  # (N,) int, the class that exploration finds most probable
    probabilities: np.ndarray  # (K, N, C)
    weights: np.ndarray  # (1 + B, N): each image once, then resamples of patients

    @property
    def predicted(self) -> np.ndarray:
        """The answers (K, N)."""
        return self.probabilities.argmax(2)

    @property
    def shared(self) -> np.ndarray:
        """Whether all networks give one wrong class, (N,) bool."""
        return shared(self.predicted, self.labels)

    @property
    def ill(self) -> np.ndarray:
        """Whether the label is a pneumonia, (N,) bool."""
        return self.table.label.isin(PNEUMONIAS).to_numpy()

    def f1(self, probabilities: np.ndarray, keep=slice(None)) -> np.ndarray:
        """Return the weighted F1 of probabilities (N, C) on some images, (1 + B,)."""
        given = self.labels[keep], probabilities[keep], self.classes, self.weights[:, keep]
        return scores(*given)["f1_weighted"]

    def share(self, holds: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the share of some images (N,) for which something holds, (1 + B,)."""
        return mean(holds[among], self.weights[:, among])


def load(study: Study, splits: pd.DataFrame, networks=NETWORKS) -> Answers:
    """Return the answers of a study's networks; raise ValueError if they are to different images.

    `splits` is the study's splits.csv.
    """
    tables = [read(study.reports / name / "predictions.csv") for name in networks]
    if not all(tables[0][KEYS].equals(each[KEYS]) for each in tables):
        raise ValueError("the networks were not tested on the same images: evaluate them again")
    found, table = [arrays(each, study.classes) for each in tables], tables[0][KEYS]
    known = splits.set_index("file").loc[file_names(table)]
    best = by_validation(load_results(study, list(networks))[0]).index[0]
    return Answers(
        study.classes,
        tuple(networks),
        networks.index(best),
        table.assign(doubtful=known.doubtful_label.to_numpy(bool), checked=is_checked(table)),
        found[0][0],
        known.likelier_class.map(study.classes.index).to_numpy(),
        np.stack([each for _, each in found]),
        all_and_resampled(table.patient, RESAMPLES, study.seed),
    )


def file_names(table: pd.DataFrame) -> pd.Series:
    """Return the file names in the paths of a table."""
    return table.path.str.rpartition("/")[2]


def is_checked(table: pd.DataFrame) -> np.ndarray:
    """Return whether each path is in the publishers' test folder, (N,) bool."""
    return (table.path.map(source_split_of) == "test").to_numpy()


def shared(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether the answers (K, N) to an image are one class, and not its label."""
    return (predicted == predicted[0]).all(0) & (predicted[0] != labels)


def by_chance(predicted: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Return the number of shared errors of networks that are independent given the class.

    The value is the mean over permutations, low and high hold 95 % of them.
    """
    rng, groups = np.random.default_rng(seed), [np.flatnonzero(labels == c) for c in np.unique(labels)]
    counts = np.zeros(PERMUTATIONS)
    for draw in range(PERMUTATIONS):
        counts[draw] = sum(
            shared(rng.permuted(predicted[:, rows], axis=1), labels[rows]).sum() for rows in groups
        )
    return {"value": counts.mean(), **interval(counts)}


def by_readers(run: str, folders: dict[str, pd.DataFrame], classes) -> tuple[dict, np.ndarray]:
    """Return a row on predictions for images of both folders, and accuracies (2, 1 + B) on their pneumonias.

    `folders` has the predictions for images that two and that three experts graded.
    """
    row, found = {"network": run}, []
    for number, (readers, table) in enumerate(folders.items()):
        weights = all_and_resampled(table.patient, RESAMPLES, number)  # apart: other patients
        found.append(scores(*arrays(table, classes), classes, weights))
        row[f"{readers}: bacteria and virus, n"] = int(table.label.isin(PNEUMONIAS).sum())
        row |= {
            f"{readers}: {in_words(name)}": with_interval(summary(found[-1][name])) for name in BY_READERS
        }
    accuracies = np.stack([each[BY_READERS[0]] for each in found])
    return row | {"difference in accuracy": summary(accuracies[1] - accuracies[0])}, accuracies


def all_readers(study: Study, publishers: Study, networks, runs) -> tuple[pd.DataFrame, dict]:
    """Return the table of `by_readers`, and its accuracies by run of the publishers' split.

    On the publishers' split the folders are validation and test, on the patient split both are in the test.
    """
    rows, accuracies = [], {}
    for run in runs:
        tables = {
            "two": read(publishers.reports / run / "validation.csv"),
            "three": read(publishers.reports / run / "predictions.csv"),
        }
        row, accuracies[run] = by_readers(run, tables, study.classes)
        rows.append({"split": publishers.split, **row})
    for run in networks:
        table = read(study.reports / run / "predictions.csv")
        checked = is_checked(table)
        row, _ = by_readers(run, {"two": table[~checked], "three": table[checked]}, study.classes)
        rows.append({"split": study.split, **row})
    return pd.DataFrame(rows), accuracies


def without_siblings(publishers: Study, run: str, splits: pd.DataFrame) -> dict[str, float]:
    """Return the accuracy on pneumonias of the publishers' test whose number no training image has."""
    table = read(publishers.reports / run / "predictions.csv")
    trained = set(splits.patient[splits["official split"] != "test"])
    table = table[table.label.isin(PNEUMONIAS) & ~table.patient.str.rpartition("/")[2].isin(trained)]
    given = *arrays(table, publishers.classes), publishers.classes
    found = scores(*given, all_and_resampled(table.patient, RESAMPLES))[BY_READERS[0]]
    return summary(found) | {"n": len(table)}


def balanced_by_size(folders: list[pd.DataFrame], sizes: pd.Series, classes) -> list[np.ndarray]:
    """Return the accuracy on pneumonias in each folder, (1 + B,), where size tells nothing of the class.

    `folders` have predictions; `sizes` are those of the originals by file name.
    """
    tables = [each[each.label.isin(PNEUMONIAS)] for each in folders]
    tables = [each.assign(size=sizes.reindex(file_names(each)).to_numpy()) for each in tables]
    every = pd.concat([each["size"] for each in tables]).dropna()
    edges, found = np.quantile(every, np.linspace(0, 1, FIFTHS + 1)[1:-1]), []
    for number, table in enumerate(each.dropna() for each in tables):
        cells = table.groupby([table.label, np.digitize(table["size"], edges)]).path.transform("size")
        weights = all_and_resampled(table.patient, RESAMPLES, number) / cells.to_numpy()
        found.append(scores(*arrays(table, classes), classes, weights)[BY_READERS[0]])
    return found


def noise(two: np.ndarray, three: np.ndarray) -> np.ndarray:
    """Return the share of wrong labels, given the accuracies of one network where labels are so and right."""
    return ((three - two) / (2 * three - 1)).clip(0, 0.5)


def perfect(answers: Answers, wrong: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the weighted F1 of a network that is always right, (1 + B,), if some labels (N,) are wrong."""
    return answers.f1(np.eye(len(answers.classes))[np.where(wrong, truth, answers.labels)])


def perfect_with_noise(answers: Answers, wrong: np.ndarray) -> np.ndarray:
    """Return the expected weighted F1 of a network that is always right, (1 + B,).

    A share `wrong` (1 + B,) of the labels bacteria and virus that no third expert checked stands for the
    other one.
    """
    pair, one_hot = [answers.classes.index(name) for name in PNEUMONIAS], np.eye(len(answers.classes))
    unsure = one_hot[answers.labels] * (answers.ill & ~answers.table.checked.to_numpy())[:, None]
    count, flipped = answers.weights @ one_hot[answers.labels], answers.weights @ unsure * wrong[:, None]
    predicted = count - flipped
    predicted[:, pair] += flipped[:, pair[::-1]]
    f1 = 2 * (count - flipped) / (count + predicted)
    return (f1 * count).sum(1) / count.sum(1)


# ---- the page ------------------------------------------------------------------------------------

SHARED = """## Errors that networks share

{networks} networks that share nothing but the training labels ({names}) classified {n} test images of
{patients} patients. All of them give the same wrong class to **{count}** images; if they were independent
given the class, it would be {chance[value]:.1f} ({chance[low]:.0f} to {chance[high]:.0f} in 95 % of
permutations). Of the errors of `{best}`, the best of them on validation, a share of {of_best} is shared.
{between} of the shared errors are between bacteria and virus.

{by_class}
Shared errors are not the fault of one network. They do not tell wrong labels from images on which the two
pneumonias look alike.
"""
DOUBTED = """## Labels that exploration doubts

Of the test labels {doubtful} are doubtful: {doubt_shared} of the shared errors, {doubt_other} of the other
images; a difference of {difference}. For {same} of the {both} doubtful shared errors the class given there is
that of the networks. These networks and that classifier learnt from the same labels, and both doubt what is
hard: the agreement supports the claim only weakly.
"""
CHECKED = """## Labels that a third expert checked

The same network on unseen patients, on images that two experts graded and on those that a third one checked.

{table}
AUROC for pneumonia shows whether images of that folder are easier altogether. The test of the patient split
has few of them; there the difference excludes 0 for {real} of {asked} networks. Three checks of `{run}` on
the publishers' split, by its accuracy on bacteria and virus:

- Patient numbers occur in both folders. Where no training image has the number it is {alone} (n =
  {alone_n}).
- The size of the original goes with the class. Balanced by size it is {two} and {three}, a difference of
  {difference}.
- {shared_checked} of the {n_checked} bacteria and virus images of that folder in the test of the patient
  split are shared errors, and {shared_other} of the {n_other} others: a difference of {fewer}.

The alternative is that the publishers chose more typical images of the two pneumonias. These predictions
cannot exclude that.
"""
REACHED = """## What a perfect network could reach

Weighted F1 on the test of the patient split of a network that is always right, if these labels are wrong:

{table}
The last row is the least circular: {wrong} of the labels bacteria or virus that only two experts graded would
be wrong. It takes wrong labels as independent of the image and as frequent in both classes, and all of the
difference between the folders as noise.

An error that goes when networks are averaged is none of the label: averaging all {count} changes the weighted
F1 of `{best}` by {gain}. What if some images were left out? That removes hard images as well as wrong labels,
so it flatters:

{what_if}"""


def errors_section(answers: Answers, chance: dict) -> str:
    """Return how many errors the networks share, and of which classes."""
    wrong, labels, predicted = answers.shared, answers.labels, answers.predicted
    rows = [
        {
            "label": name,
            "images": int((labels == c).sum()),
            "shared errors": int((wrong & (labels == c)).sum()),
            "share": with_interval(summary(answers.share(wrong, labels == c))),
            "of them doubtful": int((wrong & answers.table.doubtful & (labels == c)).sum()),
        }
        for c, name in enumerate(answers.classes)
    ]
    between = answers.ill & np.isin(predicted[0], [answers.classes.index(name) for name in PNEUMONIAS])
    return SHARED.format(
        networks=len(answers.names),
        names=", ".join(f"`{name}`" for name in answers.names),
        n=len(labels),
        patients=answers.table.patient.nunique(),
        count=wrong.sum(),
        chance=chance,
        best=answers.names[answers.best],
        of_best=with_interval(summary(answers.share(wrong, predicted[answers.best] != labels))),
        between=(wrong & between).sum(),
        by_class=markdown(pd.DataFrame(rows)),
    )


def doubts_section(answers: Answers) -> tuple[str, dict]:
    """Return how many shared errors have a doubtful label, and the difference from other images."""
    wrong, doubtful = answers.shared, answers.table.doubtful.to_numpy()
    among = [answers.share(doubtful, each) for each in (wrong, ~wrong)]
    difference = summary(among[0] - among[1])
    told = DOUBTED.format(
        doubtful=doubtful.sum(),
        doubt_shared=with_interval(summary(among[0])),
        doubt_other=with_interval(summary(among[1])),
        difference=signed(difference),
        same=(wrong & doubtful & (answers.likelier == answers.predicted[0])).sum(),
        both=(wrong & doubtful).sum(),
    )
    return told, difference


def checked_section(answers, publishers: Study, run: str, table, splits) -> tuple[str, dict, dict]:
    """Return the scores by readers, and two differences: balanced by size, and of shared errors."""
    folders = [read(publishers.reports / run / name) for name in ("validation.csv", "predictions.csv")]
    sizes = splits.set_index("file")[["true_width", "true_height"]].prod(axis=1, skipna=False)
    two, three = balanced_by_size(folders, sizes, answers.classes)
    checked, wrong = answers.table.checked.to_numpy(), answers.shared
    groups = {"checked": answers.ill & checked, "other": answers.ill & ~checked}
    fewer = summary(answers.share(wrong, groups["other"]) - answers.share(wrong, groups["checked"]))
    alone, even = without_siblings(publishers, run, splits), summary(three - two)
    gaps = table["difference in accuracy"]
    real = gaps[table.split == "patient"].map(lambda each: each["low"] > 0)
    told = CHECKED.format(
        table=markdown(table.assign(**{gaps.name: gaps.map(signed)})),
        real=real.sum(),
        asked=len(real),
        run=run,
        alone=with_interval(alone),
        alone_n=alone["n"],
        two=with_interval(summary(two)),
        three=with_interval(summary(three)),
        difference=signed(even),
        fewer=signed(fewer),
        **{f"shared_{name}": (wrong & each).sum() for name, each in groups.items()},
        **{f"n_{name}": each.sum() for name, each in groups.items()},
    )
    return told, even, fewer


def reached_section(answers: Answers, run: str, rate: np.ndarray) -> tuple[str, np.ndarray]:
    """Return what a perfect network could reach, and that by the noise `rate` (1 + B,)."""
    wrong, doubtful = answers.shared, answers.table.doubtful.to_numpy()
    by_noise = perfect_with_noise(answers, rate)
    reached = {
        "the doubtful labels of exploration": summary(perfect(answers, doubtful, answers.likelier)),
        "the shared errors": summary(perfect(answers, wrong, answers.predicted[0])),
        f"as many as explain the gap between the folders (`{run}`)": summary(by_noise),
    }
    kept = {
        "all": wrong | ~wrong,
        "without doubtful labels": ~doubtful,
        "without shared errors": ~wrong,
        "without both": ~(doubtful | wrong),
    }
    columns = {
        f"weighted F1 of `{answers.names[answers.best]}`": answers.probabilities[answers.best],
        f"of the average of the {len(answers.names)}": answers.probabilities.mean(0),
    }
    rows = [
        {"test images": words, "n": keep.sum()}
        | {name: with_interval(summary(answers.f1(each, keep))) for name, each in columns.items()}
        for words, keep in kept.items()
    ]
    gain = answers.f1(answers.probabilities.mean(0)) - answers.f1(answers.probabilities[answers.best])
    told = [{"wrong labels": name, "at most": with_interval(each)} for name, each in reached.items()]
    text = REACHED.format(
        table=markdown(pd.DataFrame(told)),
        wrong=with_interval(summary(rate)),
        count=len(answers.names),
        best=answers.names[answers.best],
        gain=signed(summary(gain)),
        what_if=markdown(pd.DataFrame(rows)),
    )
    return text, by_noise


def page(study: Study, publishers: Study, networks=NETWORKS) -> str:
    """Return the benchmark as Markdown."""
    splits = pd.read_csv(study.reports / "splits.csv")
    answers = load(study, splits, networks)
    runs = [run for run in networks if (publishers.reports / run / "validation.csv").exists()]
    table, accuracies = all_readers(study, publishers, networks, runs)
    run, chance = runs[-1], by_chance(answers.predicted, answers.labels)
    own, count = answers.f1(answers.probabilities[answers.best]), answers.shared.sum()
    doubts, doubted = doubts_section(answers)
    readers, even, fewer = checked_section(answers, publishers, run, table, splits)
    reached, most = reached_section(answers, run, noise(*accuracies[run]))
    gaps = {name: summary(three - two) for name, (two, three) in accuracies.items()}
    told = "; ".join(f"`{name}` {signed(each)}" for name, each in gaps.items())
    left = summary(most - own)
    tests = {  # what would have refuted the claim: whether it was found, and the numbers
        "shared errors no more frequent than by chance": (
            count <= chance["high"],
            f"{count} against {chance['value']:.1f}",
        ),
        "doubtful labels no more frequent among shared errors": (doubted["low"] <= 0, signed(doubted)),
        "bacteria and virus no easier to tell apart where a third expert checked the labels": (
            any(each["low"] <= 0 for each in gaps.values()),
            told,
        ),
        "the same, balanced by size": (even["low"] <= 0, signed(even)),
        "shared errors as frequent where a third expert checked the labels": (
            fewer["low"] <= 0,
            signed(fewer),
        ),
    }
    refuted = [f"- {'found' if found else 'not found'}: {words} ({n})" for words, (found, n) in tests.items()]
    parts = [errors_section(answers, chance), doubts, readers, reached]
    parts.append("## What would have refuted it\n\n" + "\n".join(refuted) + "\n")
    made = sum(found for found, _ in tests.values())
    verdict = f"Not shown: {made}" if made else "Probably: none"
    verdict += f" of the {len(tests)} findings that would refute it {'was' if made < 2 else 'were'} made"
    also = "beyond chance: it errs on other images too" if left["low"] > 0 else "within chance"
    two, three = (each[0] for each in accuracies[run])
    answer = (
        f"{verdict}. The networks share {count} errors on {len(answers.labels)} images, where chance gives "
        f"{chance['value']:.0f}. `{run}` tells bacteria from virus in {three:.1%} of the images whose labels "
        f"a third expert checked, but in {two:.1%} of the others. Were all of this difference wrong labels, "
        f"a perfect network would reach {with_interval(summary(most))} in weighted F1 on the patient split; "
        f"`{answers.names[answers.best]}` has {with_interval(summary(own))}, and the difference of "
        f"{signed(left)} is {also}. The publishers may also have chosen clearer images for their test: only "
        "new readings can decide."
    )
    title = f"# Is label noise the limit?\n\n**Answer.** {answer}\n\n"
    return f"{title}Output of `python benchmarks/labels.py`, which describes the method.\n\n" + "\n".join(
        parts
    )


def main() -> None:
    print(page(load_study(STUDY), load_study(PUBLISHERS)), end="")


if __name__ == "__main__":
    main()
