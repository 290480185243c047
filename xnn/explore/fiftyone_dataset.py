"""What a study's FiftyOne dataset holds; every function here needs fiftyone and a database."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .. import plots
from ..config.files import load_run, runs
from ..config.schema import Run, Study
from ..config.writing import whole
from ..data.records import load_images, load_records
from .exploration import load_audit

LARGEST = 10  # patients with the most images, in a view of their own
NAMES = ("patient", "sha256", "duplicate_group", "nearest_of_another_class")


def name(study: Study) -> str:
    """The dataset's name."""
    return f"xnn-{study.name}"


def make(study: Study, folder: Path, key: str):
    """Make the dataset anew, persistent, from records.csv, audit.csv and the runs that there are.

    Parameters
    ----------
    folder : for copies of the radiographs (JPEG), which the app shows.
    key : kept in its info, so that one can tell whether it is current.
    """
    import fiftyone as fo
    import fiftyone.brain as fob

    records, (audit, embedding) = load_records(study), load_audit(study)
    files = _pictures(load_images(study), records, folder)
    dataset = fo.Dataset(name(study), persistent=True, overwrite=True)
    for field in NAMES:  # also where no image has a value
        dataset.add_sample_field(field, fo.StringField)
    dataset.add_samples(_samples(study, records, audit, files), dynamic=True)
    fob.compute_uniqueness(dataset, embeddings=embedding)
    fob.compute_visualization(dataset, points=audit[["x", "y"]].to_numpy(), brain_key="embedding_map")
    for run in runs(study.name):
        _add_run(dataset, load_run(study.name, run))
    _save_views(dataset, audit)
    dataset.app_config = _looks(dataset)
    dataset.description = re.sub(r"[*`]", "", study._repr_markdown_())
    dataset.info["key"] = key
    dataset.save()
    return dataset


def sentence(dataset) -> str:
    """What a dataset holds, in words."""
    kinds = {"predictions": "run_", "heatmaps": "ig_raises_"}
    fields = {kind: [f for f in dataset.get_field_schema() if f.startswith(s)] for kind, s in kinds.items()}
    of = ", ".join(f"{kind} of {len(found)} runs" for kind, found in fields.items() if found)
    return (
        f"FiftyOne dataset `{dataset.name}`: {len(dataset):,} radiographs{f', {of}' if of else ''}; saved "
        f"views: {', '.join(dataset.list_saved_views())}."
    )


def _pictures(images, records: pd.DataFrame, folder: Path) -> list[str]:
    """Write each radiograph as a JPEG; FiftyOne shows files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        folder / f"{row:06d}-{sha[:12]}.jpg" for row, sha in zip(records.row, records.sha256, strict=True)
    ]
    for old in set(folder.iterdir()) - set(files):
        old.unlink()
    for file, row in zip(files, records.row, strict=True):
        if not file.exists():
            with whole(file) as partial:
                Image.fromarray(images[row]).save(partial, "JPEG", quality=90)
    return [str(file) for file in files]


def _samples(study: Study, records: pd.DataFrame, audit: pd.DataFrame, files: list[str]) -> list:
    """A sample a record."""
    import fiftyone as fo

    table = records.merge(audit, on="path", validate="one_to_one")
    table = table.assign(filepath=files).rename(columns={"other": "nearest_of_another_class"})
    side = study.image_size
    return [
        fo.Sample(
            filepath=r.filepath,
            metadata=fo.ImageMetadata(width=side, height=side, num_channels=1, mime_type="image/jpeg"),
            tags=[r.split],
            label=fo.Classification(label=r.label),
            guess=fo.Classification(label=r.guess, confidence=float(r.confidence)),
            file=r.path,
            split=r.split,
            patient_images=int(r.patient_images),
            file_width=int(r.width),
            file_height=int(r.height),
            file_bytes=int(r.bytes),
            cosine=float(r.cosine),
            label_quality=float(r.label_quality),
            suspect=bool(r.suspect),
            **{field: getattr(r, field) or None for field in NAMES},
        )
        for r in table.itertuples()
    ]


# ---- what runs add ---------------------------------------------------------------------------------


def _add_run(dataset, run: Run) -> None:
    """Predictions of the test and validation split, and the maps of the gallery, where a run has them."""
    import fiftyone as fo

    tables = [run.reports / file for file in ("predictions.csv", "validation.csv")]
    tables = [pd.read_csv(file, dtype={"patient": str}) for file in tables if file.exists()]
    if not tables:
        return
    table = pd.concat(tables).drop_duplicates("path").set_index("path")[run.study.classes]
    samples = dict(zip(dataset.values("file"), dataset.values("id"), strict=True))
    field = re.sub(r"\W", "_", run.name)
    known = table[table.index.isin(list(samples))]
    found = {
        samples[path]: fo.Classification(label=row.idxmax(), confidence=float(row.max()))
        for path, row in known.iterrows()
    }
    dataset.set_values(f"run_{field}", found, key_field="id")
    for path, signed in _maps(run).items():
        one = dataset[samples[path]]
        for side, part in (("raises", signed), ("lowers", -signed)):
            one[f"ig_{side}_{field}"] = fo.Heatmap(map=np.maximum(part, 0), range=[0, 1])
        one.save()


def _maps(run: Run) -> dict[str, np.ndarray]:
    """Path and signed map (-1 to 1) of the cases in a run's gallery: Integrated Gradients as shown there."""
    from ..explain import sample

    folder = run.reports / "gallery"
    data, sheet = folder / "data.js", folder / "integrated_gradients.webp"
    if not data.exists() or not sheet.exists():
        return {}
    shown = sample.draw(pd.read_csv(run.reports / "predictions.csv", dtype={"patient": str}), run)
    shown = shown[shown.shown]
    cases = json.loads(data.read_text().removeprefix("show(").removesuffix(");\n"))["cases"]
    said = [(case["label"], case["predicted"]) for case in cases]
    if said != list(zip(shown.label, shown.predicted, strict=True)):
        return {}  # of other predictions than those that there are now
    with Image.open(sheet) as picture:
        colour = np.asarray(picture.convert("RGBA")).astype(float)
    raises, lowers = (np.abs(colour[..., :3] - each).sum(axis=-1) for each in (plots.RAISES, plots.LOWERS))
    signed = np.where(raises < lowers, 1, -1) * colour[..., 3] / 255
    return dict(zip(shown.path, np.split(signed, len(shown), axis=1), strict=True))


