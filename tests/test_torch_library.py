"""The ops as PyTorch sees them: registration, torch.compile, and life without the compiled module."""

import os
import subprocess
import sys
import tempfile

import pytest
import torch

import motifkit as mk
from helpers import random_codes
from motifkit import _native

pytestmark = pytest.mark.skipif(_native.module() is None, reason="the compiled module is not there")


def registered_calls(generator):
    codes = random_codes(3, 60, generator).contiguous()
    weight = torch.randn(5, 4, 7, generator=generator, requires_grad=True)
    vector = torch.rand(5, generator=generator).requires_grad_()
    gram = torch.ops.motifkit.window_counts(codes, 7, 3, 3)
    pool = (1e-5, 3, 3, 4, 4, 0, False, True)
    threshold = torch.full((5,), 2.0)
    hits = torch.ops.motifkit.scan_hits(codes, weight.detach(), threshold, None, 3, 3, 3, 0)[:4]
    best = torch.ops.motifkit.scan(codes, weight.detach(), None, 3, 3, 3)
    return {
        "onehot_to_codes": (mk.one_hot(codes),),
        "onehot_conv1d": (codes, weight, vector, 3, 3),
        "max_pool1d": (torch.randn(2, 3, 20, generator=generator, requires_grad=True), 5, 2, 1, False),
        "window_counts": (codes, 7, 3, 3),
        "conv_pool": (codes, weight, None, vector, vector, None, None, gram, 180, *pool),
        "scan": (codes, weight, vector, 3, 3, 3),
        "scan_summary": (codes, weight.detach(), None, 3, 3, 3, True, True),
        "align": (codes, *hits, None, 5, 7, 0),
        "align_best": (codes, *best, threshold, 7, 1, 10, True, False),
        "align_above": (codes, weight.detach(), threshold, None, 3, 3, 3, 1, 10, True, False),
    }


@pytest.mark.parametrize("name", registered_calls(torch.Generator().manual_seed(0)))
def test_opcheck(generator, name):
    torch.library.opcheck(getattr(torch.ops.motifkit, name).default, registered_calls(generator)[name])


def test_opcheck_of_scan_hits(generator):
    """Its output's length depends on the data: the checks that trace with fixed shapes do not apply."""
    codes = random_codes(3, 60, generator).contiguous()
    arguments = (codes, torch.randn(5, 4, 7, generator=generator), torch.full((5,), 2.0), None, 3, 3, 3, 0)
    torch.library.opcheck(
        torch.ops.motifkit.scan_hits.default,
        arguments,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("one_hot", [False, True])
def test_conv_pool_compiles_whole_forward_and_backward(generator, one_hot):
    codes = random_codes(4, 80, generator)
    x = mk.one_hot(codes) if one_hot else codes
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        block = mk.nn.ConvPool(
            torch.nn.Conv1d(4, 6, 9, padding="same"), torch.nn.BatchNorm1d(6), torch.nn.GELU(),
            torch.nn.MaxPool1d(4),
        )  # fmt: skip
        run = torch.compile(block, fullgraph=True, backend="aot_eager") if compiled else block
        out = run(x)
        out.square().sum().backward()
        results.append((out, block.norm.running_mean, *(p.grad for p in block.parameters())))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.slow
def test_a_whole_network_compiles_with_inductor(generator):
    from torch._inductor import config

    torch.manual_seed(0)
    model = mk.models.build("CNN-25", length=100, classes=2).eval()
    codes = random_codes(4, 100, generator)
    compiled = torch.compile(model, fullgraph=True)
    gradients = []
    with config.patch(force_disable_caches=True):  # what another version of the ops left there is stale
        torch.testing.assert_close(compiled(codes), model(codes), rtol=1e-4, atol=1e-5)
        for run in (model, compiled):
            model.zero_grad()
            run(codes).square().sum().backward()
            gradients.append(model.block1.conv.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["onehot_conv1d", "max_pool1d", "scan", "scan_hits"])
def test_other_ops_compile_whole(generator, name):
    codes = random_codes(3, 50, generator)
    weight = torch.randn(4, 4, 5, generator=generator)
    calls = {
        "onehot_conv1d": lambda: mk.ops.onehot_conv1d(codes, weight),
        "max_pool1d": lambda: mk.ops.max_pool1d(weight, 3, 1),
        "scan": lambda: tuple(mk.ops.scan(codes, weight, strands="both")),
        "scan_hits": lambda: tuple(mk.ops.scan_hits(codes, weight, 3.0)),
    }
    compiled = torch.compile(calls[name], fullgraph=True, backend="aot_eager")()
    expected = calls[name]()
    for a, b in zip(compiled, expected, strict=True):
        torch.testing.assert_close(a, b)


def run_python(code, **environment):
    """A fresh interpreter, away from the source tree, which would hide the installed package."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
        env={**os.environ, **environment},
    )


def test_without_the_compiled_module_every_op_runs_its_reference():
    code = (
        "import motifkit as mk, torch\n"
        "assert not mk.build_info()['native']\n"
        "codes, weight = mk.encode(['ACGTACGTAC']), torch.ones(2, 4, 3)\n"
        "assert mk.ops.conv_pool(codes, weight, pool_size=2).shape == (1, 2, 5)\n"
        "assert mk.ops.conv_pool(mk.one_hot(codes), weight, pool_size=2).shape == (1, 2, 5)\n"
        "hits = mk.ops.scan(codes, weight).hits()\n"
        "assert mk.ops.align(codes, hits, 3).sum() == 6\n"
        "assert mk.ops.max_pool1d(weight, 2).shape == (2, 4, 1)\n"
        "assert len(mk.extract_motifs(mk.one_hot(mk.encode('GAT')), ['CCGATC'])) == 1\n"
    )
    result = run_python(code, MOTIFKIT_DISABLE_NATIVE="1")
    assert result.returncode == 0, result.stderr


def test_import_is_light_and_needs_no_optional_library():
    code = (
        "import torch, numpy, sys, time\n"
        "before = set(sys.modules); start = time.perf_counter()\n"
        "import motifkit\n"
        "print(time.perf_counter() - start)\n"
        "heavy = ('lightning', 'torchmetrics', 'h5py', 'pandas', 'pyjaspar', 'memelite', 'matplotlib',"
        " 'jinja2', 'numba', 'tqdm', 'Bio')\n"
        "loaded = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "assert not loaded & set(heavy), loaded & set(heavy)\n"
    )
    times = []
    while len(times) < 8 and min(times, default=1.0) >= 0.2:  # on a busy machine one try may take long
        result = run_python(code)
        assert result.returncode == 0, result.stderr
        times.append(float(result.stdout))
    assert min(times) < 0.2


def test_an_instruction_set_can_be_asked_for():
    code = "import motifkit as mk; print(mk.build_info()['instruction_set'])"
    assert run_python(code, MOTIFKIT_CPU="generic").stdout.strip() == "generic"
    result = run_python(code, MOTIFKIT_CPU="nonsense")
    assert result.returncode == 0
    assert "nonsense is not available" in result.stderr
