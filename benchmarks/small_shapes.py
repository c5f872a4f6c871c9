#!/usr/bin/env python3
"""Every op, forward and backward, on small odd shapes: for compute-sanitizer, under which kernels crawl.

    compute-sanitizer --tool racecheck --kernel-name kernel_substring=motifkit python small_shapes.py

Integer weights: the results of the device have to be the CPU's, bit for bit. Prints a line an op; exit
status 1 where one differs. `--device cpu` runs it without a GPU.
"""

import argparse
import sys

import torch

import motifkit as mk

SHAPES = [(3, 61, 5, 7, 4, 4), (2, 45, 33, 19, 10, 3), (1, 130, 2, 3, 40, 40)]  # batch .. width, pool, stride


def results(device: str, shape: tuple[int, ...]) -> dict[str, list[torch.Tensor]]:
    """What each op gives on one shape."""
    batch, length, filters, width, pool, stride = shape
    generator = torch.Generator().manual_seed(sum(shape))
    integers = lambda low, high, *size: torch.randint(low, high, size, generator=generator)  # noqa: E731
    codes = integers(0, 5, batch, length + 3).to(torch.uint8).to(device)[:, 1 : length + 1]
    weight = integers(-4, 5, filters, 4, width).float().to(device).requires_grad_()
    bias = integers(-2, 3, filters).float().to(device)
    ones = torch.ones(filters, device=device)
    found = {}

    def with_gradient(name: str, out: torch.Tensor, source: torch.Tensor = weight) -> None:
        upstream = torch.arange(out.numel(), device=device).remainder(5).sub(2).to(out).view_as(out)
        found[name] = [out.detach(), *torch.autograd.grad(out, source, upstream)]

    with_gradient("onehot_conv1d", mk.ops.onehot_conv1d(codes, weight, bias))
    x = integers(-9, 10, batch, filters, length).float().to(device).requires_grad_()
    with_gradient("max_pool1d", mk.ops.max_pool1d(x, pool, stride, pool // 2), x)
    with_gradient(
        "conv_pool",
        mk.ops.conv_pool(codes, weight, bias, pool_size=pool, pool_stride=stride, activation="relu"),
    )
    with_gradient(
        "conv_pool, running statistics",
        mk.ops.conv_pool(
            codes, weight, bias, norm_weight=2 * ones, norm_bias=ones, running_mean=ones, running_var=ones,
            eps=0.0, pool_size=pool, pool_stride=stride,
        ),
    )  # fmt: skip
    found["conv_pool, batch statistics"] = [
        mk.ops.conv_pool(
            codes, weight, bias, running_mean=ones.clone(), running_var=ones.clone(), training=True,
            pool_size=pool, pool_stride=stride,
        ).detach()
    ]  # fmt: skip
    with_gradient("scan", mk.ops.scan(codes, weight, bias, strands="both").score)
    hits = mk.ops.scan_hits(codes, weight, bias + 8, strands="both")
    found["scan_hits"] = [part.detach() for part in hits]
    most = mk.ops.scan_hits(codes, weight, bias, strands="both", max_hits_per_sequence=2)
    found["scan_hits, two at most"] = [part.detach() for part in most]
    found["align"] = [mk.ops.align(codes, hits, width + 2, offset=-1, filters=filters)]
    found["onehot_to_codes"] = [mk.ops.scan(mk.one_hot(codes), weight).score.detach()]
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    wrong = 0
    for shape in SHAPES:
        true = results("cpu", shape)
        for name, parts in results(device, shape).items():
            close = "batch statistics" in name  # their square root is rounded by each device in its way
            same = all(
                torch.allclose(a.cpu(), b, rtol=1e-5, atol=1e-5) if close else torch.equal(a.cpu(), b)
                for a, b in zip(parts, true[name], strict=True)
            )
            print(f"{'same' if same else 'DIFFERENT'}\t{name}\t{shape}")
            wrong += not same
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
