"""Shortcuts: how well features that are not the disease predict it, and the errors of a network."""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from ..config import files
from ..config.names import in_words
from ..config.schema import Run, Study
from .comparison import by_validation, read_results, recipe, with_interval
from .intervals import all_and_resampled, metrics, summary
from .predictions import predictions_table, read
from .scoring import auroc, mean

GRID = ("auroc_pneumonia", "f1_weighted")  # of networks on parts
SMALL_CHANGES = ("noise, sd 3", "blur, sigma 1 px", "JPEG, quality 75")  # the names in regions.json
ACCURACY = "Accuracy; higher is better"
CHANGED, WITHOUT = "Share of answers changed; lower is better", "Score with and without the lungs"
INPUTS = {"whole": "whole image", "lungs_removed": "without the lungs"}
TREES = {"trees_size": "trees on width, height and aspect", "trees": "trees on all features"}
NUMBER = r"[-_]?\d+$"  # at the end of a patient's name


def shortcuts(study: Study, records: pd.DataFrame, features: pd.DataFrame, resamples=2000) -> dict:
    """Return the content of shortcuts.json: what each feature, and trees on all, tell of the test split.

    ``features`` has a row per record. A feature alone ranks images by its value, in the direction that is
    right on the training split. trees: boosted trees that are fitted to the training split, on all features
    and on those of size.
    """
    train, test = (records.split == name for name in ("train", "test"))
    ill = (records.label != study.healthy).to_numpy()
    weights = all_and_resampled(records.patient[test], resamples, study.seed)
    alone = {}
    for name, values in features.items() if study.healthy in study.classes else ():
        values = values.to_numpy()
        sign = 1 if auroc(ill[train], values[train], np.ones((1, train.sum())))[0] >= 0.5 else -1
        found = summary(auroc(ill[test], sign * values[test], weights))
        alone[name] = {"auroc_pneumonia": found, "higher_in": "pneumonia" if sign > 0 else study.healthy}
    columns = {"trees": list(features), "trees_size": ["width", "height", "aspect"]}
    trees = {name: _trees(study, records, features[used], resamples) for name, used in columns.items()}
    sizes = {"n": int(test.sum()), "patients": int(records.patient[test].nunique())}
    return {"study": study.name, **sizes, "features": alone, **trees}


def by_feature(found: dict, scores: dict, run: str) -> pd.DataFrame:
    """Return a score of each feature, of trees, and of a run: columns run, value, low and high.

    The score, ``attrs["score"]``, is the AUROC of pneumonia, or the weighted F1 without a healthy class.
    """
    score = "auroc_pneumonia" if found["features"] else "f1_weighted"
    each = {name.replace("_", " "): feature[score] for name, feature in found["features"].items()}
    each |= {words: found[name][score] for name, words in TREES.items()} | {run: scores[score]}
    table = pd.DataFrame([{"run": name, **limits} for name, limits in each.items()])
    table.attrs["score"] = in_words(score)
    return table


def beside(found: dict, scores: dict, run: str) -> pd.DataFrame:
    """Return the table of shortcuts as it is read, with the scores of a run beside them."""
    table = by_feature(found, scores, run)
    f1 = {words: found[name]["f1_weighted"] for name, words in TREES.items()} | {run: scores["f1_weighted"]}
    columns = {
        table.attrs["score"]: table.set_index("run").apply(with_interval, axis=1),
        "f1 weighted": pd.Series(f1).map(with_interval),
        "higher in": pd.Series(
            {name.replace("_", " "): a["higher_in"] for name, a in found["features"].items()}
        ),
    }
    return pd.DataFrame(columns).reindex(table.run).fillna("")


