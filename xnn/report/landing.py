"""What the landing page says, computed from the results when the site is made."""

import json
from pathlib import Path

import pandas as pd
import yaml

from ..config import files, names
from ..config.provenance import read_json
from ..config.schema import Study, root
from ..evaluation import comparison, seeds

TITLE = "Explainable neural networks on chest radiographs"
CHOSEN_BY = ("validation", "validation F1")
SCORES = ("f1_weighted", "auroc_pneumonia")


def main_study() -> Study | None:
    """Return the study that the page is about: compared with others, or any other that has results."""
    studies = map(files.load_study, files.studies())
    made = [study for study in studies if comparison.read_results(study, "metrics.json")]
    return max(made, key=lambda study: len(study.compare_with), default=None)


def shown_scores(metrics: dict) -> list[str]:
    """Return the names of the scores that are shown: a study of other classes has no pneumonia."""
    return [name for name in SCORES if name in metrics["scores"]]


def ranked(study: Study) -> pd.DataFrame:
    """Return the networks of a study, best on validation first, seeds averaged.

    Columns: validation and validation_f1 (means, as from `comparison.by_validation`, with its ``attrs``), and
    runs (list), the best first.
    """
    chosen = comparison.by_validation(comparison.read_results(study, "metrics.json"))
    alike = {run: first for first, runs in seeds.alike(study, chosen.index).items() for run in runs}
    table = chosen.reset_index()
    table["setting"] = table.run.map(lambda run: alike.get(run, run))
    found = seeds.settings(table)
    found.attrs = chosen.attrs
    return found


def parts(folder: Path) -> dict[str, str]:
    """Return the generated parts of the landing page by their names there; write its figure to `folder`."""
    own = {
        "start": start(),
        "cite": cite(),
        "credit": "{title}, {version}, {license}".format(**_citation() | {"title": "xnn"}),
    }
    if not (study := main_study()):
        said = "No study has results yet: run `make report`."
        return own | {"finding": TITLE, "lungs": "", "good": said, "trust": said, "rows": said}
    networks = ranked(study)
    best = networks.runs.iloc[0][0]
    metrics = comparison.read_results(study, "metrics.json")
    forest(study, metrics[best], folder / "published.svg")
    return own | {
        "finding": finding(study, best),
        "lungs": lungs(study, best, folder / "lungs.svg"),
        "good": good(study, metrics[best], networks.attrs["criterion"]),
        "trust": trust(study, best),
        "rows": rows(study, networks.head(5), metrics),
    }


def finding(study: Study, run: str) -> str:
    """Return the headline: what a network loses with the lungs."""
    tested = read_json(study.reports / run / "regions.json")
    if tested is None or "auroc_pneumonia" not in tested["inputs"]["whole"]:
        return TITLE
    whole, gone = (tested["inputs"][name]["auroc_pneumonia"]["value"] for name in ("whole", "lungs_removed"))
    kept = "almost as well" if gone - 0.5 > 0.9 * (whole - 0.5) else "less well"
    return f"Without the lungs, a network detects pneumonia {kept}: AUROC {gone:.3f} instead of {whole:.3f}"


def lungs(study: Study, run: str, target: Path) -> str:
    """Return a figure of a network's score with parts removed, drawn to a width that a phone can show."""
    if not (tested := read_json(study.reports / run / "regions.json")):
        return ""
    score = next(name for name in SCORES[::-1] if name in tested["inputs"]["whole"])
    tables = {
        fill: pd.DataFrame([{"input": part, **scores[score]} for part, scores in tested[key].items()])
        for fill, key in (("mean", "inputs"), ("inpainted", "inpainted"))
    }
    from .. import plots  # seaborn takes two seconds to import

    figure = plots.region_scores(tables, names.in_words(score))
    figure.set_size_inches(3.9, 3.4)
    (axes,) = figure.axes
    axes.set_title("")
    axes.get_legend().remove()
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    _save(figure, target)
    folder = f"reports/{study.name}/{run}"
    masks = "" if study.synthetic else " Lung masks: V7 Labs, CC BY 4.0."
    return (
        f"![{names.in_words(score)} on test radiographs with a part removed, filled with mean grey or "
        "inpainted; 95 % intervals over patients. "
        f"[How this was measured]({folder}/4-regions.ipynb#scores-without-the-part-2), "
        f"[numbers]({folder}/regions.json).{masks}](pages/{target.name})"
        '{fig-alt="Scores of the network without the lungs, and with nothing else." width=468}'
    )


def good(study: Study, metrics: dict, criterion: str) -> str:
    """Return how good the chosen network is, here and on the split that others published numbers for."""
    run = files.load_run(study.name, metrics["run"])
    scores = [
        f"- {names.in_words(each)}: **{comparison.with_interval(metrics['scores'][each])}**"
        for each in shown_scores(metrics)
    ]
    kind = "**Synthetic data: drawn phantoms.** " if study.synthetic else ""
    lines = [
        f"{kind}[{names.of_run(run)}](reports/{study.name}/{run.name}/4-evaluate.ipynb), chosen by "
        f"{criterion}, on {metrics['n']} test radiographs of {metrics['patients']} patients:\n",
        *scores,
    ]
    for other in map(files.load_study, study.compare_with):
        if known := [each for each in other.published if each.auroc and each.task == "pneumonia"]:
            ours = comparison.with_interval(_chosen(other)["scores"]["auroc_pneumonia"])
            first, top = known[0], max(known, key=lambda each: each.auroc)
            lines.append(
                f"- [{names.of_study(other)}](reports/{other.name}/7-protocol.ipynb): AUROC **{ours}**; "
                f"{first.source}: {first.auroc:.3f}; best published ({top.source}): {top.auroc:.3f}"
            )
    return "\n".join(lines)


