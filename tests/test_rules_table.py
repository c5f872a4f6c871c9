"""Likeness of motifs, the table of filters, and rules side by side."""

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.motifs.rules import RULES
from motifkit.motifs.similarity import similarities
from motifkit.motifs.table import motif_table, motifs_by_rule, rules_table, write_table

pandas = pytest.importorskip("pandas")


def word(letters, name="m", flanks=0, noise=0.0):
    sharp = mk.one_hot(mk.encode(letters))[0].numpy()
    counts = np.concatenate([np.full((4, flanks), 0.25), sharp, np.full((4, flanks), 0.25)], axis=1)
    return mk.Motif(name, 100 * ((1 - noise) * counts + noise / 4), 100)


def test_similarity_is_pearson_of_the_extended_matrices():
    a, b = word("ACGTT"), word("GTTAA")
    r, offset, strand = similarities([a], [b], strands="+")
    assert (offset.item(), strand.item()) == (2, 1)
    # By hand: the matrices side by side over seven columns, uniform where one has none.
    left, right = np.full((4, 7), 0.25), np.full((4, 7), 0.25)
    left[:, :5], right[:, 2:] = a.ppm, b.ppm
    np.testing.assert_allclose(r.item(), np.corrcoef(left.ravel(), right.ravel())[0, 1], atol=1e-12)
    np.testing.assert_allclose(r.item(), 3 / 5)  # three of five columns shared


def test_similarity_knows_strands_flanks_and_noise():
    motif = word("TGACTCATC")
    other = word(mk.decode(mk.reverse_complement(mk.encode("TGACTCATC")))[0], flanks=3)
    r, offset, strand = similarities([motif], [other])
    np.testing.assert_allclose(r, 1)
    assert (offset.item(), strand.item()) == (-3, -1)
    np.testing.assert_allclose(similarities([motif], [word("TGACTCATC", noise=0.6)])[0], 1)
    flat = mk.Motif("flat", np.full((4, 5), 5.0), 20)
    assert similarities([motif], [flat])[0].item() == 0
    assert similarities([], [motif])[0].shape == (0, 1)


def test_the_table_of_filters_is_one_for_the_command_and_the_page(tmp_path):
    motifs = mk.MotifSet([word("GATTACA", "filter0"), word("", "filter2", flanks=3)], dead=["filter1"])
    table = motif_table(motifs)
    assert table["filter"].tolist() == ["filter0", "filter2", "filter1"]
    assert table["width"].tolist() == [7, 0, 0]
    matches = pandas.DataFrame(
        {"query": ["filter0"] * 2, "target": ["T1", "T2"], "target_name": ["A", "B"], "e_value": [1e-4, 0.02]}
    )
    full = motif_table(motifs, matches=matches)
    assert full["target"].tolist() == ["T1", "", ""]
    assert full["matches"].tolist() == [2, 0, 0]
    path = write_table(full, tmp_path / "motifs.tsv")
    lines = path.read_text().splitlines()
    assert lines[0] == "filter\tnsites\twidth\tinformation\tconsensus\ttarget\ttarget_name\te_value\tmatches"
    assert lines[1].startswith("filter0\t100\t7\t14\tGATTACA\tT1\tA\t0.0001\t2")
    assert list(tmp_path.iterdir()) == [path]


def test_rules_side_by_side(small_motifs):
    data = mk.simulate(400, 100, small_motifs, seed=2, fractions=(0.0, 0.0, 1.0))
    weight = torch.stack([torch.tensor(m.pwm(), dtype=torch.float32) for m in small_motifs])
    by_rule = motifs_by_rule(weight, data)
    assert list(by_rule) == list(RULES)
    table = rules_table(by_rule)
    assert len(table) == 3 * len(RULES)
    assert table["filter"].tolist() == sorted(table["filter"])
    paper = table[table["rule"] == "paper"]
    np.testing.assert_allclose(paper["correlation"], 1)
    assert paper["consensus"].str.contains("TGACTCA|CCATATATGG|GGGGCGGGGC").all()
    # "best" takes whatever scores best, a motif or not: more windows, less information.
    best = table[table["rule"] == "best"].reset_index()
    assert (best["nsites"] > paper.reset_index()["nsites"]).all()
    assert (best["information"] < paper.reset_index()["information"]).all()
    assert (best["correlation"] < 1).all()
    again = mk.compare_rules(weight, data, rules=["paper", "best"])
    pandas.testing.assert_frame_equal(
        again.reset_index(drop=True), table[table["rule"].isin(["paper", "best"])].reset_index(drop=True)
    )
    assert "pysster" not in motifs_by_rule(weight, data.codes)