def sentence(found: dict, scores: dict, run: str) -> str:
    """Return what the shortcuts reach, beside a run."""
    table = by_feature(found, scores, run)
    words = dict(zip(table.run, table[["value", "low", "high"]].to_dict("records"), strict=True))
    alone = table[table.run.isin([name.replace("_", " ") for name in found["features"]])]
    best = ""
    if len(alone):
        name = alone.run[alone.value.idxmax()]
        best = f" The best single feature, {name}, scores {with_interval(words[name])}."
    return (
        f"From the width, height and aspect of the originals alone, boosted trees score "
        f"{with_interval(words[TREES['trees_size']])} in {table.attrs['score']}; `{run}` scores "
        f"{with_interval(words[run])}.{best}"
    )


def _trees(study: Study, records: pd.DataFrame, features: pd.DataFrame, resamples: int) -> dict:
    """Return f1_weighted and, if there is a healthy class, auroc_pneumonia of trees on some features."""
    train, test = records.split == "train", records.split == "test"
    trees = HistGradientBoostingClassifier(random_state=study.seed)
    trees.fit(features[train].to_numpy(), records.label[train])
    found = pd.DataFrame(trees.predict_proba(features[test].to_numpy()), columns=trees.classes_)
    predictions = predictions_table(records[test], found[study.classes].to_numpy(), study.classes)
    scores = metrics(predictions, study.classes, "test", resamples, study.seed)["scores"]
    kept = {name: scores[name] for name in ("f1_weighted", "auroc_pneumonia") if name in scores}
    return kept | {"features": list(features.columns)}


