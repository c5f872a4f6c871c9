"""Turn pytest-benchmark's JSON, or the medians of several, into README.md's table and a small JSON to keep.

pytest benchmarks --benchmark-only --benchmark-json=raw.json
python benchmarks/table.py benchmarks/results/NAME.json raw.json [raw2.json ...]
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median


def main(kept: Path, raws: list[Path]) -> None:
    """Write `kept` and print the table."""
    runs = [json.loads(raw.read_text()) for raw in raws]
    found: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for entry in (entry for run in runs for entry in run["benchmarks"]):
        found[entry["group"]][entry["params"]["contender"]].append(
            {"median_ms": entry["stats"]["median"] * 1e3, **entry["extra_info"]}
        )
    groups = {
        group: {
            name: {key: round(median(run[key] for run in each), 4) for key in each[0]} | {"runs": len(each)}
            for name, each in contenders.items()
        }
        for group, contenders in found.items()
    }
    machine = {
        key: runs[0]["machine_info"][key] for key in ("processors", "python_version", "torch", "motifkit")
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"machine": machine, "groups": groups}, indent=1) + "\n")
    print("| what | motifkit, ms | rival, ms | ratio | ns a base | MB out | of the floor |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for group, contenders in groups.items():
        ours = contenders.pop("motifkit")
        each = f"{ours['median_ms'] * 1e6 / ours['positions']:.2g}" if ours["positions"] > 1 else ""
        out = f"{ours['bytes_out'] / 1e6:.2g}" if "bytes_out" in ours else ""
        floor = f"{ours['floor_ms'] / ours['median_ms']:.0%}" if "floor_ms" in ours else ""
        for name, rival in contenders.items():
            times = f"{ours['median_ms']:.3g} | {name} {rival['median_ms']:.3g}"
            print(f"| {group} | {times} | {rival['ratio']:.1f} | {each} | {out} | {floor} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(raw) for raw in sys.argv[2:]])
