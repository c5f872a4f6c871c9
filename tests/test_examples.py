"""The examples run, with and without their one line, and print the same losses; the pages of docs/models are
true."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import motifkit as mk
from motifkit.models.published import PUBLISHED

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "models").glob("*.md"))


def run(name, arguments, capfd, monkeypatch):
    """What a script prints, and what it says on standard error."""
    script = str(ROOT / "examples" / f"{name}.py")
    capfd.readouterr()
    if name == "train_two_processes":
        # Where motifkit is installed it is found as such; else beside this folder, as these tests found it.
        path = os.pathsep.join([str(Path(mk.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        subprocess.run([*command, script, *arguments], env=environment, timeout=500, check=True)
    else:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        monkeypatch.syspath_prepend(str(ROOT / "examples"))
        runpy.run_path(script, run_name="__main__")
    return capfd.readouterr()


@pytest.mark.parametrize("name", ["train_pytorch", "train_lightning", "train_two_processes"])
def test_an_example_prints_the_same_losses_before_and_after(name, capfd, monkeypatch):
    if name == "train_lightning":
        pytest.importorskip("lightning")
    losses = []
    for extra in ([], ["--plain"]):
        out, err = run(name, ["--steps", "6", "--batch", "20", *extra], capfd, monkeypatch)
        said = re.findall(r"runs \S*conv1, \S*norm1 and \S*pool1 as one", err)
        assert len(said) == (0 if extra else 1)
        first, last, steps = re.search(r"loss ([\d.]+) to ([\d.]+) in (\d+) steps", out).groups()
        losses.append((float(first), float(last)))
        assert steps == "6"
    # The first loss is that of equal weights, printed to 1e-4. Adam's first steps follow the sign of
    # gradients next to zero, which rounding may turn: after five steps of 1e-3 the losses stay within 1%.
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1.01e-4)
    assert losses[0][1] == pytest.approx(losses[1][1], rel=0.01)


def test_every_example_marks_its_one_line():
    scripts = list((ROOT / "examples").glob("train_*.py"))
    assert len(scripts) == 3
    for path in scripts:
        marked = [line for line in path.read_text().splitlines() if "# the one line" in line]
        assert len(marked) == 1
        assert "mk.accelerate(" in marked[0]


def test_every_published_network_has_a_page():
    assert {page.stem for page in PAGES} == {name.lower() for name in PUBLISHED} | {"README"}


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "README"], ids=lambda p: p.stem)
def test_a_page_shows_what_accelerate_says(page, capsys):
    text = page.read_text()
    scope = {}
    with torch.device("meta"):  # the shapes alone
        exec(re.search(r"```python\n(.*?)```", text, flags=re.DOTALL).group(1), scope)
    capsys.readouterr()
    mk.accelerate(scope["model"])
    assert f"```\n{capsys.readouterr().err.strip()}\n```" in text
    measured = text.split("<!-- measured -->\n")[1].split("<!-- end -->")[0]
    assert re.search(r"first block, time \| [\d.]+ ms \| [\d.]+ ms \([\d.]+x\)", measured)
