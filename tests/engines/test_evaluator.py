import pytest
import torch

from medseg.data.dataset import Sample
from medseg.domain.manifest import Case
from medseg.engines.evaluator import score
from medseg.windows import WindowSpec

CPU = torch.device("cpu")
CASE = Case("a", "a", "b", "a", "validation", ("0" * 64,) * 2)


class Echo(torch.nn.Module):
    """Logits that say of each voxel the class that the image holds."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return -(x - torch.arange(self.classes).view(1, -1, *[1] * (x.ndim - 2))).abs()


def a_sample(image, target):
    return Sample(CASE, torch.as_tensor(image, dtype=torch.float32)[None], torch.as_tensor(target, dtype=torch.uint8))


@pytest.mark.parametrize("kind", ["dice", "iou"])
@pytest.mark.parametrize("shape", [(7, 9), (9, 7, 5)])
def test_a_perfect_network_scores_1_for_every_class(shape, kind):
    samples = [a_sample(target, target) for target in torch.randint(0, 4, (3, *shape))]
    assert score(Echo(4), samples, WindowSpec((4,) * len(shape)), CPU, "fp32", kind) == [1.0, 1.0, 1.0]


def test_scores_by_hand():
    """Case 1 finds 2 of 3 voxels of class 1, Dice 0.8, IoU 2/3; class 2 is in neither, 1. Case 2 misses both."""
    samples = [a_sample([[1, 1, 0, 0]], [[1, 1, 1, 0]]), a_sample([[0, 0, 0, 0]], [[1, 2, 0, 0]])]
    window = WindowSpec((1, 4))
    assert score(Echo(3), samples, window, CPU, "fp32", "dice") == pytest.approx([(0.8 + 0) / 2, (1 + 0) / 2])
    assert score(Echo(3), samples, window, CPU, "fp32", "iou") == pytest.approx([(2 / 3 + 0) / 2, (1 + 0) / 2])
