"""One thread against two, for calls that take long enough to share. Results are the same bits."""

import pytest
import torch
from block import Block

import motifkit as mk


def conv_pool(shape, training):
    block = Block(shape, training)
    return block.call(mk.ops.conv_pool, block.codes)


def random_codes(*shape):
    return torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def scan():
    codes, weight = random_codes(1, 1_000_000), torch.randn(64, 4, 15)
    return lambda: [mk.ops.scan(codes, weight, strands="both").score]


def extract():
    codes, weight = random_codes(25_000, 1_000), torch.randn(30, 4, 19)
    return lambda: [torch.from_numpy(m.counts) for m in mk.extract_motifs(weight, codes)]


CALLS = {
    "conv_pool training (100, 1000, 120, 19, 25)": lambda: conv_pool((100, 1000, 120, 19, 25), True),
    "conv_pool training (512, 1000, 300, 19, 4)": lambda: conv_pool((512, 1000, 300, 19, 4), True),
    "conv_pool forward (512, 1000, 300, 19, 4)": lambda: conv_pool((512, 1000, 300, 19, 4), False),
    "scan 64 profiles, both strands, 1 Mb": scan,
    "extract_motifs 25,000 x 1,000": extract,
}


@pytest.mark.parametrize("contender", ["motifkit", "one thread"])
@pytest.mark.parametrize("what", CALLS)
def test_two_threads(measure, benchmark, what, contender):
    """The row's own time is that of two threads; the rival is one."""
    torch.manual_seed(0)
    benchmark.group = f"two threads, {what}"
    call = CALLS[what]()

    def on(threads):
        def run():
            torch.set_num_threads(threads)
            return call()

        return run

    assert all(torch.equal(a, b) for a, b in zip(on(1)(), on(2)(), strict=True))
    measure({"motifkit": on(2), "one thread": on(1)}, contender, positions=1)
