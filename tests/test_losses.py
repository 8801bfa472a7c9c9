import math

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss
from scipy.ndimage import distance_transform_edt

from medseg.domain.errors import UsageError
from medseg.domain.spec import from_plain, to_plain
from medseg.losses import (
    BoundarySpec,
    LossSpec,
    SigmoidDiceCE,
    SoftmaxDiceCE,
    boundary_weights,
    build_loss,
    over_heads,
    soft_dice,
)
from medseg.losses.voxelwise import Voxelwise


def logits_of(probabilities):
    """(B, K, *S) logits whose softmax is that."""
    return torch.as_tensor(probabilities, dtype=torch.float64).log().float()


def random_case(classes, spatial_dims, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (3, 6, 5, 4)[: spatial_dims + 1]
    logits = torch.randn(size[0], classes, *size[1:], generator=generator) * 3
    return logits, torch.randint(0, classes, size, generator=generator)


# Hand-worked


def test_dice_of_two_voxels_by_hand():
    """p = 0.8, 0.4 against 1, 0: 2 * 0.8 / (1.2 + 1) plain, 2 * 0.8 / (0.64 + 0.16 + 1) squared."""
    p, target = torch.tensor([[[0.8, 0.4]]]), torch.tensor([[[1.0, 0.0]]])
    assert soft_dice(p, target, squared=False).item() == pytest.approx(1 - 1.6 / 2.2, abs=1e-5)
    assert soft_dice(p, target, squared=True).item() == pytest.approx(1 - 1.6 / 1.8, abs=1e-5)


def test_dice_sums_over_the_batch_before_it_divides():
    """Sample 1: p = 1 against 1. Sample 2: p = 0.5 against 0. Together 2 * 1 / (1.5 + 1), not (0 + 1) / 2."""
    p, target = torch.tensor([[[1.0]], [[0.5]]]), torch.tensor([[[1.0]], [[0.0]]])
    assert soft_dice(p, target, squared=False).item() == pytest.approx(1 - 2 / 2.5, abs=1e-5)


def test_dice_has_one_value_for_each_channel_and_0_where_nothing_is_and_nothing_is_found():
    p = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    target = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    assert soft_dice(p, target, squared=False).tolist() == pytest.approx([0.0, 1.0], abs=1e-5)


@pytest.mark.parametrize(("squared", "denominator"), [(False, 0.7 + 0.2 + 1), (True, 0.49 + 0.04 + 1)])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_softmax_loss_by_hand(alpha, squared, denominator):
    """Two voxels of classes 1, 0; class 1 has probabilities 0.7 and 0.2."""
    logits = logits_of([[[0.3, 0.8], [0.7, 0.2]]])
    dice = 1 - 2 * 0.7 / denominator
    cross_entropy = -(math.log(0.7) + math.log(0.8)) / 2
    loss = SoftmaxDiceCE(alpha, squared)(logits, torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(alpha * dice + (1 - alpha) * cross_entropy, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_regions_may_overlap(alpha):
    """One voxel in both regions, found with 0.9 and 0.6: each is a problem of its own."""
    p = torch.tensor([[[0.9], [0.6]]])
    dice = ((1 - 2 * 0.9 / 1.9) + (1 - 2 * 0.6 / 1.6)) / 2
    cross_entropy = -(math.log(0.9) + math.log(0.6)) / 2
    loss = SigmoidDiceCE(alpha)(p.logit(), torch.ones(1, 2, 1))
    assert loss.item() == pytest.approx(alpha * dice + (1 - alpha) * cross_entropy, abs=1e-5)


def test_the_background_counts_in_the_cross_entropy_only():
    """All background, found everywhere: Dice of the absent label is perfect; a doubt costs cross-entropy."""
    sure, unsure = logits_of([[[1 - 1e-9] * 4, [1e-9] * 4]]), logits_of([[[0.6] * 4, [0.4] * 4]])
    target = torch.zeros(1, 4, dtype=torch.long)
    assert SoftmaxDiceCE(1.0)(sure, target).item() == pytest.approx(0, abs=1e-3)
    assert SoftmaxDiceCE(0.0)(unsure, target).item() == pytest.approx(-math.log(0.6), abs=1e-6)


def test_focal_loss_by_hand():
    """Voxels found with 0.7 and 0.9: the surer one counts for less. Lin et al. 2017, eq. 4."""
    logits, target = logits_of([[[0.3, 0.9], [0.7, 0.1]]]), torch.tensor([[1, 0]])
    expected = -(0.3**2 * math.log(0.7) + 0.1**2 * math.log(0.9)) / 2
    assert build_loss(LossSpec(0.0, focal_gamma=2.0))(logits, target).item() == pytest.approx(expected, rel=1e-5)
    regions = SigmoidDiceCE(0.0, voxelwise=Voxelwise(gamma=2.0))
    assert regions(torch.tensor([[[0.7, 0.9]]]).logit(), torch.ones(1, 1, 2)).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_class_weights_by_hand():
    """Voxels of classes 1 and 0, found with 0.7 and 0.8, weigh 3 and 1: their mean divides by 4."""
    logits, target = logits_of([[[0.3, 0.8], [0.7, 0.2]]]), torch.tensor([[1, 0]])
    expected = -(3 * math.log(0.7) + math.log(0.8)) / 4
    assert build_loss(LossSpec(0.0, class_weights=(1.0, 3.0)))(logits, target).item() == pytest.approx(expected)


def test_boundary_weights_by_hand():
    """A line of labels 0 0 0 1 1: voxels 2 and 3 touch the boundary, the others are 1 or 2 away."""
    weights = boundary_weights(torch.tensor([[0, 0, 0, 1, 1]]), BoundarySpec(4.0, 2.0))
    assert weights[0].tolist() == pytest.approx([1 + 4 * math.exp(-(d**2) / 8) for d in (2, 1, 0, 0, 1)])


def test_the_loss_near_boundaries_by_hand():
    """Of a line 0 0 0 1 1 the voxel found with 0.6 lies at the boundary; all others are found with 0.9."""
    p = [0.9, 0.9, 0.6, 0.1, 0.1]
    logits = logits_of([[p, [1 - value for value in p]]])
    weights = [1 + 4 * math.exp(-(d**2) / 8) for d in (2, 1, 0, 0, 1)]
    losses = [-math.log(value) for value in (0.9, 0.9, 0.6, 0.9, 0.9)]
    expected = sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)
    loss = build_loss(LossSpec(0.0, boundary=BoundarySpec(4.0, 2.0)))
    assert loss(logits, torch.tensor([[0, 0, 0, 1, 1]])).item() == pytest.approx(expected)


# Laws


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_perfect_prediction_costs_nothing(alpha, squared):
    _, target = random_case(3, 3)
    one_hot = torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert SoftmaxDiceCE(alpha, squared)(one_hot * 100, target).item() == pytest.approx(0, abs=1e-5)
    assert SigmoidDiceCE(alpha, squared)(one_hot * 200 - 100, one_hot).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        LossSpec(a, s, k, focal_gamma=gamma)
        for a in (0, 0.5, 1)
        for s in (False, True)
        for k in ("softmax", "sigmoid")
        for gamma in (None, 0.5, 2.0)
    ],
)
def test_the_gradient_is_finite_even_far_from_the_answer(spec):
    logits, target = random_case(3, 2)
    far = (logits * 1000).requires_grad_()
    loss = build_loss(spec)(far, target)
    loss.backward()
    assert loss.isfinite()
    assert far.grad.isfinite().all()


