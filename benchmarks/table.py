"""Turn pytest-benchmark's JSON into the table of README.md and a small JSON to keep.

pytest benchmarks --benchmark-only --benchmark-json=raw.json
python benchmarks/table.py raw.json benchmarks/results/NAME.json
"""

import json
import sys
from collections import defaultdict
from pathlib import Path


def main(raw: Path, kept: Path) -> None:
    """Write `kept` and print the table."""
    results = json.loads(raw.read_text())
    groups: dict[str, dict[str, dict]] = defaultdict(dict)
    for entry in results["benchmarks"]:
        groups[entry["group"]][entry["params"]["contender"]] = {
            "median_ms": round(entry["stats"]["median"] * 1e3, 4),
            "rounds": entry["stats"]["rounds"],
            **entry["extra_info"],
        }
    machine = {
        key: results["machine_info"][key] for key in ("processors", "python_version", "torch", "motifkit")
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
    main(Path(sys.argv[1]), Path(sys.argv[2]))
