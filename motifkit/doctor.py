"""What runs where and why."""

import importlib.metadata
import platform
import shutil
import subprocess
from typing import Any

import torch

from motifkit._native import build_info

_LIBRARIES = {
    "lightning": "train", "torchmetrics": "train", "h5py": "train", "pandas": "motifs",
    "pyjaspar": "motifs", "memelite": "motifs", "matplotlib": "motifs", "jinja2": "report",
    "scipy": "motifs", "biopython": "motifs", "joblib": "experiments", "distributed": "experiments",
    "captum": "experiments", "cupy-cuda13x": "cuda",
}  # fmt: skip


def examine() -> dict[str, Any]:
    """What is installed and in use, as a dict for JSON."""
    info = build_info()
    nvcc = shutil.which("nvcc")
    version = None
    if nvcc:
        lines = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
        version = next((line.split(",")[1].strip() for line in lines.splitlines() if "release" in line), "?")
    return {
        "motifkit": info,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "torch": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "gpu": torch.cuda.is_available(),
        },
        "nvcc": version,
        "libraries": {name: _installed(name) for name in _LIBRARIES},
    }


def render(found: dict[str, Any]) -> str:
    """The same for a person."""
    info, torch_info = found["motifkit"], found["torch"]
    ops = (
        f"compiled, {info['instruction_set']} of {', '.join(info['instruction_sets'])},"
        f" {info['threads']} threads"
        if info["native"]
        else "not loaded: every op runs its PyTorch reference; reinstall where a C++ compiler is found"
    )
    if info["cuda"]:
        cuda = f"kernels built for {', '.join(info['cuda_architectures'])}"
    else:
        cuda = "kernels not built: tensors on a GPU run the PyTorch reference"
    gpu = ", ".join(info["devices"]) or "none that PyTorch sees"
    lines = [
        f"motifkit {info['version']} on Python {found['python']}, {found['processor']}",
        f"CPU ops     {ops}",
        f"CUDA        {cuda}",
        f"GPU         {gpu}",
        f"torch       {torch_info['version']} (CUDA {torch_info['cuda'] or 'not included'})",
        f"nvcc        {found['nvcc'] or 'not found'}",
    ]
    for name, version in found["libraries"].items():
        remedy = f"missing: pip install 'motifkit[{_LIBRARIES[name]}]'"
        lines.append(f"{name:<11} {version or remedy}")
    return "\n".join(lines)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
