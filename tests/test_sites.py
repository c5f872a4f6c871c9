"""Positions, distances and co-occurrence, against sequences whose sites are known."""

import math

import numpy as np
import pytest

import motifkit as mk
from motifkit.motifs.sites import (
    cooccurrence,
    find_sites,
    pair_distances,
    preferred_spacings,
    site_positions,
    site_summary,
)

pytest.importorskip("pandas")
pytest.importorskip("scipy")

WORDS = {"gata": "AGATAAGG", "e box": "CCAGGTGT"}


@pytest.fixture
def motifs():
    return mk.MotifSet(
        [mk.Motif(name, mk.one_hot(mk.encode(word))[0].numpy() * 50, 50) for name, word in WORDS.items()]
    )


def reversed_complement(word):
    return mk.decode(mk.reverse_complement(mk.encode(word)))[0]


def sequence(*words, length=60):
    """Words at positions in a stretch of N-like T that holds neither."""
    letters = ["T"] * length
    for at, word in words:
        letters[at : at + len(word)] = word
    return "".join(letters)


GATA, EBOX = WORDS.values()
BACK = reversed_complement(EBOX)
SEQUENCES = [
    sequence((5, GATA), (20, EBOX)),  # 7 letters between, same strand, e box downstream
    sequence((10, GATA), (25, EBOX)),
    sequence((30, GATA), (3, BACK)),  # 19 between, upstream, opposite
    sequence((40, reversed_complement(GATA)), (20, EBOX)),  # 12 between; as gata is read, downstream
    sequence((0, GATA)),
    *[sequence()] * 5,
]


@pytest.fixture
def sites(motifs):
    return find_sites(motifs, SEQUENCES, fraction=0.9)


def test_sites_are_where_they_were_put(sites):
    assert sites[["sequence", "start", "motif", "strand"]].to_numpy().tolist() == [
        [0, 5, "gata", "+"],
        [0, 20, "e_box", "+"],
        [1, 10, "gata", "+"],
        [1, 25, "e_box", "+"],
        [2, 3, "e_box", "-"],
        [2, 30, "gata", "+"],
        [3, 20, "e_box", "+"],
        [3, 40, "gata", "-"],
        [4, 0, "gata", "+"],
    ]
    assert (sites["end"] - sites["start"] == 8).all()
    assert (sites.attrs["sequences"], sites.attrs["length"]) == (10, 60)


def test_cooccurrence_is_hypergeometric(sites):
    (row,) = cooccurrence(sites).to_dict("records")
    assert (row["motif_a"], row["motif_b"]) == ("gata", "e_box")
    assert (row["sequences_a"], row["sequences_b"], row["both"], row["expected"]) == (5, 4, 4, 2.0)
    # All four e box sequences among the five of gata: C(5, 4) / C(10, 4); two-sided.
    assert row["p_value"] == pytest.approx(2 * math.comb(5, 4) / math.comb(10, 4))
    assert row["q_value"] == row["p_value"]
    assert row["same_place"] == 0


def test_copies_of_a_motif_are_told(motifs):
    copy = mk.Motif("copy", motifs[0].counts[:, 1:], 50)
    table = cooccurrence(find_sites(mk.MotifSet([*motifs, copy]), SEQUENCES, fraction=0.9))
    pairs = table.set_index(["motif_a", "motif_b"])
    assert pairs.loc[("gata", "copy"), "same_place"] == 1
    assert pairs.loc[("gata", "copy"), "p_value"] == pytest.approx(2 / math.comb(10, 5))
    assert pairs.loc[("e_box", "copy"), "same_place"] == 0
    # Benjamini-Hochberg by hand: p of rank r times 3 / r, made to rise.
    p = table["p_value"].to_numpy()
    expected = np.minimum.accumulate((p * 3 / np.arange(1, 4))[::-1])[::-1]
    np.testing.assert_allclose(table["q_value"], np.minimum(expected, 1))


