import torch
from torch import nn

from medseg.backends.at_depth import at_depth
from medseg.backends.fingerprint import entry_key, network_digest
from medseg.networks.build import NetworkSpec, build_network

CPU = torch.device("cpu")


def network(seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(NetworkSpec("unetpp", 2, 1, 2, (4, 8, 8), dict(options)))


def test_a_digest_follows_from_weights_form_and_depth():
    assert network_digest(network()) == network_digest(network())
    different = [network(), network(1), at_depth(network(), 1), at_depth(network(), 2), network(block="residual")]
    assert len({network_digest(one) for one in different}) == len(different)


def test_a_plain_attribute_counts():
    one, two = network(patch=2), network(patch=2)
    two.patch = 4  # stands in no weight and in no representation
    assert network_digest(one) != network_digest(two)


def test_a_key_follows_from_all_that_the_compiled_network_depends_on(monkeypatch):
    keys = {entry_key("digest", (1, 1, 8, 8), "fp32", CPU)}
    keys.add(entry_key("other", (1, 1, 8, 8), "fp32", CPU))
    keys.add(entry_key("digest", (1, 1, 8, 16), "fp32", CPU))
    keys.add(entry_key("digest", (2, 1, 8, 8), "fp32", CPU))
    keys.add(entry_key("digest", (1, 1, 8, 8), "bf16", CPU))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 97)
    keys.add(entry_key("digest", (1, 1, 8, 8), "fp32", CPU))
    monkeypatch.setattr("medseg.backends.fingerprint.cpu_name", lambda: "Another CPU")
    keys.add(entry_key("digest", (1, 1, 8, 8), "fp32", CPU))
    monkeypatch.setattr("medseg.backends.fingerprint.versions", lambda: {"torch": "3"})
    keys.add(entry_key("digest", (1, 1, 8, 8), "fp32", CPU))
    assert len(keys) == 8
    assert all(len(key) == 64 for key in keys)