def region_grid(study: Study, score: str = "auroc_pneumonia") -> pd.DataFrame:
    """Return a score of every run with a region test, on each input: a row per run, whole ones first.

    The column "trained on" says what part the run was given in training. No rows without such runs.
    """
    rows = {}
    for name, found in read_results(study, "regions.json", files.runs(study.name)).items():
        scores = {key.replace("_", " "): each.get(score) for key, each in found["inputs"].items()}
        region = files.load_run(study.name, name).model.region.replace("_", " ")
        rows[name] = {"trained on": region} | {
            key: with_interval(each) for key, each in scores.items() if each
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    return table.sort_values("trained on", key=lambda each: each != "whole", kind="stable") if rows else table


def three_sides(study: Study) -> dict[str, pd.DataFrame]:
    """Return accuracy, robustness and use of the lungs of every run with a region test, chosen run first.

    Tables by what they measure with the columns run, kind, value, low and high, as ``plots.panels_of_runs``
    takes them: accuracy; the share of answers changed by each of `SMALL_CHANGES`; a score with and without
    the lungs. Empty without such runs.
    """
    metrics, tested = (read_results(study, name) for name in ("metrics.json", "regions.json"))
    rows = {ACCURACY: [], CHANGED: [], WITHOUT: []}
    for run in by_validation({run: each for run, each in metrics.items() if run in tested}).index:
        changes = {each["change"]: each["changed"] for each in tested[run]["changes"]}
        score = next(name for name in GRID if name in tested[run]["inputs"]["whole"])
        inputs = {words: tested[run]["inputs"][key][score] for key, words in INPUTS.items()}
        rows[ACCURACY] += [(run, "test split", metrics[run]["scores"]["accuracy"])]
        rows[CHANGED] += [(run, name, changes[name]) for name in SMALL_CHANGES if name in changes]
        rows[WITHOUT] += [(run, f"{in_words(score)}, {words}", each) for words, each in inputs.items()]
    return {
        label: pd.DataFrame([{"run": run, "kind": kind, **each} for run, kind, each in found])
        for label, found in rows.items()
        if found
    }


def trained_on_parts(study: Study) -> list[str]:
    """Return the scores of recipes that were trained and tested on whole radiographs and on parts of them.

    A text for each such recipe.
    """
    recipes = {}
    for name, found in read_results(study, "regions.json", files.runs(study.name)).items():
        run = files.load_run(study.name, name)
        own = found["inputs"].get(run.model.region, {})  # nothing of a region that is not a part
        if own:
            recipes.setdefault(recipe(run, "model.region"), {})[run.model.region] = own
    return [
        "The same recipe, trained and tested on different inputs. "
        + " ".join(_by_input(arms, score) for score in GRID if score in arms["whole"])
        for arms in recipes.values()
        if "whole" in arms and len(arms) > 1
    ]


def _by_input(arms: dict[str, dict], score: str) -> str:
    whole_first = sorted(arms.items(), key=lambda arm: arm[0] != "whole")
    told = (f"{region.replace('_', ' ')} {with_interval(own[score])}" for region, own in whole_first)
    words = in_words(score)
    return f"{words[0].upper()}{words[1:]}: {', '.join(told)}."


def between_parts(
    study: Study, records: pd.DataFrame, features: pd.DataFrame, resamples=2000
) -> pd.DataFrame:
    """Return how far the publishers' test part differs from their training part, for each class and feature.

    Columns class, feature, value, low, high: the AUROC of a higher value for the test part, 0.5 if they are
    alike. No rows if the source has no parts of its own.
    """
    rows = []
    for label in study.classes:
        chosen = ((records.label == label) & records.source_split.isin(("train", "test"))).to_numpy()
        of_test = (records.source_split[chosen] == "test").to_numpy()
        if of_test.any() and not of_test.all():
            weights = all_and_resampled(records.patient[chosen], resamples, study.seed)
            rows += [
                {
                    "class": label,
                    "feature": name,
                    **summary(auroc(of_test, values.to_numpy()[chosen], weights)),
                }
                for name, values in features.items()
            ]
    return pd.DataFrame(rows, columns=["class", "feature", "value", "low", "high"])


def of_false_alarms(run: Run, records: pd.DataFrame, features: pd.DataFrame, resamples=2000) -> pd.DataFrame:
    """Return how well each feature tells which healthy test images a network calls ill.

    Columns feature, value, low, high, alarms, healthy: the AUROC of a lower value for a false alarm. No rows
    without false alarms.
    """
    study = run.study
    table = read(run.reports / "predictions.csv").set_index("path")
    columns = ["feature", "value", "low", "high", "alarms", "healthy"]
    if study.healthy not in study.classes:
        return pd.DataFrame(columns=columns)
    rows = np.flatnonzero((records.label == study.healthy) & records.path.isin(table.index))
    predicted = table.loc[records.path.iloc[rows], study.classes].to_numpy().argmax(axis=1)
    alarm = predicted != study.classes.index(study.healthy)
    found = []
    if alarm.any() and not alarm.all():
        weights = all_and_resampled(records.patient.iloc[rows], resamples, study.seed)
        found = [
            {"feature": name, **summary(auroc(alarm, -values.to_numpy()[rows], weights))}
            for name, values in features.items()
        ]
    return pd.DataFrame(found, columns=columns).assign(alarms=alarm.sum(), healthy=len(alarm))


def subgroups(run: Run, records: pd.DataFrame, resamples=2000) -> pd.DataFrame:
    """Return the recall of each class in each subgroup that file names and folders give.

    The recall of the healthy class is the specificity. Columns group, class, n, patients, value, low, high.
    Groups: how the file name begins (``IM``, ``NORMAL2-IM``), and the publishers' own part.
    """
    study = run.study
    table = read(run.reports / "predictions.csv").merge(records[["path", "source_split"]], on="path")
    predicted = np.array(study.classes)[table[study.classes].to_numpy().argmax(axis=1)]
    table["right"] = predicted == table.label
    begins = "file name begins with " + table.patient.str.replace(NUMBER, "", regex=True)
    keys = [begins]
    if (table.source_split != "").any():
        keys.append("publishers' " + table.source_split + " part")
    rows = []
    for key in keys:
        for (label, group), each in table.groupby(["label", key]):
            found = summary(
                mean(each.right.to_numpy(), all_and_resampled(each.patient, resamples, study.seed))
            )
            sizes = {"n": len(each), "patients": each.patient.nunique()}
            rows.append({"class": label, "group": group, **sizes, **found})
    return pd.DataFrame(rows)
