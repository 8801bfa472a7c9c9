"""UNet and UNet++ in 2-D and 3-D; all return logits."""

from medseg.networks.build import NetworkSpec, build_network
from medseg.networks.unet import UNet, residual_unet, unet, unet_2015, unet_2015_valid
from medseg.networks.unetpp import UNetPP, unetpp, unetpp_2018

__all__ = [
    "NetworkSpec",
    "UNet",
    "UNetPP",
    "build_network",
    "residual_unet",
    "unet",
    "unet_2015",
    "unet_2015_valid",
    "unetpp",
    "unetpp_2018",
]