def forest(study: Study, metrics: dict, target: Path) -> None:
    """Draw the AUROC of the chosen networks beside those that others published."""
    score = shown_scores(metrics)[-1]
    rows = [{"run": f"this report, {names.of_study(study).lower()}", **metrics["scores"][score]}]
    for other in map(files.load_study, study.compare_with):
        known = [each for each in other.published if each.auroc and each.task == "pneumonia"]
        if known:
            ours = _chosen(other)["scores"]["auroc_pneumonia"]
            rows.append({"run": f"this report, {names.of_study(other).lower()}", **ours})
        rows += [
            {"run": f"{each.source}, {each.differs.split(',')[0].split(';')[0]}", "value": each.auroc}
            for each in sorted(known, key=lambda each: -each.auroc)
        ]
    from .. import plots  # seaborn takes two seconds to import

    figure = plots.beside_published(pd.DataFrame(rows), names.in_words(score))
    _save(figure, target, bbox_inches="tight")


def _save(figure, target: Path, **options) -> None:
    """Write a figure; one that is drawn again has the same bytes."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": target.stem}):
        figure.savefig(target, metadata={"Date": None}, **options)


def _chosen(study: Study) -> dict:
    """The metrics of a study's best run by validation."""
    return read_json(study.reports / ranked(study).runs.iloc[0][0] / "metrics.json")


def trust(study: Study, best: str) -> str:
    """Return what the measures of all explanations say, and what the network can do without the lungs."""
    explained = comparison.explanations(study)
    if not {*comparison.MEASURES} <= {*explained}:
        return "No run is explained yet."
    shown = best if best in explained.index else explained.index[0]
    most = (explained[[*comparison.MEASURES]] == "better").sum().max()
    verdict = "Partly" if most > len(explained) / 2 else "Hardly" if most else "No"
    complete = (explained.complete * explained.explained).sum() / explained.explained.sum()
    beaten = comparison.against_controls(explained)
    beaten = beaten.replace("control", "[control](pages/glossary.qmd#control)", 1)
    lines = [
        f"**{verdict}.** {complete:.0%} of {explained.explained.sum()} Integrated Gradients are "
        "[complete](pages/glossary.qmd#completeness).\n",
        f"- Image by image, they {beaten}. "
        f"[What each supports](reports/{study.name}/{shown}/5-explain.ipynb).",
    ]
    shortcuts = read_json(study.reports / "shortcuts.json") or {}
    if sizes := shortcuts.get("trees_size", {}).get("auroc_pneumonia"):
        reached = f"[{comparison.with_interval(sizes)}](reports/{study.name}/7-protocol.ipynb)"
        lines.append(
            f"- A map cannot show that width, height and aspect of the file alone have an AUROC of {reached}."
        )
    return "\n".join(lines)


def rows(study: Study, networks: pd.DataFrame, metrics: dict[str, dict]) -> str:
    """Return the best networks as a Markdown table, a row each, averaged over seeds."""
    shown = shown_scores(metrics[networks.runs.iloc[0][0]])
    titles = ["network", "seeds", *CHOSEN_BY, *map(names.in_words, shown)]
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for row in networks.itertuples():
        scores = [
            {key: sum(metrics[run]["scores"][name][key] for run in row.runs) / len(row.runs) for key in each}
            for name in shown
            for each in [metrics[row.runs[0]]["scores"][name]]
        ]
        name = names.of_run(files.load_run(study.name, row.runs[0]), seed=False)
        cells = [f"[{name}](reports/{study.name}/{row.runs[0]}/4-evaluate.ipynb)", str(len(row.runs))]
        scored = map(comparison.with_interval, scores)
        cells += [f"{row.validation:.3f}", f"{row.validation_f1:.3f}", *scored]
        lines.append(f"| {' | '.join(cells)} |")
    caption = (
        f": {names.of_study(study)}: test scores of the networks that validation prefers, by "
        f"{networks.attrs['criterion']}, with 95 % intervals over patients. Scores and limits are means over "
        f"seeds. [All networks](reports/{study.name}/6-compare.ipynb) "
        f"([CSV](reports/{study.name}/results.csv))."
    )
    return "\n".join([*lines, "", caption])


def start() -> str:
    """Return the first line of a rerun: a clone of the repository if CITATION.cff has its address."""
    address = _citation().get("repository-code")
    return f"git clone {address} xnn && cd xnn" if address else "# in the folder of this project"


def cite() -> str:
    """Return the citation as BibTeX."""
    known = _citation()
    fields = {
        "title": known["title"],
        "author": " and ".join(
            each.get("name") or f"{each['family-names']}, {each['given-names']}" for each in known["authors"]
        ),
        "version": known["version"],
        "year": str(known.get("date-released", ""))[:4],
        "url": known.get("repository-code", ""),
    }
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@software{{xnn,\n{body}\n}}"


def _citation() -> dict:
    return yaml.safe_load((root() / "CITATION.cff").read_text())


def galleries(folder: Path) -> str:
    """Return the script that lists the runs with a gallery and their names, the main study's best first."""
    study, found = main_study(), []
    best = [study.reports / run for runs in ranked(study).runs for run in runs] if study else []
    for file in sorted(folder.glob("reports/*/*/gallery/data.js")):
        run = files.load_run(*file.relative_to(folder).parts[1:3])
        name = f"{names.of_run(run)} ({names.of_study(run.study).lower()})"
        rank = best.index(run.reports) if run.reports in best else len(best)
        found.append([rank, file.parent.relative_to(folder).as_posix(), name])
    return f"list({json.dumps([each[1:] for each in sorted(found)])});\n"
