import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

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


def alone(size=224, **values):
    """The transform of one augmentation, without the others."""
    return batches.augmentation(
        Augmentation(**{"crop": 1, "degrees": 0, "jitter": 0, "flip": 0} | values), size
    )


def seen(transform, image, number):
    torch.manual_seed(number)
    return transform(image)


def test_a_rotation_is_that_of_torchvision():
    image = torch.randint(256, (1, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    known = v2.RandomAffine(30, interpolation=v2.InterpolationMode.BILINEAR, fill=None)
    for number in range(10):
        difference = seen(alone(degrees=30.0), image, number).int() - seen(known, image, number).int()
        assert difference.abs().max() <= 1
        assert (difference != 0).float().mean() < 1e-3


RAMP = torch.arange(224, dtype=torch.uint8).expand(1, 224, 224)


@pytest.mark.parametrize("aspect", [1.0, 1.5])
def test_the_aspect_ratio_of_a_crop_is_drawn_on_both_sides_of_one(aspect):
    crop = alone(crop=0.3, aspect=aspect)
    slopes = [
        [float(seen(crop, ramp, number).float().diff(dim=axis).mean()) for number in range(60)]
        for ramp, axis in ((RAMP, 2), (RAMP.mT.contiguous(), 1))
    ]  # of a ramp: the share of the image's width, and of its height, that the crop has
    found = np.log(np.divide(*slopes))
    assert np.abs(found).max() < np.log(aspect) + 0.02
    if aspect > 1:
        assert found.min() < -0.3
        assert found.max() > 0.3
        assert abs(found.mean()) < 0.1


def test_low_pass_takes_fine_detail_and_leaves_the_rest():
    low_pass, across = alone(low_pass=1), torch.arange(224)
    fine = (128 + 100 * (-1.0) ** across).to(torch.uint8).expand(1, 224, 224)
    coarse = (128 + 100 * torch.cos(2 * torch.pi * across / 224)).to(torch.uint8).expand(1, 224, 224)
    for number in range(20):
        assert seen(low_pass, fine, number).float().std() < 0.75 * fine.float().std()
        assert (seen(low_pass, coarse, number).int() - coarse.int()).abs().max() <= 2


def test_the_noise_is_gaussian_of_a_random_standard_deviation():
    grey = torch.full((1, 224, 224), 128, dtype=torch.uint8)
    views = [seen(alone(noise=6), grey, number).float() - 128 for number in range(40)]
    deviations = np.array([float(view.std()) for view in views])
    assert max(abs(float(view.mean())) for view in views) < 0.15
    assert deviations.max() < 6.1  # 1/12 is added by rounding
    assert np.quantile(deviations, [0.25, 0.5, 0.75]) == pytest.approx([1.5, 3, 4.5], abs=1.2)
    loud = views[deviations.argmax()]
    assert float((loud.abs() < loud.std()).float().mean()) == pytest.approx(0.68, abs=0.06)


def test_gamma_is_one_power_of_all_grey_values():
    grey = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    powers = []
    for number in range(20):
        view = seen(alone(16, gamma=0.2), grey, number).flatten().double() / 255
        powers.append(float(view[100].log() / np.log(100 / 255)))
        wanted = (grey.flatten().double() / 255) ** powers[-1]
        assert (view - wanted).abs().max() < 1.5 / 255
    assert 0.79 < min(powers) < 0.9
    assert 1.1 < max(powers) < 1.21


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image[0].numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).unsqueeze(0)


def test_a_recompressed_image_is_a_jpeg_of_some_quality_in_the_range(views):
    image = views[5][0].unsqueeze(0)
    possible = [jpeg(image, quality) for quality in range(40, 96)]
    found = [seen(alone(32, recompress=0.5), image, number) for number in range(40)]
    changed = [view for view in found if not torch.equal(view, image)]
    assert 8 < len(changed) < 32
    assert all(any(torch.equal(view, each) for each in possible) for view in changed)


def test_every_random_change_depends_on_the_item_alone(views):
    everything = Augmentation(aspect=1.5, low_pass=1, noise=6, gamma=0.2, recompress=1, trivial=True)
    views.transform = batches.augmentation(everything, 32)
    first = views[4, 2][0]
    torch.rand(10)
    assert torch.equal(views[4, 2][0], first)
    assert not torch.equal(views[4, 3][0], first)
    assert (first.shape, first.dtype) == ((32, 32), torch.uint8)
    assert pickle.loads(pickle.dumps(views.transform))  # for processes that are spawned


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
