"""The training recipe: loss, optimiser, schedule, weight averaging, early stopping, precision."""

import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torchmetrics.classification import MulticlassF1Score

from ..config.schema import ParameterError, Run
from ..models.classifier import Classifier, channels_last
from .batches import Radiographs, combined_seed

PLATEAU = {"factor": 0.2, "patience": 2}  # of ReduceLROnPlateau, epochs


class Learner(pl.LightningModule):
    """Loss, metric and optimiser of a run around its classifier.

    With `first`, batches hold the output of the layers before that one. The validation F1 is weighted by
    class and computed once over the whole split: an average over batches would depend on their size and
    order.
    """

    def __init__(self, model: Classifier, run: Run, weights: torch.Tensor | None = None, first: int = 0):
        super().__init__()
        self.model, self.recipe, self.seed, self.first = model, run.training, run.seed, first
        self.loss = nn.CrossEntropyLoss(weights, label_smoothing=run.training.label_smoothing)
        self.val_loss = nn.CrossEntropyLoss(weights)
        self.val_f1 = MulticlassF1Score(len(model.classes), average="weighted")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.model.forward_range(channels_last(inputs), self.first)

    def on_train_epoch_start(self):
        # Dropout and mix-up draw from the global generator. Seeded for each epoch, a resumed training equals
        # one that was never interrupted; of several processes each draws its own.
        rank = [self.global_rank] if self.global_rank else []
        torch.manual_seed(combined_seed(self.seed, self.current_epoch, *rank))

    def training_step(self, batch, _):
        inputs, labels = batch
        loss = self._mixed(inputs, labels) if self.recipe.mixup else self.loss(self(inputs), labels)
        if not torch.isfinite(loss):
            raise ParameterError(
                f"training.learning_rate: {self.recipe.learning_rate:g} is too high: the loss is not finite "
                f"in epoch {self.current_epoch + 1}"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def _mixed(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of mix-up (Zhang et al. 2018): each input and its label blended with another."""
        alpha = torch.tensor(self.recipe.mixup)
        share = torch.distributions.Beta(alpha, alpha).sample().item()
        others = torch.randperm(len(inputs), device=inputs.device)
        logits = self(share * inputs + (1 - share) * inputs[others])
        return share * self.loss(logits, labels) + (1 - share) * self.loss(logits, labels[others])

    def validation_step(self, batch, _, dataloader_idx: int):
        inputs, labels = batch
        logits = self(inputs).float()
        # the loss on training images without augmentation, dropout and smoothing: comparable with val_loss
        name = ("val_loss", "sample_loss")[dataloader_idx]
        options = {"on_epoch": True, "batch_size": len(labels), "add_dataloader_idx": False}
        self.log(name, self.val_loss(logits, labels), **options)
        if name == "val_loss":
            self.val_f1.update(logits, labels)
            self.log("val_f1", self.val_f1, add_dataloader_idx=False)

    def configure_optimizers(self):
        trained = [p for p in self.parameters() if p.requires_grad]
        rate, steps = self.recipe.learning_rate, self.trainer.estimated_stepping_batches
        optimizer = torch.optim.AdamW(trained, rate, weight_decay=self.recipe.weight_decay)
        if self.recipe.schedule == "plateau":
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)
            return [optimizer], [{"scheduler": schedule, "monitor": "val_loss", "frequency": sys.maxsize}]
        if self.recipe.schedule == "cosine":
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        else:
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_train_epoch_end(self):
        # Lightning itself would do this after it has written the epoch's checkpoint, and a training that is
        # resumed from there would miss one step; with a frequency that no training reaches it never does.
        if self.recipe.schedule == "plateau":
            self.lr_schedulers().step(float(self.trainer.callback_metrics["val_loss"]))


def callbacks(run: Run, folder: Path) -> list[pl.Callback]:
    """Return what decides, beside the Learner, the weights of a training; checkpoints go to `folder`."""
    recipe = run.training
    found = [ModelCheckpoint(folder, "best", monitor="val_f1", mode="max", save_on_train_epoch_end=True)]
    if recipe.early_stopping:
        found.append(EarlyStopping("val_f1", mode="max", patience=recipe.early_stopping))
    if recipe.average:
        found.append(EMAWeightAveraging(decay=recipe.average))
    return found


def class_weights(run: Run, data: Radiographs) -> torch.Tensor | None:
    """Return weights (C,) inverse to the classes' shares of the training split, if the run asks for them."""
    if not run.training.class_weights:
        return None
    labels = data.part("train").label.to_numpy()
    weights = compute_class_weight("balanced", classes=np.array(run.study.classes), y=labels)
    return torch.tensor(weights, dtype=torch.float32)


def precision(run: Run) -> str:
    """Return Lightning's name of the run's precision; auto is bf16 where the device is fast at it."""
    asked = run.training.precision
    if asked != "auto":
        return {"32": "32-true", "bf16": "bf16-mixed"}[asked]
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return "bf16-mixed" if fast else "32-true"
