"""accelerate: the same model, to rounding, in every way people use one.

Models are compared in float64, where the kernels and PyTorch differ by the order of some thousand additions
of numbers near 1 at most: about 1e-12, against a tolerance of 1e-9 of the largest value.
"""

import copy
import functools
import io
import pickle
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import motifkit as mk
from helpers import random_codes

LENGTH = 120


@pytest.fixture
def codes(generator):
    return random_codes(6, LENGTH, generator)


def close(ours, theirs):
    scale = max(1.0, theirs.abs().max().item()) if theirs.numel() else 1.0
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * scale)


def fused(model, capsys, **keywords):
    """The accelerated model, and the line it was announced with."""
    capsys.readouterr()
    fast = mk.accelerate(model, **keywords)
    line = capsys.readouterr().err
    assert line.startswith("motifkit: accelerate ")
    assert line.count("\n") == 1
    return fast, line


def assert_same(model, fast, x, codes=None, steps=2):
    """Outputs, gradients of all parameters, and buffers, over training steps and then in evaluation."""
    assert list(model.state_dict()) == list(fast.state_dict())
    for training in [True] * steps + [False]:
        results = []
        for net, given in ((model, x), (fast, x if codes is None else codes)):
            net.train(training)
            net.zero_grad()
            torch.manual_seed(1)  # dropout
            out = net(given)
            (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
            gradients = [p.grad for p in net.parameters() if p.grad is not None]
            results.append((out.detach(), *gradients, *(b.clone().double() for b in net.buffers())))
        for ours, theirs in zip(results[1], results[0], strict=True):
            close(ours, theirs)


class Net(nn.Module):
    """A usual first block in attributes; `between` is called where a variant differs."""

    def __init__(self, forward, norm=None, pool=None, conv=None):
        super().__init__()
        self.conv = conv or nn.Conv1d(4, 10, 9, padding=4)
        self.norm = nn.BatchNorm1d(10) if norm is None else norm
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool1d(5) if pool is None else pool
        self.drop = nn.Dropout(0.3)
        self.flag = False
        self.run = forward
        with torch.no_grad():  # filters whose batch norm turns them round
            for value in self.norm.parameters():
                value.uniform_(-1, 1)

    def forward(self, x):
        return self.run(self, x).flatten(1)


def usual(net, x):
    return net.pool(net.relu(net.norm(net.conv(x))))


def sequential(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).double()


CONV = functools.partial(nn.Conv1d, 4, 10, 9)
FUSED = {  # layers, and how many of them run as one
    "norm, ReLU, pool": (lambda: (CONV(), nn.BatchNorm1d(10), nn.ReLU(), nn.MaxPool1d(5)), 4),
    "pool before ReLU": (lambda: (CONV(bias=False), nn.BatchNorm1d(10), nn.MaxPool1d(5), nn.ReLU()), 4),
    "no norm": (lambda: (CONV(padding="same"), nn.ReLU(), nn.MaxPool1d(7, 3, 2)), 3),
    "no pool": (lambda: (CONV(padding=2), nn.BatchNorm1d(10, affine=False), nn.ReLU()), 3),
    "pool alone": (lambda: (CONV(), nn.MaxPool1d(50, 2, 24)), 2),
    "motifkit's pool": (lambda: (CONV(), nn.ReLU(), mk.nn.MaxPool1d(4)), 3),
    "global pool": (lambda: (CONV(), nn.ReLU(), nn.AdaptiveMaxPool1d(1)), 3),
    "exponential": (lambda: (CONV(), nn.BatchNorm1d(10), mk.nn.Exp(), nn.MaxPool1d(4)), 3),
    "GELU": (lambda: (CONV(), nn.BatchNorm1d(10), nn.GELU(), nn.MaxPool1d(3)), 4),
    "GELU, tanh": (lambda: (CONV(), nn.BatchNorm1d(10), nn.GELU("tanh"), nn.MaxPool1d(3)), 4),
    "SiLU": (lambda: (CONV(), nn.SiLU(), nn.MaxPool1d(3)), 3),
    "LeakyReLU": (lambda: (CONV(), nn.BatchNorm1d(10), nn.LeakyReLU(0.2), nn.MaxPool1d(4)), 3),
    "ELU": (lambda: (CONV(), nn.ELU(0.7), nn.MaxPool1d(4)), 2),
    "Softplus": (lambda: (CONV(), nn.Softplus(beta=2, threshold=5), nn.MaxPool1d(4)), 2),
    "Sigmoid, then ReLU": (lambda: (CONV(), nn.Sigmoid(), nn.ReLU(), nn.MaxPool1d(4)), 2),
    "Identity between": (lambda: (CONV(), nn.Identity(), nn.BatchNorm1d(10), nn.MaxPool1d(4)), 3),
    "untracked norm": (
        lambda: (CONV(), nn.BatchNorm1d(10, track_running_stats=False), nn.ReLU(), nn.MaxPool1d(4)), 4,
    ),
    "norm of nothing": (
        lambda: (CONV(), nn.BatchNorm1d(10, affine=False, track_running_stats=False), nn.MaxPool1d(4)), 3,
    ),
    "cumulative norm": (lambda: (CONV(), nn.BatchNorm1d(10, momentum=None), nn.MaxPool1d(4)), 3),
}  # fmt: skip
LEFT = {  # layers, how many run as one (0: the convolution alone), and why not more
    "dropout": (lambda: (CONV(), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(), nn.MaxPool1d(4)), 3, "Dropout"),
    "average pool": (lambda: (CONV(), nn.ReLU(), nn.AvgPool1d(4)), 0, "AvgPool1d"),
    "sizes of windows": (lambda: (CONV(), nn.AdaptiveMaxPool1d(7)), 0, "windows of several sizes"),
    "ceil_mode": (lambda: (CONV(), nn.BatchNorm1d(10), nn.MaxPool1d(5, ceil_mode=True)), 2, "ceil_mode"),
    "dilated pool": (lambda: (CONV(), nn.MaxPool1d(5, dilation=2)), 0, "dilation"),
    "norm after ReLU": (lambda: (CONV(), nn.ReLU(), nn.BatchNorm1d(10), nn.MaxPool1d(4)), 0, "normalises"),
    "norm after pool": (lambda: (CONV(), nn.MaxPool1d(4), nn.BatchNorm1d(10)), 2, "normalises"),
    "falling": (lambda: (CONV(), nn.LeakyReLU(-0.5), nn.MaxPool1d(4)), 0, "negative slope"),
    "learnt slope": (lambda: (CONV(), nn.PReLU(), nn.MaxPool1d(4)), 0, "PReLU"),
    "GELU after pool": (lambda: (CONV(), nn.MaxPool1d(4), nn.GELU()), 2, "GELU"),
    "other norm": (lambda: (CONV(), nn.GroupNorm(2, 10), nn.MaxPool1d(4)), 0, "GroupNorm"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_what_fuses_is_the_same(name, codes, capsys):
    layers, count = FUSED[name]
    model = sequential(*layers())
    fast, line = fused(model, capsys)
    names = line.split(" as one")[0].removeprefix("motifkit: accelerate runs ")
    assert len(names.replace(" and ", ", ").split(", ")) == count
    assert_same(model, fast, mk.one_hot(codes, torch.float64))
    assert_same(model, fast, mk.one_hot(codes, torch.float64), codes)


@pytest.mark.parametrize("name", LEFT)
def test_what_does_not_fuse_is_left_and_said(name, codes, capsys):
    layers, count, reason = LEFT[name]
    model = sequential(*layers())
    fast, line = fused(model, capsys)
    assert reason in line
    assert (" alone" in line) == (count == 0)
    assert_same(model, fast, mk.one_hot(codes, torch.float64), codes)


@pytest.mark.parametrize("conv", [{"stride": 2}, {"dilation": 2}, {"padding": 3, "padding_mode": "circular"}])
def test_convolutions_of_another_kind_are_left(conv, codes, capsys):
    model = sequential(CONV(**conv), nn.ReLU())
    fast, line = fused(model, capsys)
    assert "left 0: it" in line
    assert not list(mk.nn._fusion.installed(fast))
    assert_same(model, fast, mk.one_hot(codes, torch.float64))


def test_nothing_to_do_is_said(capsys):
    assert "no convolution over 4 channels" in fused(nn.Linear(3, 2), capsys)[1]
    assert "is a ConvPool already" in fused(mk.models.build("CNN-25"), capsys)[1]
    fast, _ = fused(nn.Sequential(CONV(), nn.MaxPool1d(3)), capsys)
    assert "accelerated already" in fused(fast, capsys)[1]
    with pytest.raises(TypeError, match="Module"):
        mk.accelerate("model")


FORWARDS = {  # forward of Net, what the line must say
    "modules": (usual, "conv, norm, relu and pool as one"),
    "F.relu": (lambda n, x: n.pool(F.relu(n.norm(n.conv(x)))), "conv, norm and pool as one"),
    "torch.relu": (lambda n, x: n.pool(torch.relu(n.norm(n.conv(x)))), "conv, norm and pool as one"),
    "x.relu_()": (lambda n, x: n.pool(n.norm(n.conv(x)).relu_()), "conv, norm and pool as one"),
    "torch.exp": (lambda n, x: n.pool(torch.exp(n.norm(n.conv(x)))), "conv, norm and pool as one"),
    "F.leaky_relu": (lambda n, x: n.pool(F.leaky_relu(n.conv(x), 0.3)), "conv and pool as one"),
    "falling": (lambda n, x: n.pool(F.leaky_relu(n.conv(x), -0.3)), "conv alone, left the rest: leaky_relu"),
    "F.gelu": (lambda n, x: n.pool(F.gelu(n.norm(n.conv(x)))), "norm as one, left the rest: gelu"),
    "F.max_pool1d": (lambda n, x: F.max_pool1d(n.norm(n.conv(x)), 4), "MaxPool1d module it would fuse"),
    "used twice": (lambda n, x: (lambda z: n.pool(z) + n.pool(-z))(n.norm(n.conv(x))), "is used 2 times"),
    "shape asked": (lambda n, x: (lambda z: n.pool(z.view(z.shape)))(n.norm(n.conv(x))), "used 2 times"),
    "added to": (lambda n, x: n.pool(n.conv(x) + 1), "conv alone, left the rest: add"),
    "pool shared": (lambda n, x: n.pool(n.relu(n.pool(n.relu(n.norm(n.conv(x)))))), "relu and pool as one"),
    "conv twice": (lambda n, x: n.pool(n.conv(x)) + n.pool(n.conv(x.flip(-1))), "calls it 2 times"),
    "pool in between": (
        lambda n, x: (lambda z: z + n.pool(x).sum())(n.pool(n.conv(x))), "conv and pool as one",
    ),
    "not traceable": (lambda n, x: usual(n, x) if x.sum() > 0 else n.conv(x), "conv alone"),
    "training differs": (
        lambda n, x: n.pool(n.conv(x) * 2 if n.training else n.conv(x)), "one way in training",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARDS)
def test_a_forward_of_ones_own(name, codes, capsys):
    forward, expected = FORWARDS[name]
    torch.manual_seed(0)
    model = Net(forward).double()
    fast, line = fused(model, capsys)
    assert expected in line
    assert_same(model, fast, mk.one_hot(codes, torch.float64))


def keep_in_passing(net, x):
    net.seen = net.norm(net.conv(x))
    return net.pool(net.seen)


def test_what_forward_keeps_is_not_fused_beyond(codes, capsys):
    model = Net(keep_in_passing).double()
    fast, line = fused(model, capsys)
    assert "conv and norm as one, left the rest: the output of norm is kept" in line
    x = mk.one_hot(codes, torch.float64)
    assert_same(model, fast, x)
    close(fast.seen, model.seen)


def test_modules_side_by_side_and_deep(codes, capsys):
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.short = nn.Sequential(nn.Sequential(CONV(), nn.BatchNorm1d(10)), nn.ReLU())
            self.long = nn.Conv1d(4, 6, 15, padding=3)
            self.pool, self.last = nn.MaxPool1d(4), nn.Conv1d(10, 4, 3)
            self.four = nn.Conv1d(4, 4, 1)

        def forward(self, x, scale=None):
            a, b = self.last(self.pool(self.short(x))), F.relu(self.pool(self.long(x)))
            a = self.four(a)
            a = a if scale is None else a * scale
            return torch.cat([a.flatten(1), b.flatten(1)], 1)

    model = Deep().double()
    fast, line = fused(model, capsys)
    # The pool is one module: the second stem keeps it, and takes codes by itself.
    assert "runs short.0.0, short.0.1, short.1 and pool as one" in line
    assert "runs long alone" in line
    assert "four" not in line
    x = mk.one_hot(codes, torch.float64)
    assert_same(model, fast, x, codes)
    close(fast(x, scale=2.0), model.eval()(x, scale=2.0))


def test_a_fused_module_used_elsewhere_is_itself_there(codes):
    model = Net(usual).double().eval()
    fast = mk.accelerate(model, verbose=False)
    x = mk.one_hot(codes, torch.float64)
    close(fast.conv(x), model.conv(x))
    close(fast.norm(fast.conv(codes)), model.norm(model.conv(x)))
    close(fast.pool(x), model.pool(x))
    close(fast(x), model(x))


def test_hooks_see_what_they_always_saw(codes):
    model = Net(usual).double().eval()
    x = mk.one_hot(codes, torch.float64)
    for name in ("conv", "norm", "relu", "pool"):
        fast, seen = mk.accelerate(model, verbose=False), {}
        for key, net in (("theirs", model), ("ours", fast)):
            handle = net.get_submodule(name).register_forward_hook(
                lambda module, given, out, key=key, seen=seen: seen.update({key: (*given, out)})
            )
            net(x)
            handle.remove()
        for a, b in zip(seen["ours"], seen["theirs"], strict=True):
            close(a, b)
        assert fast(codes).shape == model(x).shape  # and without the hook it takes codes again


def test_a_replaced_module_counts(codes):
    model = Net(usual).double()
    fast = mk.accelerate(model, verbose=False)
    for net in (model, fast):
        torch.manual_seed(3)
        net.norm = nn.BatchNorm1d(10, eps=0.5).double()
        net.pool = nn.AvgPool1d(5)
    assert_same(model, fast, mk.one_hot(codes, torch.float64))


def switchable(net, x):
    z = net.conv(x)
    return net.pool(net.relu(z * 3 if net.flag else net.norm(z)))


def test_a_changed_setting_counts(codes):
    model = Net(switchable).double()
    fast = mk.accelerate(model, verbose=False)
    for flag in (True, False):
        model.flag = fast.flag = flag
        assert_same(model, fast, mk.one_hot(codes, torch.float64))


def test_another_path_is_an_error_not_a_wrong_answer(codes):
    model = Net(lambda net, x: net.conv(x) if LENGTH == 0 else usual(net, x))
    fast = mk.accelerate(model, verbose=False)
    fast.run = lambda net, x: net.pool(net.conv(x))
    with pytest.raises(RuntimeError, match="another path"):
        fast(codes)


@pytest.mark.parametrize("layers", [FUSED["norm, ReLU, pool"][0], FUSED["GELU"][0]])
def test_attributions_are_those_of_the_model(layers, codes):
    model = sequential(*layers(), nn.Flatten(), nn.LazyLinear(1)).eval()
    model(mk.one_hot(codes, torch.float64))
    fast = mk.accelerate(model, verbose=False)
    generator = torch.Generator().manual_seed(2)
    dense = torch.rand(6, 4, LENGTH, generator=generator, dtype=torch.float64)
    for x in (mk.one_hot(codes, torch.float64), dense):
        gradients = []
        for net in (model, fast):
            leaf = x.clone().requires_grad_()
            gradients.append(torch.autograd.grad(net(leaf).sum(), leaf)[0])
        assert torch.equal(*gradients)  # the very same operations
    close(fast(dense), model(dense))  # not one-hot


def test_captum_attributes_alike(codes):
    """Integrated gradients, whose inputs between baseline and sequence are not one-hot, and DeepLift, which
    hooks modules: the accelerated model computes as before in both."""
    captum = pytest.importorskip("captum.attr")
    layers = FUSED["norm, ReLU, pool"][0]
    model = sequential(*layers(), nn.Flatten(), nn.LazyLinear(2)).eval()
    x = mk.one_hot(codes, torch.float64)
    model(x)
    fast = mk.accelerate(model, verbose=False)
    for method in (captum.IntegratedGradients, captum.DeepLift, captum.InputXGradient):
        ours, theirs = (method(net).attribute(x.clone(), target=1) for net in (fast, model))
        assert theirs.abs().sum() > 0
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layout", ["(N,4,1,L)", "(N,4,L,1)", "(N,1,4,L)", "(N,1,L,4)"])
def test_two_dimensional_stems(layout, codes, capsys):
    x = mk.one_hot(codes, torch.float64)
    kernel, channels, along, x = {
        "(N,4,1,L)": ((1, 9), 4, 1, x[:, :, None]),
        "(N,4,L,1)": ((9, 1), 4, 0, x[..., None]),
        "(N,1,4,L)": ((4, 9), 1, 1, x[:, None]),
        "(N,1,L,4)": ((9, 4), 1, 0, x[:, None].transpose(2, 3)),
    }[layout]
    padding, size = ((0, 4), (1, 5)) if along else ((4, 0), (5, 1))
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(channels, 10, kernel, padding=padding), nn.BatchNorm2d(10), nn.ReLU(), nn.MaxPool2d(size)
    ).double()  # fmt: skip
    fast, line = fused(model, capsys)
    assert "runs 0, 1, 2 and 3 as one" in line
    assert_same(model, fast, x)
    assert_same(model, fast, x, codes)
    one = sequential(nn.Conv2d(channels, 10, kernel))
    assert_same(one, mk.accelerate(one, verbose=False), x, codes)


def test_two_dimensional_stems_that_pad_the_letters_are_left(capsys):
    assert "pads the letters" in fused(nn.Conv2d(1, 5, (4, 9), padding="same"), capsys)[1]
    assert "pads the letters" in fused(nn.Conv2d(4, 5, (1, 9), padding=2), capsys)[1]
    model = nn.Sequential(nn.Conv2d(4, 5, (1, 9)), nn.MaxPool2d((2, 1)))
    assert "along the sequence alone" in fused(model, capsys)[1]


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "old weight_norm"])
def test_parametrized_weights_are_computed_each_time(kind, codes):
    make = {
        "weight_norm": parametrizations.weight_norm,
        "spectral_norm": parametrizations.spectral_norm,
        "old weight_norm": torch.nn.utils.weight_norm,
    }[kind]
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(nn.Sequential(make(CONV()), nn.BatchNorm1d(10), nn.MaxPool1d(4)).double())
    mk.accelerate(nets[1], inplace=True)
    x = mk.one_hot(codes, torch.float64)
    for _ in range(2):
        assert_same(*nets, x, codes, steps=1)
        with torch.no_grad():
            for net in nets:
                for p in net.parameters():
                    p.mul_(1.3)


def test_copies_and_pickles_stand_alone(codes):
    model = Net(usual).double()
    x = mk.one_hot(codes, torch.float64)
    fast = mk.accelerate(model, verbose=False)
    assert not list(mk.nn._fusion.installed(model))  # a copy was changed
    buffer = io.BytesIO()
    torch.save(fast, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)), loaded):
        assert type(other.conv) is nn.Conv1d
        with torch.no_grad():
            for p in fast.parameters():
                p.add_(1)  # the other's are its own
        assert_same(copy.deepcopy(model), copy.deepcopy(other), x, codes)
        other.load_state_dict({k: v.to(torch.float64) * 0.5 for k, v in model.state_dict().items()})
        twin = copy.deepcopy(model)
        twin.load_state_dict(other.state_dict())
        assert_same(twin, other, x, codes)
        fast.load_state_dict(model.state_dict())
    assert mk.accelerate(fast, inplace=True, verbose=False) is fast
    assert not list(mk.nn._fusion.installed(mk.nn.restore(fast)))
    close(fast.eval()(x), model.eval()(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_half_precision_give_the_types_of_the_model(dtype, codes):
    torch.manual_seed(0)
    model = nn.Sequential(CONV(), nn.BatchNorm1d(10), nn.ReLU(), nn.MaxPool1d(4), nn.Flatten())
    fast = mk.accelerate(model, verbose=False)
    x = mk.one_hot(codes)
    exact = copy.deepcopy(model)(x)
    # One rounding of weights, of 36 additions' result, and of batch norm's result, each of numbers below 4.
    bound = 3 * 4 * torch.finfo(dtype).eps
    with torch.autocast("cpu", dtype=dtype):
        ours, theirs = fast(x), model(x)
    assert ours.dtype == theirs.dtype == dtype
    assert (ours.float() - exact).abs().max() <= bound
    assert (theirs.float() - exact).abs().max() <= bound
    ours, theirs = fast.to(dtype).eval()(x.to(dtype)), model.to(dtype).eval()(x.to(dtype))
    assert ours.dtype == theirs.dtype == dtype
    assert (ours.float() - theirs.float()).abs().max() <= bound


def test_compile_and_export(codes):
    torch.manual_seed(0)
    model = Net(usual)
    fast, x = mk.accelerate(model, verbose=False), mk.one_hot(codes)
    twin = copy.deepcopy(fast)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for given in (codes, x):
        results = []
        for net in (fast, compiled):
            net.zero_grad()
            out = net(given)
            out.square().sum().backward()
            results.append([out, *(p.grad for p in net.parameters())])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b)
    torch.testing.assert_close(twin.state_dict(), fast.state_dict())
    fast.eval()
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(fast, (codes,), dynamic_shapes={"x": {0: batch}})
    assert "motifkit.conv_pool" in exported.graph_module.code
    torch.testing.assert_close(exported.module()(codes[:4]), fast(codes[:4]))
    assert set(exported.state_dict) == set(model.state_dict())


def test_transforms_and_traces_see_the_model_itself(codes):
    model = Net(usual).double().eval()
    fast, x = mk.accelerate(model, verbose=False), mk.one_hot(codes, torch.float64)
    traced = torch.jit.trace(fast, (x,))
    close(traced(x.flip(2)), model(x.flip(2)))

    def loss(parameters, net, one):
        return torch.func.functional_call(net, parameters, (one[None],)).square().sum()

    per_sample = [
        torch.func.vmap(torch.func.grad(loss), (None, None, 0))(dict(net.named_parameters()), net, x)
        for net in (model, fast)
    ]
    for ours, theirs in zip(per_sample[1].values(), per_sample[0].values(), strict=True):
        close(ours, theirs)


def test_sync_batch_norm_and_frozen_parts_after_accelerate(codes):
    model = Net(usual).double()
    fast = mk.accelerate(model, verbose=False)
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(fast).norm, nn.SyncBatchNorm)
    x = mk.one_hot(codes, torch.float64)
    close(fast.eval()(x), model.eval()(x))
    frozen = mk.accelerate(model, verbose=False)
    for net in (model, frozen):
        net.train()
        net.norm.eval()
        net.conv.weight.requires_grad_(False)
        net(x).sum().backward()
    assert frozen.conv.weight.grad is None
    close(frozen.norm.weight.grad, model.norm.weight.grad)
    close(frozen.norm.running_mean, model.norm.running_mean)


