"""Scores on the publishers' test split: a sweep of inputs, backbones and sizes, each with several seeds.

Rows are described and chosen by validation; the test is read once. Scores are means over seeds, with 95 %
intervals over patients and seeds; differences from the first setting are paired. Nothing is trained: the
sweep's results are read.

    python benchmarks/official.py --sweep official-inputs
"""

import argparse

import pandas as pd

from xnn import load_sweep
from xnn.config.sweep import Sweep
from xnn.evaluation import seeds
from xnn.evaluation.comparison import markdown, with_interval

SCORES = {
    "accuracy_pneumonia": "accuracy, pneumonia",
    "specificity_pneumonia": "specificity",
    "auroc_pneumonia": "AUROC, pneumonia",
    "accuracy": "accuracy, three classes",
}
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
    moved = means[means.score == MOVED].set_index("setting").difference.map(with_interval)
    columns = {"seeds": settings.seeds, "validation": settings.validation.map("{:.3f}".format)}
    columns["validation F1"] = settings.validation_f1.map("{:.3f}".format)
    table = pd.DataFrame(columns).join(wide.rename(columns=SCORES))
    return table.assign(**{"change of specificity": moved}).rename_axis("setting").reset_index()


def paragraph(means: pd.DataFrame) -> str:
    """Return which settings change the specificity of the first one beyond chance, and by how much."""
    own = means[means.score == MOVED].set_index("setting").difference
    first, others = own.index[0], own.iloc[1:]
    real = others[others.map(lambda each: each["low"] > 0 or each["high"] < 0)]
    words = [f"`{name}` changes it by {with_interval(each)}" for name, each in real.items()]
    said = "; ".join(words) if words else "no setting changes it beyond chance"
    tail = " The others cannot be told from it." if words and len(real) < len(others) else ""
    return f"What moves the specificity of `{first}`: {said}.{tail}"


def page(sweep: Sweep) -> str:
    """Return the benchmark as Markdown."""
    settings, means, criterion = measured(sweep)
    best = settings.index[0]
    own = means[means.setting == best].set_index("score").apply(with_interval, axis=1)
    scores = ", ".join(f"{words} {own[name]}" for name, words in SCORES.items())
    return (
        f"# What moves the scores on the publishers' own test?\n\n"
        f"Chosen by {criterion}: `{best}`, with {scores}.\n\n{paragraph(means)}\n\n"
        f"Output of `python benchmarks/official.py --sweep {sweep.name}`, which describes the method.\n\n"
        "Best on validation first; means over seeds, 95 % intervals over patients and seeds (of one seed: "
        f"over patients). Changes are paired with `{means.setting.iloc[0]}`.\n\n"
        f"{markdown(rows(settings, means))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweep", default="official-inputs")
    print(page(load_sweep(parser.parse_args().sweep)), end="")


if __name__ == "__main__":
    main()
