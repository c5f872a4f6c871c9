#!/usr/bin/env python3
"""Compiles every kernel for every target with warnings as errors, and reads what ptxas says of each.

    python csrc/cuda/ptxas.py            compare with ptxas.tsv; exit status 1 where a kernel got worse
    python csrc/cuda/ptxas.py --write    write ptxas.tsv

The table has a line a kernel and target: registers a thread, static shared memory, stack and spills (bytes).
What was compiled is kept in build/ptxas, so that an unchanged source costs nothing.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parent
TABLE = HERE / "ptxas.tsv"
CACHE = CSRC.parent / "build" / "ptxas"
TARGETS = (80, 86, 89, 90)
FLAGS = ["-std=c++17", "-O3", "--fmad=false", f"-I{CSRC}", "-Xptxas=-v", "-Werror=all-warnings"]
HOST_FLAGS = ["-Xcompiler=-fPIC,-Wall,-Wextra,-Werror"]
FIGURES = ("registers", "shared", "stack", "spills")

Row = tuple[str, str, int]  # source, kernel, target
Table = dict[Row, dict[str, int]]


class CompileError(Exception):
    """What nvcc said of a source that it does not take."""


def find_nvcc() -> str | None:
    """The CUDA compiler that CMake would take, too."""
    return shutil.which(os.environ.get("CUDACXX", "nvcc"))


def nvcc_release(nvcc: str) -> str:
    """Such as "13.0"."""
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release (\d+\.\d+)", said).group(1)


def measure(nvcc: str, jobs: int | None = None) -> Table:
    """Compile all; CompileError where that fails."""
    sources = sorted(HERE.glob("*.cu"))
    release = nvcc_release(nvcc)
    key = hashlib.sha256(repr((release, TARGETS, FLAGS, HOST_FLAGS)).encode())
    for path in sorted(p for folder in ("common", "ops", "cuda") for p in (CSRC / folder).glob("*.h")):
        key.update(path.name.encode() + path.read_bytes())
    tasks = [(nvcc, source, target, key.hexdigest()) for source in sources for target in TARGETS]
    with concurrent.futures.ThreadPoolExecutor(jobs or len(os.sched_getaffinity(0))) as pool:
        return {
            row: figures for part in pool.map(_compile, *zip(*tasks, strict=True)) for row, figures in part
        }


def _compile(nvcc: str, source: Path, target: int, key: str) -> list[tuple[Row, dict[str, int]]]:
    name = hashlib.sha256(key.encode() + source.read_bytes()).hexdigest()[:16]
    kept = CACHE / f"{source.stem}-{target}-{name}.json"
    if not kept.exists():
        # Host code is the same for all targets: compile it with the last one only.
        what = ["-c", *HOST_FLAGS] if target == TARGETS[-1] else ["-cubin"]
        with tempfile.TemporaryDirectory() as folder:
            command = [nvcc, *FLAGS, f"-arch=sm_{target}", *what, str(source), "-o", f"{folder}/out"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CompileError(f"{source.name} for sm_{target}:\n{done.stdout}{done.stderr}")
        CACHE.mkdir(parents=True, exist_ok=True)
        for stale in CACHE.glob(f"{source.stem}-{target}-*.json"):
            stale.unlink(missing_ok=True)
        kept.write_text(json.dumps(parse(done.stdout + done.stderr)))
    return [
        ((source.name, kernel, target), figures) for kernel, figures in json.loads(kept.read_text()).items()
    ]


def parse(report: str) -> dict[str, dict[str, int]]:
    """Kernel -> figures, from what `ptxas -v` prints."""
    kernels: dict[str, dict[str, int]] = {}
    current: dict[str, int] = {}
    for line in _demangled(report).splitlines():
        if match := re.search(r"Compiling entry function '(.*)' for", line):
            name = re.sub(r"motifkit::(cuda::)?|\(anonymous namespace\)::|^void ", "", match[1])
            current = kernels.setdefault(name, {})
        elif match := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill", line
        ):
            current.update(stack=int(match[1]), spills=int(match[2]) + int(match[3]))
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            current.update(registers=int(match[1]), shared=int(shared[1]) if shared else 0)
    return kernels


def _demangled(text: str) -> str:
    done = subprocess.run(["c++filt", "-p"], input=text, capture_output=True, text=True, check=True)
    return done.stdout


def read(path: Path = TABLE) -> tuple[str, Table]:
    """The release that the committed table was made with, and the table."""
    first, _, *lines = path.read_text().splitlines()
    table = {}
    for line in lines:
        source, kernel, target, *figures = line.split("\t")
        table[source, kernel, int(target)] = dict(zip(FIGURES, map(int, figures), strict=True))
    return first.split()[-1], table


def write(release: str, table: Table, path: Path = TABLE) -> None:
    """The table, in an order that does not depend on nvcc."""
    lines = [f"# nvcc {release}", "\t".join(("source", "kernel", "target", *FIGURES))]
    for (source, kernel, target), figures in sorted(table.items()):
        lines.append("\t".join(map(str, (source, kernel, target, *(figures[name] for name in FIGURES)))))
    path.write_text("\n".join(lines) + "\n")


def worse(found: Table, known: Table, same_release: bool = True) -> list[str]:
    """What to complain of: spills and stack always; more registers or shared memory than in the table, and
    kernels that are not in it, where it was made by the same release of nvcc."""
    complaints = []
    for row, figures in sorted(found.items()):
        label = f"{row[0]}: {row[1]} on sm_{row[2]}"
        complaints += [
            f"{label}: {figures[name]} bytes of {name}" for name in ("stack", "spills") if figures[name]
        ]
        if not same_release:
            continue
        if row not in known:
            complaints.append(f"{label}: not in {TABLE.name}")
            continue
        for name in ("registers", "shared"):
            if figures[name] > known[row][name]:
                complaints.append(f"{label}: {name} {known[row][name]} -> {figures[name]}")
    if same_release:
        complaints += [
            f"{row[0]}: {row[1]} on sm_{row[2]}: gone" for row in sorted(known.keys() - found.keys())
        ]
    return complaints


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    arguments = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None:
        print("no nvcc found: nothing was compiled")
        return 0
    try:
        found = measure(nvcc)
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    release = nvcc_release(nvcc)
    if arguments.write:
        write(release, found)
        complaints = worse(found, found)
    else:
        known_release, known = read()
        complaints = worse(found, known, release == known_release)
    print(f"{len(found)} kernels and targets compiled by nvcc {release}")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