def test_a_training_with_sigmoids_takes_each_class_for_a_region():
    logits, target = random_case(3, 2)
    regions = torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    assert build_loss(LossSpec(activation="sigmoid"))(logits, target) == SigmoidDiceCE()(logits, regions)


def test_half_precision_logits_are_computed_in_float32():
    logits, target = random_case(3, 2)
    loss = SoftmaxDiceCE()(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    assert loss.item() == SoftmaxDiceCE()(logits.bfloat16().float(), target).item()


def test_heads_count_the_same_or_by_their_weights():
    losses = torch.tensor([0.2, 0.6, 1.0])
    assert over_heads(losses, None).item() == pytest.approx(0.6)
    assert over_heads(losses, (0.0, 1.0, 3.0)).item() == pytest.approx((0.6 + 3 * 1.0) / 4)
    assert over_heads(losses[:1], None).item() == losses[0].item()
    with pytest.raises(UsageError, match="head_weights: 2 for a network of 3 heads"):
        over_heads(losses, (1.0, 1.0))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"focal_gamma": 2.0},
        {"class_weights": (0.5, 1.0, 4.0)},
        {"boundary": BoundarySpec(3.0, 1.5)},
        {"squared": True},
    ],
)
def test_the_sums_of_a_batch_are_those_of_its_parts(options, activation):
    logits, target = random_case(3, 3)
    loss = build_loss(LossSpec(activation=activation, **options))
    parts = [loss.sums(*part) for part in zip(logits.split([1, 2]), target.split([1, 2]), strict=True)]
    assert torch.allclose(sum(parts), loss.sums(logits, target), rtol=1e-5)
    assert loss.value(torch.stack([*parts])).shape == (2,)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    "options", [{"class_weights": (2.0, 2.0, 2.0)}, {"boundary": BoundarySpec(0.0)}, {"focal_gamma": 1e-9}]
)
def test_weights_that_say_nothing_change_nothing(options, activation):
    logits, target = random_case(3, 3)
    plain = build_loss(LossSpec(activation=activation))(logits, target).item()
    assert build_loss(LossSpec(activation=activation, **options))(logits, target).item() == pytest.approx(plain)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 1.1},
        {"focal_gamma": 0.0},
        {"focal_gamma": math.nan},
        {"class_weights": (1.0, 0.0)},
        {"head_weights": (0.0, 0.0)},
        {"head_weights": (-1.0, 2.0)},
    ],
)
def test_numbers_that_make_no_loss_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        LossSpec(**wrong)
    LossSpec(alpha=1.0, focal_gamma=2.0, class_weights=(1.0, 0.1), head_weights=(0.0, 1.0))


