"""Networks that answer together."""

import torch

from medseg.networks import NetworkSpec, build_network
from medseg.networks.ensemble import Ensemble, join_weights

SPEC = NetworkSpec("unet", 2, 1, 2, (2, 4))
TRIO = NetworkSpec("unet", 2, 1, 2, (2, 4), {"members": 3})


def members():
    torch.manual_seed(5)
    return [build_network(SPEC).eval() for _ in range(3)]


def test_the_answer_is_the_mean_of_the_members():
    parts, x = members(), torch.randn(2, 1, 9, 8)
    whole = build_network(TRIO).eval()
    whole.load_state_dict(join_weights([part.state_dict() for part in parts]))
    with torch.inference_mode():
        torch.testing.assert_close(whole(x), sum(part(x) for part in parts) / 3)


def test_members_start_from_weights_of_their_own():
    torch.manual_seed(0)
    first, second, _ = build_network(TRIO).members
    assert not torch.equal(first.head.weight, second.head.weight)


def test_a_depth_is_that_of_every_member():
    torch.manual_seed(0)
    whole = build_network(NetworkSpec("unetpp", 2, 1, 2, (2, 3, 4), {"members": 2, "patch": 2})).eval()
    assert isinstance(whole, Ensemble)
    x = torch.randn(1, 1, 12, 12)
    with torch.inference_mode():
        expected = (whole.members[0](x, 1) + whole.members[1](x, 1)) / 2
        torch.testing.assert_close(whole(x, 1), expected)
        assert not torch.allclose(whole(x), expected)
