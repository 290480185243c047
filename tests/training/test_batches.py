import numpy as np
import pytest
import torch

from xnn import load_images, load_records, load_run
from xnn.config.schema import Augmentation
from xnn.training import batches


@pytest.fixture
def views(small):
    run = load_run(small, "plain")
    records = load_records(run.study)
    augment = batches.augmentation(run.augmentation, run.study.image_size)
    return batches.Views(records, load_images(run.study), run.study.classes, augment, seed=3)


def test_no_augmentation_is_the_image_itself(views):
    views.transform = batches.augmentation(Augmentation(crop=1, degrees=0, jitter=0, flip=0), 32)
    assert torch.equal(views[5, 7][0], views[5][0])


def test_a_view_depends_on_seed_record_and_number_alone(views):
    first = views[4, 2][0]
    torch.rand(10)  # the global generator has gone on
    views[9, 0]
    assert torch.equal(views[4, 2][0], first)
    assert not torch.equal(views[4, 3][0], first)
    assert not torch.equal(views[5, 2][0], first)
    views.seed = 4
    assert not torch.equal(views[4, 2][0], first)


def test_trivial_augment_changes_grey_images_and_keeps_their_kind(views):
    views.transform = batches.augmentation(
        Augmentation(crop=1, degrees=0, jitter=0, flip=0, trivial=True), 32
    )
    seen = [views[5, number][0] for number in range(20)]
    assert {(image.shape, image.dtype) for image in seen} == {((32, 32), torch.uint8)}
    assert sum(not torch.equal(image, views[5][0]) for image in seen) > 10


def test_a_view_leaves_the_global_generator_alone(views):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    views[0, 0]
    assert torch.equal(torch.rand(3), wanted)


def test_a_view_without_number_is_not_augmented(views):
    assert np.array_equal(views[3][0].numpy(), views.images[views.rows[3]])


def test_an_epoch_has_every_record_once_in_an_order_of_its_own():
    sampler = batches.Epochs(50, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(i for i, _ in first) == sorted(i for i, _ in second) == list(range(50))
    assert [i for i, _ in first] != [i for i, _ in second]
    assert {view for _, view in second} == {1}
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_views_come_in_turn_where_there_are_some():
    sampler = batches.Epochs(5, seed=0, views=3)
    found = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        found.append({view for _, view in sampler}.pop())
    assert found == [0, 1, 2, 0, 1]


def test_the_number_of_workers_changes_no_batch(small):
    run = load_run(small, "plain")
    other = run.model_copy(update={"training": run.training.model_copy(update={"workers": 2})})
    for one, two in zip(
        batches.Radiographs(run).train_dataloader(),
        batches.Radiographs(other).train_dataloader(),
        strict=True,
    ):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


def test_training_batches_are_whole_and_validation_has_all(small):
    data = batches.Radiographs(load_run(small, "plain"))
    assert {len(labels) for _, labels in data.train_dataloader()} == {16}
    assert sum(len(labels) for _, labels in data.val_dataloader()[0]) == len(data.part("val"))
