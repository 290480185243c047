"""The recipe that a network is trained by: loss, optimiser, schedule, averaging, and what is kept."""

from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torchmetrics.classification import MulticlassF1Score

from ..config.schema import Run
from ..models.classifier import Classifier
from .batches import Radiographs, mix

PLATEAU = {"factor": 0.2, "patience": 2}  # of ReduceLROnPlateau, epochs


class Learner(pl.LightningModule):
    """Loss, metric and optimiser of a run around its classifier.

    With `first`, batches hold what the layers before that one made of the images. The validation F1 is
    weighted by class and computed once over the whole split: an average over batches would depend on
    their size and order.
    """

    def __init__(
        self, model: Classifier, run: Run, class_weights: torch.Tensor | None = None, first: int = 0
    ):
        super().__init__()
        self.model, self.recipe, self.seed, self.first = model, run.training, run.seed, first
        self.loss = nn.CrossEntropyLoss(class_weights, label_smoothing=run.training.label_smoothing)
        self.val_loss = nn.CrossEntropyLoss(class_weights)
        self.val_f1 = MulticlassF1Score(len(model.classes), average="weighted")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.model.between(channels_last(inputs), self.first)

    def on_train_epoch_start(self):
        # Dropout draws from the global generator: seeded for each epoch, a training that goes on
        # after an interruption equals one that was never interrupted.
        torch.manual_seed(mix(self.seed, self.current_epoch))

    def training_step(self, batch, _):
        inputs, labels = batch
        loss = self._mixed(inputs, labels) if self.recipe.mixup else self.loss(self(inputs), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def _mixed(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of mix-up (Zhang et al. 2018): each input blended with another one, its label as much."""
        alpha = torch.tensor(self.recipe.mixup)
        share = torch.distributions.Beta(alpha, alpha).sample().item()
        others = torch.randperm(len(inputs), device=inputs.device)
        logits = self(share * inputs + (1 - share) * inputs[others])
        return share * self.loss(logits, labels) + (1 - share) * self.loss(logits, labels[others])

    def validation_step(self, batch, _):
        inputs, labels = batch
        logits = self(inputs).float()
        self.val_f1.update(logits, labels)
        self.log("val_loss", self.val_loss(logits, labels), on_epoch=True, batch_size=len(labels))
        self.log("val_f1", self.val_f1)

    def configure_optimizers(self):
        trained = [p for p in self.parameters() if p.requires_grad]
        recipe = self.recipe
        optimizer = torch.optim.AdamW(trained, recipe.learning_rate, weight_decay=recipe.weight_decay)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler
        if recipe.schedule == "plateau":
            return optimizer  # the callback below lowers its rate
        if recipe.schedule == "cosine":
            schedule = scheduler.CosineAnnealingLR(optimizer, steps)
        else:
            schedule = scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """The memory format that convolutions on a CPU and in bf16 are fastest in."""
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


class Plateau(pl.Callback):
    """Lowers the learning rate when the validation loss no longer falls, and survives an interruption.

    Lightning would step the scheduler only after the epoch's checkpoint is written, so a training
    that goes on from there would miss one step.
    """

    def __init__(self):
        self.scheduler, self.state = None, {}

    def on_train_start(self, trainer, learner):
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizers[0], **PLATEAU)
        self.scheduler.load_state_dict(self.state)

    def on_train_epoch_end(self, trainer, learner):
        self.scheduler.step(float(trainer.callback_metrics["val_loss"]))

    def state_dict(self):
        return self.scheduler.state_dict()

    def load_state_dict(self, state):
        self.state = state


def callbacks(run: Run, folder: Path) -> list[pl.Callback]:
    """What decides, beside the Learner, which weights a training ends with; checkpoints go to `folder`."""
    recipe = run.training
    found = [ModelCheckpoint(folder, "best", monitor="val_f1", mode="max", save_on_train_epoch_end=True)]
    if recipe.schedule == "plateau":
        found.append(Plateau())
    if recipe.early_stopping:
        found.append(EarlyStopping("val_f1", mode="max", patience=recipe.early_stopping))
    if recipe.average:
        found.append(EMAWeightAveraging(decay=recipe.average))
    return found


def class_weights(run: Run, data: Radiographs) -> torch.Tensor | None:
    """(C,) weights inverse to the classes' shares of the training split, mean 1 over its images.

    As scikit-learn's "balanced": N / (C * n_c).
    """
    if not run.training.class_weights:
        return None
    counts = data.part("train").label.value_counts()[run.study.classes].to_numpy()
    return torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)


def precision(run: Run) -> str:
    """Lightning's name of the run's precision: bf16 where asked for, or where the device is fast at it."""
    asked = run.training.precision
    if asked != "auto":
        return {"32": "32-true", "bf16": "bf16-mixed"}[asked]
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if fast else "32-true"