def test_threads_do_not_meet(codes):
    """One thread inside the model's forward, another using its layers by hand."""
    model = Net(usual).double().eval()
    fast, x = mk.accelerate(model, verbose=False), mk.one_hot(codes, torch.float64)
    wanted, errors = (model(x), model.conv(x)), []

    def work(call, expected):
        for _ in range(30):
            if (call(x) - expected).abs().max() > 1e-9:
                errors.append(call)

    pairs = ((fast, wanted[0]), (fast.conv, wanted[1])) * 2
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def two_processes(rank, folder, accelerated):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/{accelerated}", rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Sequential(CONV(), nn.BatchNorm1d(10), nn.ReLU(), nn.MaxPool1d(4)),
            nn.Flatten(),
            nn.Linear(280, 2),
        ).double()
        x = mk.one_hot(random_codes(8, LENGTH, torch.Generator().manual_seed(rank)), torch.float64)
        model = mk.accelerate(model, verbose=False) if accelerated else model
        net = nn.parallel.DistributedDataParallel(model)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(3):
            optimiser.zero_grad()
            net(x).square().mean().backward()
            optimiser.step()
        torch.save(model.state_dict(), f"{folder}/{accelerated}-{rank}.pt")
        torch.distributed.barrier()  # neither leaves while the other still talks to it
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_train_alike(tmp_path):
    for accelerated in (False, True):
        torch.multiprocessing.start_processes(
            two_processes, (str(tmp_path), accelerated), nprocs=2, start_method="fork"
        )
    ours, theirs = (
        [torch.load(tmp_path / f"{accelerated}-{rank}.pt") for rank in (0, 1)]
        for accelerated in (True, False)
    )
    for rank in (0, 1):
        assert list(ours[rank]) == list(theirs[rank])
        for name, value in ours[rank].items():
            close(value.double(), theirs[rank][name].double())
    assert torch.equal(ours[0]["2.weight"], ours[1]["2.weight"])


def test_motifs_are_extracted_from_an_accelerated_model(codes):
    torch.manual_seed(0)
    model = nn.Sequential(CONV(), nn.BatchNorm1d(10), nn.ReLU(), nn.MaxPool1d(4))
    ours, theirs = (
        mk.extract_motifs(net, codes, rule="best") for net in (mk.accelerate(model, verbose=False), model)
    )
    assert [m.name for m in ours] == [m.name for m in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert (a.counts == b.counts).all()
