"""Model cards in the form of the Hugging Face hub, with scores, intended use and limits."""

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..config.schema import Run, Study
from ..data.records import load_records
from ..evaluation.comparison import with_interval

USE = """
## Intended use

To repeat and question the results of a research report: {use}
It is no medical device and must not guide care.

## Limits

{limits}

## Results

{results}

{attribution}
"""
CLASSIFIER_LIMITS = """Fitted to {title}: {patients} patients of the training split, from one archive,
at {side} x {side} pixels.
It names one of {classes} for any image, also for one of another age, view, disease or body part. It may read
borders, markers and exposure rather than the lungs. It cannot know the patient, earlier images or the
laboratory. The app raises flags with limits measured on the validation split (benchmarks/flags.md), but was
not tested on other body parts, lateral views and adults.

The convolutions are rounded to float16 in the file; computation is in float32. Rounding changes the
predicted class of {changed} of {images} test images, and no probability by more than {largest:.4f}.
{far:.1%} of the test images are farther from the training images than 99 % of the validation images."""
LUNGS_LIMITS = """Fitted to masks that human annotators, not radiologists, drew on {title}.
They include most of the heart and the lung behind the diaphragm where it is seen. On other ages and views it
was not tested."""
LUNGS = """# Lung segmenter of study {study}

A small U-Net from a grey radiograph, resized to 112 x 112 pixels and standardised, to the lungs:
`xnn.models.segmenter.segment(Segmenter.from_pretrained("."), images)`.
"""
MASKS = (
    "Lung masks: V7 Labs, COVID-19 X-ray dataset, https://github.com/v7labs/covid-19-xray-dataset, CC BY 4.0."
)


def of_run(run: Run, text: str, metrics: dict, shipped: dict) -> ModelCard:
    """Return the card of a run's shipped model: the `text` of the trained one's, use, limits and results."""
    study = run.study
    records = load_records(study)
    limits = CLASSIFIER_LIMITS.format(
        title=study.title,
        patients=records.patient[records.split == "train"].nunique(),
        side=run.model.image_size or study.image_size,
        classes=", ".join(study.classes),
        far=shipped["far_test_images"],
        **shipped["rounding"],
    )
    use = "what such a network answers, and where its evidence lies."
    where = f"test split, {metrics['n']} images of {metrics['patients']} patients"
    known = {name: each for name, each in metrics["scores"].items() if each["value"] is not None}
    tags = ["image-classification", "chest-radiograph"]
    return _card(study, shipped["id"], tags, text, (use, limits, where, known, study.archive.attribution))


def of_lungs(study: Study, found: dict) -> ModelCard:
    """Return the card of a study's lung segmenter, given the results of its page."""
    limits, use = LUNGS_LIMITS.format(title=study.title), "where the lungs of a radiograph are."
    where = f"test split, {found['n']} images of {found['patients']} patients"
    known = {"dice" if name == "all" else f"dice_{name}": each for name, each in found["dice"].items()}
    text = LUNGS.format(study=study.name)
    credit = f"{study.archive.attribution}\n\n{'' if study.synthetic else MASKS}"
    name, tags = f"{study.name}/lungs", ["image-segmentation", "chest-radiograph"]
    return _card(study, name, tags, text, (use, limits, where, known, credit))


def _card(study: Study, name: str, tags: list[str], text: str, parts) -> ModelCard:
    """Return a card in the form of the Hugging Face hub, whose `model-index` holds scores with intervals."""
    use, limits, where, scores, credit = parts
    dataset = {"dataset_type": study.name, "dataset_name": study.title, "dataset_split": "test"}
    results = [
        EvalResult(
            task_type=tags[0],
            metric_type=metric,
            metric_value=each["value"],
            metric_args=None
            if each["low"] is None
            else {"interval": 0.95, "low": each["low"], "high": each["high"]},
            **dataset,
        )
        for metric, each in scores.items()
    ]
    data = ModelCardData(license="mit", library_name="xnn", tags=tags, model_name=name, eval_results=results)
    rows = "\n".join(f"| {metric} | {with_interval(each)} |" for metric, each in scores.items())
    table = f"{where}; 95 % intervals by bootstrap over patients.\n\n| score | value |\n| --- | --- |\n{rows}"
    end = USE.format(use=use, limits=limits, results=table, attribution=credit)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n{text.strip()}\n{end}")
