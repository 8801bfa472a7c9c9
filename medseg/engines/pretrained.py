"""A training that starts from a trained network instead of at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from medseg.data.preprocess import PreprocessSpec
from medseg.domain.errors import UsageError
from medseg.engines.plan import TrainSpec
from medseg.networks.build import NetworkSpec


@dataclass(frozen=True)
class Pretrained:
    """The network a training starts from, the images it knows, and its weights with their digest.

    name: what it is called in reasons and refusals.
    """

    name: str
    network: NetworkSpec
    preprocess: PreprocessSpec
    sha256: str
    weights: dict[str, Tensor]

    def require_fit(self, spec: TrainSpec) -> None:
        """Raises: UsageError where the plan's network differs in more than its classes, or starts from others."""
        if spec.pretrained != self.sha256:
            raise UsageError(
                f"the plan starts from weights {spec.pretrained[:12]}, those of {self.name} are {self.sha256[:12]}; "
                "give --pretrained the bundle that the plan means"
            )
        if replace(self.network, out_channels=spec.network.out_channels) != spec.network:
            raise UsageError(
                f"the plan's network is not that of {self.name}: only the classes may differ; leave out --network and "
                "--set network..., or --pretrained"
            )


def start_from(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the network those of the weights that it has too, in the same shape; its others stay as drawn.

    The layer that tells the classes apart is another where their number is.
    """
    own = network.state_dict()
    known = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(known, strict=False)