@pytest.mark.parametrize("wrong", [(-1.0, 5.0), (10.0, 0.0), (10.0, 21.0)])
def test_boundaries_that_make_no_weights_are_refused(wrong):
    with pytest.raises(UsageError, match=r"loss\.boundary"):
        BoundarySpec(*wrong)
    assert BoundarySpec(0.0, 20.0).weight == 0


def test_a_spec_without_the_options_is_read_and_written_as_before():
    """Plans and checkpoints of before hold these keys and no others."""
    old = {"alpha": 0.5, "squared": False, "activation": "softmax"}
    assert from_plain(LossSpec, old) == LossSpec()
    assert to_plain(LossSpec()) == old


# Another implementation


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_softmax_loss_is_monais_over_the_batch_without_background(alpha, squared, spatial_dims):
    logits, target = random_case(4, spatial_dims)
    other = DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        squared_pred=squared,
        batch=True,
        lambda_dice=alpha,
        lambda_ce=1 - alpha,
    )
    assert SoftmaxDiceCE(alpha, squared)(logits, target).item() == pytest.approx(
        other(logits, target[:, None]).item(), rel=1e-5
    )


@pytest.mark.parametrize("squared", [False, True])
def test_the_dice_of_regions_is_monais_over_the_batch(squared):
    """MONAI's DiceCELoss takes the softmax cross-entropy of several regions, so only its Dice can be compared."""
    logits, _ = random_case(3, 3)
    regions = (torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    other = DiceLoss(sigmoid=True, squared_pred=squared, batch=True)
    assert SigmoidDiceCE(1.0, squared)(logits, regions).item() == pytest.approx(other(logits, regions).item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_of_one_region_is_monais(alpha):
    """With one channel MONAI takes the binary cross-entropy, as this project does for any number."""
    logits, _ = random_case(1, 2)
    region = (torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    other = DiceCELoss(sigmoid=True, batch=True, lambda_dice=alpha, lambda_ce=1 - alpha)
    assert SigmoidDiceCE(alpha)(logits, region).item() == pytest.approx(other(logits, region).item(), rel=1e-5)


def test_monai_divides_before_it_averages_unless_told_and_so_differs():
    logits, target = random_case(3, 2)
    other = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=False)
    assert SoftmaxDiceCE(1.0)(logits, target).item() != pytest.approx(other(logits, target[:, None]).item(), rel=1e-4)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_weighted_loss_is_monais(spatial_dims):
    logits, target = random_case(3, spatial_dims)
    weights = (0.5, 1.0, 4.0)
    other = DiceCELoss(
        to_onehot_y=True, softmax=True, batch=True, lambda_dice=0.0, lambda_ce=1.0, weight=torch.tensor(weights)
    )
    loss = build_loss(LossSpec(0.0, class_weights=weights))
    assert loss(logits, target).item() == pytest.approx(other(logits, target[:, None]).item(), rel=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_the_focal_loss_is_monais(gamma):
    """MONAI's takes the mean over classes too, where this one adds them up; with sigmoids both take the mean."""
    logits, target = random_case(3, 3)
    softmax = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma)(logits, target[:, None]).item()
    assert build_loss(LossSpec(0.0, focal_gamma=gamma))(logits, target).item() == pytest.approx(3 * softmax, rel=1e-4)
    sigmoid = FocalLoss(to_onehot_y=True, gamma=gamma)(logits, target[:, None]).item()
    ours = build_loss(LossSpec(0.0, activation="sigmoid", focal_gamma=gamma))(logits, target).item()
    assert ours == pytest.approx(sigmoid, rel=1e-4)


@pytest.mark.parametrize("shape", [(9, 14), (8, 7, 9)])
@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
def test_boundary_weights_are_those_of_scipys_distances(shape, sigma):
    labels = torch.zeros(3, *shape, dtype=torch.uint8)
    labels[0][tuple(slice(2, n // 2) for n in shape)] = 1
    labels[1] = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.02
    for one, ours in zip(labels.numpy(), boundary_weights(labels, BoundarySpec(10.0, sigma)), strict=True):
        touches = np.zeros(shape, bool)
        for axis in range(len(shape)):
            changes = np.diff(one.astype(int), axis=axis) != 0
            for side in (0, 1):
                pad = [(0, 0)] * len(shape)
                pad[axis] = (side, 1 - side)
                touches |= np.pad(changes, pad)
        distance = distance_transform_edt(~touches) if touches.any() else np.full(shape, np.inf)
        expected = 1 + 10 * np.exp(-(distance**2) / (2 * sigma**2))
        assert np.allclose(ours.numpy(), expected, atol=10 * math.exp(-4.5))  # what lies beyond 3 sigma
        near = distance <= 3 * sigma
        assert np.allclose(ours.numpy()[near], expected[near], rtol=1e-5)
