"""Scores on the publishers' test split: a sweep of inputs and augmentation, with several seeds per setting.

Settings are chosen on validation; the test plays no part in the choice. Scores are means over seeds, with
95 % intervals over patients and seeds; differences from the first setting are paired. Nothing is trained:
the benchmark reads the results of the sweep.

    python benchmarks/official.py --sweep official-inputs
"""

import argparse

import pandas as pd

from xnn import in_words, load_sweep
from xnn.config.sweep import Sweep
from xnn.evaluation import seeds
from xnn.evaluation.comparison import markdown, signed, with_interval

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


def page(sweep: Sweep) -> str:
    """Return the benchmark as Markdown."""
    settings, means, criterion = measured(sweep)
    best = settings.index[0]
    own = means[means.setting == best].set_index("score").apply(with_interval, axis=1)
    scores = "".join(f"- {in_words(name)}: {own[name]}\n" for name in SCORES)
    return (
        f"# Which inputs change the scores on the publishers' own test?\n\n"
        f"The setting chosen by {criterion} is `{best}`:\n\n{scores}\n{changes(means)}\n"
        f"Output of `python benchmarks/official.py --sweep {sweep.name}`, which describes the method.\n\n"
        "Settings are in the order of validation. Scores are means over seeds, with 95 % intervals over "
        "patients and seeds (with a single seed, over patients).\n\n"
        f"{markdown(rows(settings, means))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweep", default="official-inputs")
    print(page(load_sweep(parser.parse_args().sweep)), end="")


if __name__ == "__main__":
    main()