# ---- views and looks -------------------------------------------------------------------------------


def _save_views(dataset, audit: pd.DataFrame) -> None:
    from fiftyone import ViewField

    where = ViewField
    close = audit.sort_values("cosine", ascending=False).head(50)
    nearest = [path for pair in zip(close.path, close.other, strict=True) for path in pair]
    counts = dataset.count_values("patient")
    most = sorted(counts, key=lambda patient: (-counts[patient], patient))[:LARGEST]
    largest = dataset.match(where("patient").is_in(most))
    views = {
        "near duplicates across classes": (
            dataset.select_by("file", list(dict.fromkeys(nearest)), ordered=True),
            "The images of two classes that are nearest to each other, beside each other",
        ),
        "suspected label errors": (
            dataset.match(where("suspect")).sort_by("label_quality"),
            "Those that cleanlab counts among the errors, the least likely label first",
        ),
        "largest patients": (
            largest.sort_by([("patient_images", -1), ("patient", 1)]),
            f"The {LARGEST} patients with the most images",
        ),
        "duplicates": (
            dataset.match(where("duplicate_group") != None).sort_by("duplicate_group"),  # noqa: E711
            "Images with one content, or one picture",
        ),
    }
    if maps := [field for field in dataset.get_field_schema() if field.startswith("ig_raises_")]:
        some = [where(field).exists() for field in maps]
        views["explained"] = (dataset.match(where.any(some)), "Radiographs with a heatmap of some run")
    for title, (view, description) in views.items():
        dataset.save_view(title, view, description=description)


def _looks(dataset):
    """Heatmaps in the report's green and red, as opaque as they are strong; labels in classes' colours."""
    import fiftyone as fo

    fields = list(dataset.get_field_schema())
    values = [{"value": label, "color": colour} for label, colour in plots.CLASS_COLOURS.items()]
    colours = {"raises": plots.RAISES, "lowers": plots.LOWERS}
    maps = [field for field in fields if field.startswith("ig_")]
    scheme = fo.ColorScheme(
        color_by="field",  # by value, the app would draw a map's weakest pixels as opaque as its strongest
        opacity=0.9,
        fields=[
            {"path": field, "colorByAttribute": "label", "valueColors": values}
            for field in fields
            if field in ("label", "guess") or field.startswith("run_")
        ]
        + [{"path": field, "fieldColor": to_hex(colours[field.split("_")[1]])} for field in maps],
    )
    run = maps[0].split("_", 2)[2] if maps else ""
    shown = ["label", "split"]
    shown += [f"run_{run}", f"ig_raises_{run}", f"ig_lowers_{run}"] if run else []
    return fo.DatasetAppConfig(color_scheme=scheme, active_fields=fo.ActiveFields(paths=shown))


def to_hex(colour) -> str:
    """#rrggbb of three numbers from 0 to 255."""
    return "#" + "".join(f"{part:02x}" for part in colour)