def test_distances_sides_and_strands(sites):
    table = pair_distances(sites, [("gata", "e_box")])
    assert table.drop(columns=["motif_a", "motif_b"]).to_numpy().tolist() == [
        ["downstream", "opposite", 12, 1],
        ["downstream", "same", 7, 2],
        ["upstream", "opposite", 19, 1],
    ]
    # Seen from the other motif.
    other = pair_distances(sites, [("e_box", "gata")])
    assert sorted(other.drop(columns=["motif_a", "motif_b"]).to_numpy().tolist()) == [
        ["downstream", "opposite", 12, 1],
        ["upstream", "opposite", 19, 1],
        ["upstream", "same", 7, 2],
    ]
    assert len(pair_distances(sites, [("gata", "gata")])) == 0
    assert len(pair_distances(sites, [("gata", "e_box")], most=10)) == 1


def test_preferred_spacing(sites):
    best = preferred_spacings(pair_distances(sites, [("gata", "e_box")])).iloc[0]
    assert (best["distance"], best["count"], best["pairs"]) == (7, 2, 2)
    assert best["p_value"] == pytest.approx(101 * (1 / 101) ** 2)


def test_positions_by_strand(sites):
    table = site_positions(sites, bins=6)
    assert table["begin"].tolist() == [0, 10, 20, 30, 40, 50] * 2
    gata, ebox = (table[table["motif"] == name] for name in ("gata", "e_box"))
    assert gata["plus"].tolist() == [2, 1, 0, 1, 0, 0]  # middles 3, 8, 13, 33
    assert gata["minus"].tolist() == [0, 0, 0, 0, 1, 0]
    assert ebox["minus"].tolist() == [1, 0, 0, 0, 0, 0]


def test_summary_tests_strand_and_position(motifs):
    # 40 sites, all forward and all at one place; and 40 spread evenly over the 53 places.
    kept = [sequence((12, GATA)) for _ in range(40)]
    spread = [sequence((i * 53 // 40, word)) for i, word in enumerate([EBOX, BACK] * 20)]
    table = site_summary(find_sites(motifs, kept + spread, fraction=0.9)).set_index("motif")
    assert table.loc["gata", ["sites", "plus", "minus"]].tolist() == [40, 40, 0]
    assert table.loc["gata", "strand_p"] == pytest.approx(2 * 0.5**40)
    assert table.loc["gata", "centre"] == 15.5
    assert table.loc["gata", "position_p"] < 1e-20
    assert table.loc["e_box", "strand_p"] == 1
    assert table.loc["e_box", "position_p"] > 0.99


def test_motifs_without_sites_and_data_without_any(motifs):
    sites = find_sites(motifs, ["T" * 30, "ACGT"], fraction=0.9)  # ragged: padded with N
    assert len(sites) == 0
    assert len(cooccurrence(sites)) == 0
    assert site_summary(sites)["sites"].tolist() == [0, 0]
    assert site_positions(sites)[["plus", "minus"]].to_numpy().sum() == 0
    assert len(preferred_spacings(pair_distances(sites, [("gata", "e_box")]))) == 0


def test_placements_of_simulated_data_are_found(small_motifs):
    data = mk.simulate(300, 100, small_motifs, seed=4, fractions=(0.0, 0.0, 1.0))
    sites = find_sites(small_motifs, data, pvalue=1e-4)
    found = set(zip(sites["sequence"], sites["start"], sites["motif"], strict=True))
    rows = {int(row): i for i, row in enumerate(data.splits["test"])}
    placed = {
        (rows[int(p["sequence"])], int(p["position"]), data.class_names[p["motif"]]) for p in data.placements
    }
    # Words with at most one of ten letters wrong are 31 of 4^10, 3e-5; with two 4e-4. A word drawn from a
    # motif of 94% letters is among the first with probability 0.94^10 + 10 * 0.06 * 0.94^9.
    share = 0.94**10 + 0.6 * 0.94**9
    assert abs(len(placed & found) / len(placed) - share) < 5 * math.sqrt(share * (1 - share) / len(placed))
