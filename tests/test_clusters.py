"""Copies of filters: found within and across runs, whatever their offset, strand and noise."""

import numpy as np
import pytest
import torch

import motifkit as mk

pytest.importorskip("pandas")
pytest.importorskip("scipy")
WORDS = {"A": "TGACTCAGCAAT", "B": "CCATATATGGTC", "C": "GGGGCGGGGCTT", "D": "ACGTTGCATCAC"}


def noisy(word, name, draw, cut=(0, None), turned=False, sites=100):
    """A motif of part of a word, with flanks and noise, perhaps on the other strand."""
    sharp = mk.one_hot(mk.encode(word[slice(*cut)]))[0].numpy() * 0.8 + 0.05
    flank = np.full((4, 4), 0.25)
    counts = np.concatenate([flank, sharp, flank], 1)
    counts = sites * (counts + 0.04 * draw.random(counts.shape))
    motif = mk.Motif(name, counts, sites)
    return motif.reverse_complement() if turned else motif


@pytest.fixture
def runs():
    draw = np.random.default_rng(0)
    return {
        "seed0": mk.MotifSet(
            [
                noisy(WORDS["A"], "filter0", draw),
                noisy(WORDS["B"], "filter1", draw),
                noisy(WORDS["A"], "filter2", draw, cut=(1, 11), turned=True),
                mk.Motif("filter3", np.full((4, 19), 25.0), 100),
            ],
            dead=["filter4"],
        ),
        "seed1": mk.MotifSet(
            [noisy(WORDS["C"], "filter0", draw), noisy(WORDS["A"], "filter5", draw, cut=(0, 10))]
        ),
        "seed2": mk.MotifSet([noisy(WORDS["A"], "filter9", draw, turned=True)]),
    }


def test_copies_are_found_across_runs_offsets_and_strands(runs):
    found = mk.cluster_motifs(runs)
    table = found.table
    assert table["cluster"].nunique() == 3
    first = table[table["cluster"] == "cluster1"]
    assert set(zip(first["run"], first["filter"], strict=True)) == {
        ("seed0", "filter0"), ("seed0", "filter2"), ("seed1", "filter5"), ("seed2", "filter9"),
    }  # fmt: skip
    assert (first["size"] == 4).all()
    assert (first["reproducibility"] == 1).all()
    turned = dict(zip(first["filter"], first["strand"], strict=True))
    assert turned["filter2"] == turned["filter9"] != turned["filter0"] == turned["filter5"]
    assert (first["similarity"] > 0.85).all()
    alone = table[table["cluster"] != "cluster1"]
    np.testing.assert_allclose(alone["reproducibility"], 1 / 3)
    assert "filter3" not in set(table["filter"])  # says nothing, belongs nowhere
    consensus = found.motifs["cluster1"]
    letters = consensus.consensus
    other = mk.decode(mk.reverse_complement(mk.encode(letters)))[0]
    assert WORDS["A"] in letters or WORDS["A"] in other
    assert consensus.nsites == 400
    assert consensus.label == "4 motifs of 3/3 runs"


def test_consensus_is_the_aligned_sum_of_counts():
    one, two = (np.zeros((4, 6)) for _ in range(2))
    one[[0, 2, 3, 3, 0, 1], range(6)] = 10  # AGTTAC
    two[[2, 3, 3, 0, 1, 0], range(6)] = 5  # GTTACA, one letter on
    motifs = mk.MotifSet([mk.Motif("filter0", one, 10), mk.Motif("filter1", two, 5)])
    found = mk.cluster_motifs(motifs, threshold=0.6)
    (motif,) = found.motifs
    assert motif.consensus == "AGTTACA"
    np.testing.assert_array_equal(motif.counts.sum(0), [10, 15, 15, 15, 15, 15, 5])
    assert found.table["offset"].tolist() == [0, 1]


def test_thresholds_and_single_motifs(runs):
    everything = mk.cluster_motifs(runs, threshold=0.0, linkage="single").table
    assert (
        everything["cluster"].nunique() < mk.cluster_motifs(runs, threshold=0.99).table["cluster"].nunique()
    )
    assert len(mk.cluster_motifs(runs["seed2"]).motifs) == 1
    empty = mk.cluster_motifs(mk.MotifSet([], dead=["filter0"]))
    assert (len(empty.table), len(empty.motifs)) == (0, 0)
    with pytest.raises(ValueError, match="linkage"):
        mk.cluster_motifs(runs, linkage="ward")
    with pytest.raises(ValueError, match="threshold"):
        mk.cluster_motifs(runs, threshold=2)


def test_groups_go_into_knock_out(runs):
    found = mk.cluster_motifs(runs)
    assert found.groups("seed0")["cluster1"] == [0, 2]
    with pytest.raises(ValueError, match="say which run"):
        found.groups()
    conv = torch.nn.Conv1d(4, 6, 5, padding="same")
    model = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.AdaptiveMaxPool1d(1), torch.nn.Flatten())
    codes = torch.randint(0, 4, (20, 30), dtype=torch.uint8)
    targets = torch.randint(0, 2, (20, 6))
    table = mk.knock_out(model, codes, targets, groups=found.groups("seed0"), replace="zero", bootstrap=0)
    changed = table[(table["filter"] == "cluster1") & (table["loss"] != 0)]["class"]
    assert set(changed) <= {"class0", "class2", "mean"}
    assert len(changed) > 0


def test_a_file_without_copies(tmp_path, runs):
    found = mk.cluster_motifs(runs)
    found.motifs.to_meme(tmp_path / "clusters.meme")
    again = mk.MotifSet.from_meme(tmp_path / "clusters.meme")
    assert [m.name for m in again] == ["cluster1", "cluster2", "cluster3"]
    assert again[0].label == "4 motifs of 3/3 runs"
