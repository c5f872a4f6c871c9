"""The report's table of filters: a row each, with logos of the motif and its match, aligned."""

from motifkit.motifs import logo
from motifkit.motifs.motif import Motif
from motifkit.report.performance import number

_FEW_SITES = 10  # an alignment of fewer windows looks sharper than it is


def filter_rows(analysis, known, markup):
    """What the template shows of each filter. known: profiles of each class; markup: marks safe HTML."""
    relevant = {profile for profiles in known.values() for profile in profiles}
    trimmed = {motif.name: motif for motif in analysis.trimmed}
    targets = {motif.name: motif for motif in analysis.database}
    groups = dict(iter(analysis.matches.groupby("query")))
    placements = {}
    if analysis.placements is not None:
        placements = analysis.placements.set_index("filter").to_dict("index")
    rows = []
    for index, motif in enumerate(analysis.motifs):
        shown, group = trimmed.get(motif.name), groups.get(motif.name)
        row = {
            "index": index, "name": motif.name, "nsites": f"{motif.nsites:g}", "best": "",
            "bits": f"{shown.information.sum():.1f}" if shown else "0.0", "evalue": "",
            "evalue_sort": 1e9, "matches": [], "target_logo": "", "reverse": False,
            "relevant": False, "no_match": "none" if shown else "no informative column",
            "null": "", "null_sort": 2,
            "logo": markup(logo.svg(shown, lazy=True)) if shown else "", "few": motif.nsites < _FEW_SITES,
        }  # fmt: skip
        if group is not None:
            best = group.iloc[0]
            target = targets[best["target"]]
            row |= {
                "best": _target_text(best), "evalue": f"{best['e_value']:.1e}",
                "evalue_sort": best["e_value"], "reverse": best["strand"] == "-",
                "matches": [_match_text(m) for _, m in group.iterrows()],
                "relevant": bool(group["target"].isin(relevant).any()),
            }  # fmt: skip
            if "empirical_p" in group:
                row |= {"null": f"{best['empirical_p']:.2g}", "null_sort": best["empirical_p"]}
            row["logo"], row["target_logo"] = map(markup, _aligned(shown, target, best))
        if placements:
            found = placements[motif.name]
            row |= {
                "truth": found["motif"], "precision": number(found["precision"]),
                "recall": number(found["recall"]),
            }  # fmt: skip
        rows.append(row)
    return rows


def _aligned(query: Motif, target: Motif, match) -> tuple[str, str]:
    """Logos of a motif and of its match, set so that aligned columns stand above each other."""
    if match["strand"] == "-":
        target = target.reverse_complement()
    offset = int(match["offset"])  # the query begins `offset` columns into the target
    before, target_before = max(offset, 0), max(-offset, 0)
    total = max(before + len(query), target_before + len(target))
    return (
        logo.svg(query, before=before, total=total, lazy=True),
        logo.svg(target, before=target_before, total=total, height=36, lazy=True),
    )


def _target_text(match) -> str:
    name, target = match["target_name"], match["target"]
    return target if name == target else f"{name} ({target})"


def _match_text(match) -> str:
    figures = f"E = {match['e_value']:.1e}, q = {match['q_value']:.1e}, {match['strand']}"
    return f"{_target_text(match)}, {figures}"
