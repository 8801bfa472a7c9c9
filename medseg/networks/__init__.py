"""UNet and UNet++ in 2-D and 3-D; all return logits."""

from medseg.networks.build import NetworkSpec, build_network

__all__ = ["NetworkSpec", "build_network"]
