"""Scores on the publishers' test split: a sweep of inputs and augmentation, and the report's networks.

Settings are chosen on validation; the test plays no part in the choice. Scores of a setting are means over
seeds, with 95 % intervals over patients and seeds; differences from the first setting are paired. Networks
have one seed each and differ in backbone, weights, trained layers and resolution. Nothing is trained: the
benchmark reads the results.

    python benchmarks/official.py --sweep official-inputs
"""

import argparse

import pandas as pd

from xnn import in_words, load_sweep
from xnn.config import files
from xnn.config.names import of_run
from xnn.config.schema import Study
from xnn.config.sweep import Sweep
from xnn.evaluation import seeds
from xnn.evaluation.comparison import by_validation, load_results, markdown, signed, with_interval

SCORES = ("accuracy_pneumonia", "specificity_pneumonia", "auroc_pneumonia", "accuracy")
MOVED = "specificity_pneumonia"


def measured(sweep: Sweep) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the settings of a sweep (best on validation first), their test scores, and the criterion.

    The columns are those of ``seeds.settings`` and of ``seeds.means``.
    """
    results = seeds.sweep_results(sweep)
    found = seeds.resampled(sweep.base_run.study, seeds.grouped(sweep, results))
    return seeds.settings(results), seeds.means(found, SCORES), results.attrs["criterion"]


def rows(settings: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting: seeds, scores on validation, test scores, and the change of specificity."""
    cells = means.assign(cell=means.apply(with_interval, axis=1))
    wide = cells.pivot(index="setting", columns="score", values="cell").loc[settings.index, [*SCORES]]
    moved = means[means.score == MOVED].set_index("setting").difference.map(signed)
    moved.iloc[0] = "-"  # the others are compared with the first
    columns = {"seeds": settings.seeds, "validation": settings.validation.map("{:.3f}".format)}
    columns["validation F1"] = settings.validation_f1.map("{:.3f}".format)
    table = pd.DataFrame(columns).join(wide.rename(columns=in_words))
    return table.assign(**{"change of specificity": moved}).rename_axis("setting").reset_index()


def changes(means: pd.DataFrame) -> str:
    """Return which settings change the specificity of the first one beyond chance, and by how much."""
    own = means[means.score == MOVED].set_index("setting").difference
    first, others = own.index[0], own.iloc[1:]
    real = others[others.map(lambda each: each["low"] > 0 or each["high"] < 0)]
    lines = [f"`{name}`: {signed(each)}" for name, each in real.items()]
    if chance := [f"`{name}`" for name in others.index.drop(real.index)]:
        lines.append(f"no measurable change: {', '.join(chance)}")
    return f"Specificity compared with `{first}`:\n\n" + "".join(f"- {line}\n" for line in lines)


def networks(study: Study) -> pd.DataFrame:
    """Return the report's networks that see whole radiographs, the best on validation first.

    Columns validation, and the entries of the test scores.
    """
    metrics, _ = load_results(study)
    order = by_validation(metrics)
    names = {run: of_run(files.load_run(study.name, run)) for run in order.index}
    scores = {run: {name: metrics[run]["scores"][name] for name in SCORES} for run in order.index}
    return order[["validation"]].join(pd.DataFrame.from_dict(scores, orient="index")).rename(index=names)


def how_far(settings: pd.DataFrame, means: pd.DataFrame, others: pd.DataFrame) -> str:
    """Return how far each score goes over settings and networks, and whether validation finds the best."""
    of_settings = means.pivot(index="setting", columns="score", values="value")[[*SCORES]]
    of_networks = others[[*SCORES]].map(lambda each: each["value"])
    test = pd.concat([of_settings, of_networks])
    validation = pd.concat([settings.validation, others.validation])
    best = test.agg(["max", "idxmax"]).T
    highest = "".join(
        f"- {in_words(name)}: {row['max']:.3f} ({row['idxmax']})\n" for name, row in best.iterrows()
    )
    ranks = test.corrwith(validation, method="spearman").map("{:+.2f}".format).rename(in_words)
    told = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
    return (
        f"How far does each score go? The highest of {len(test)} settings and networks, which no choice may "
        f"use, are:\n\n{highest}\nDoes validation find them? Spearman's correlation of the score that "
        f"chooses with each score on the test: {told}.\n"
    )


def shown(others: pd.DataFrame) -> pd.DataFrame:
    """Return `networks` for reading."""
    table = others[[*SCORES]].map(with_interval).rename(columns=in_words)
    table.insert(0, "validation", others.validation.map("{:.3f}".format))
    return table.rename_axis("network").reset_index()


def page(sweep: Sweep) -> str:
    """Return the benchmark as Markdown."""
    settings, means, criterion = measured(sweep)
    others, best = networks(files.load_study(sweep.study)), settings.index[0]
    own = means[means.setting == best].set_index("score").apply(with_interval, axis=1)
    scores = "".join(f"- {in_words(name)}: {own[name]}\n" for name in SCORES)
    return (
        f"# Which inputs change the scores on the publishers' own test?\n\n"
        f"The setting chosen by {criterion} is `{best}`:\n\n{scores}\n{changes(means)}\n"
        f"{how_far(settings, means, others)}\n"
        f"Output of `python benchmarks/official.py --sweep {sweep.name}`, which describes the method.\n\n"
        "Settings are in the order of validation. Scores are means over seeds, with 95 % intervals over "
        "patients and seeds (with a single seed, over patients).\n\n"
        f"{markdown(rows(settings, means))}\n"
        "## Networks of the report\n\nOne seed each, intervals over patients.\n\n"
        f"{markdown(shown(others))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweep", default="official-inputs")
    print(page(load_sweep(parser.parse_args().sweep)), end="")


if __name__ == "__main__":
    main()
