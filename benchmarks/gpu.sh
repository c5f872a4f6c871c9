#!/usr/bin/env bash
# Everything that only a GPU can show, in less than eight minutes: build for it, its tests, compute-sanitizer on
# small shapes, the benchmarks.
#
#     benchmarks/gpu.sh OUT
#
# Needs nvcc, cmake, ninja, and a Python with torch (CUDA), numpy, pybind11, scikit-build-core, pytest and
# pytest-benchmark; no network. cupy, lightning and the rest are used where they are there.
# OUT gets summary.tsv (step, exit status, seconds), a log a step, tests.xml and benchmarks.json. Exit status: 0,
# all steps passed; 1, some did not (the others ran all the same); 2, nothing could be run.
set -uo pipefail

fail() {
  echo "benchmarks/gpu.sh: $1" >&2
  exit 2
}

[ $# -eq 1 ] || fail "usage: benchmarks/gpu.sh OUT"
mkdir -p "$1" || fail "cannot make $1"
out=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
end=$((SECONDS + ${GPU_SECONDS:-470}))

command -v nvcc > /dev/null || [ -n "${CUDACXX:-}" ] || fail "no nvcc: put CUDA's bin folder on PATH"
"$python" -c 'import torch, numpy, pybind11, scikit_build_core, pytest, pytest_benchmark' 2> "$out/python.log" ||
  fail "$python lacks something: $(tail -n 1 "$out/python.log")"
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null ||
  fail "no GPU that $("$python" -c 'import torch; print("torch", torch.__version__)') sees: nothing was run"

# step NAME SECONDS COMMAND...: run, log, and note how it went; never past the end.
failed=0
printf 'step\tstatus\tseconds\n' > "$out/summary.tsv"
step() {
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  [ $((end - SECONDS)) -lt "$limit" ] && limit=$((end - SECONDS))
  if [ "$limit" -lt 5 ]; then
    status=skipped
  else
    timeout --kill-after=5 "$limit" "$@" > "$out/$name.log" 2>&1
    status=$?
  fi
  [ "$status" = 0 ] || failed=1
  printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - start)) | tee -a "$out/summary.tsv"
}

{
  nvidia-smi
  nvcc --version
  "$python" -c 'import sys, torch; print(sys.version); print(torch.__version__, torch.version.cuda)'
  git -C "$root" log -1 --format=%H
} > "$out/machine.log" 2>&1

# The package goes beside the results, for this GPU alone; the source tree, which would hide it, is not on the path.
export MOTIFKIT_CUDA=ON MOTIFKIT_CUDA_ARCHITECTURES=${MOTIFKIT_CUDA_ARCHITECTURES:-native}
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
step build 200 "$python" -m pip install --no-build-isolation --no-deps --no-index --upgrade \
  --target "$out/site" -C build-dir="$out/build" "$root"
[ "$failed" = 0 ] || fail "the build failed, see $out/build.log"
export PYTHONPATH="$out/site" PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
cd "$out" || exit 2
step doctor 60 "$python" -m motifkit.cli doctor --json
pytest=("$python" -m pytest -c "$root/pyproject.toml" --rootdir "$root" -p no:cacheprovider)
step tests 150 "${pytest[@]}" -q -m cuda --junitxml "$out/tests.xml" "$root/tests"

sanitizer=$(command -v compute-sanitizer || ls "$(dirname "$(readlink -f "$(command -v nvcc)")")"/compute-sanitizer \
  2> /dev/null)
step small 60 "$python" "$root/benchmarks/small_shapes.py"
for tool in memcheck racecheck initcheck; do
  if [ -z "$sanitizer" ]; then
    printf 'sanitizer-%s\tno compute-sanitizer\t0\n' "$tool" | tee -a "$out/summary.tsv"
    continue
  fi
  # Without PyTorch's pool each tensor is an allocation of its own, whose ends can be watched.
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 step "sanitizer-$tool" 60 "$sanitizer" --tool "$tool" --error-exitcode 9 \
    --kernel-name kernel_substring=motifkit "$python" "$root/benchmarks/small_shapes.py"
done

step benchmarks 200 "${pytest[@]}" -q "$root/benchmarks/test_cuda.py" --benchmark-only \
  --benchmark-json "$out/benchmarks.json"
rm -rf "$out/build"
exit "$failed"
