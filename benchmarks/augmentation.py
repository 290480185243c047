"""Cost of each random change of a view, on one core.

    python benchmarks/augmentation.py [--images 150]

Each change alone, then all of them as a run gets them by default and as the robust runs do: milliseconds of
processor time per phantom of 224 x 224 pixels, the best of five passes.
"""

import argparse
import time

import pandas as pd
import torch

from xnn.config.schema import Augmentation
from xnn.data import phantom
from xnn.evaluation import comparison
from xnn.training.batches import augmentation

SIZE = 224
NONE = {"crop": 1, "degrees": 0, "jitter": 0, "flip": 0}
ROBUST = {"aspect": 1.5, "low_pass": 0.5, "noise": 6, "gamma": 0.2, "recompress": 0.3}
ALONE = {
    **{"degrees": 10, "crop": 0.75, "flip": 0.5, "jitter": 0.25},
    **{"gamma": 0.2, "low_pass": 1, "noise": 6, "recompress": 1},
}


def milliseconds(values: dict, images: list[torch.Tensor]) -> float:
    """Return the processor time per image."""
    transform, passes = augmentation(Augmentation(**values), SIZE), []
    for _ in range(5):
        torch.manual_seed(0)
        began = time.process_time()
        for image in images:
            transform(image)
        passes.append(time.process_time() - began)
    return 1000 * min(passes) / len(images)


def answer(table: pd.DataFrame) -> str:
    default, robust = table["ms per image"].iloc[-2:]
    return f"A view takes {default} ms with the default augmentation and {robust} ms with the robust one."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=150)
    count = parser.parse_args().images
    torch.set_num_threads(1)
    drawn = [phantom.draw("virus", patient, 0, SIZE, seed=0).image for patient in range(count)]
    images = [torch.from_numpy(image).unsqueeze(0) for image in drawn]
    arms = {f"{name}: {value}": NONE | {name: value} for name, value in ALONE.items()}
    arms |= {"default": {}, f"robust: {', '.join(f'{k} {v}' for k, v in ROBUST.items())}": ROBUST}
    costs = [(name, round(milliseconds(values, images), 2)) for name, values in arms.items()]
    table = pd.DataFrame(costs, columns=["augmentation", "ms per image"])
    print(f"# Cost of each random change of a view\n\n{answer(table)}\n")
    print(f"{count} images, torch {torch.__version__}, one thread\n")
    print(comparison.markdown(table))


if __name__ == "__main__":
    main()
