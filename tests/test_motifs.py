import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.motifs.filters import filter_bank
from motifkit.motifs.rules import RULES


def test_information_and_consensus():
    counts = np.array([[10, 5, 4, 0], [0, 5, 4, 0], [0, 0, 4, 0], [0, 0, 4, 0]])
    motif = mk.Motif("m", counts, 10)
    np.testing.assert_allclose(motif.information, [2, 1, 0, 0])
    assert motif.consensus == "AMNN"
    np.testing.assert_allclose(motif.ppm[:, 3], 0.25)  # a column without counts is uniform
    np.testing.assert_allclose(motif.ppm.sum(0), 1)


def test_pwm_is_log_odds_with_a_pseudocount():
    motif = mk.Motif("m", np.array([[8.0], [0], [0], [0]]), 8)
    expected = np.log2((np.array([8, 0, 0, 0]) + 0.25) / 9 / 0.25)
    np.testing.assert_allclose(motif.pwm()[:, 0], expected)
    with pytest.raises(ValueError, match="background"):
        motif.pwm([0.5, 0.5, 0.5, 0.5])


def test_trim_keeps_the_informative_span_and_three_columns():
    sharp, flat = [97.0, 1, 1, 1], [25.0, 25, 25, 25]
    motif = mk.Motif("m", np.array([flat] * 6 + [sharp, flat, sharp] + [flat] * 5).T, 100)
    trimmed = motif.trim()
    assert len(trimmed) == 3 + 3 + 3
    np.testing.assert_array_equal(trimmed.counts[:, 3], sharp)
    assert len(motif.trim(pad=0)) == 3
    assert len(mk.Motif("flat", np.array([flat] * 5).T, 100).trim()) == 0
    assert len(mk.MotifSet([mk.Motif("flat", np.array([flat] * 5).T, 100)]).trim()) == 0


def test_reverse_complement_swaps_letters_and_order():
    motif = mk.Motif("m", np.array([[9, 0, 0], [0, 8, 0], [0, 0, 0], [0, 0, 7]]), 9)
    assert (motif.consensus, motif.reverse_complement().consensus) == ("ACT", "AGT")


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="not negative"):
        mk.Motif("m", np.full((4, 2), -1.0), 1)
    with pytest.raises(ValueError, match=r"\(4, width\)"):
        mk.Motif("m", np.ones((3, 2)), 1)


def test_meme_round_trip(tmp_path, small_motifs):
    path = tmp_path / "motifs.meme"
    small_motifs.to_meme(path)
    again = mk.MotifSet.from_meme(path)
    assert [m.name for m in again] == ["one", "two", "three"]
    for a, b in zip(small_motifs, again, strict=True):
        np.testing.assert_allclose(a.ppm, b.ppm, atol=1e-6)
        assert a.nsites == b.nsites


def test_meme_as_people_write_it(tmp_path):
    path = tmp_path / "dialect.meme"
    path.write_text(
        "MEME version 4\n\nALPHABET= ACGU\n\nMOTIF MA0001.1 some factor (two words)\n"
        "letter-probability matrix: alength= 4\n 0.5\t0.5 0 0\n0 0 0.25 0.75\n\nURL http://example.org\n\n"
        "MOTIF second\nletter-probability matrix: alength= 4 w= 1 nsites= 12.5 E= 1e-3\n\n 1 0 0 0\n"
    )
    motifs = mk.MotifSet.from_meme(path)
    assert [(m.name, m.label, m.nsites, len(m)) for m in motifs] == [
        ("MA0001.1", "some factor (two words)", 20, 2),
        ("second", "", 12.5, 1),
    ]


HEAD = "MEME version 4\nALPHABET= ACGT\n"
MATRIX = "letter-probability matrix: alength= 4 w= 2 nsites= 5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no 'MEME version' line"),
        (HEAD, "holds no motifs"),
        (HEAD + "MOTIF a\n", "motif 'a' has no letter-probability matrix"),
        (HEAD + "MOTIF a\n" + MATRIX + "1 0 0 0\n", "w= 2, but the matrix has 1 rows"),
        (HEAD + "MOTIF a\n" + MATRIX + "1 0 0 0\n0.5 0.1 0 0\n", "line 6.*sum to 0.6"),
        (HEAD + "MOTIF a\n" + MATRIX + "1 0 0 0\n1 0 0\n", "line 6.*found 3"),
        (HEAD + "MOTIF a\n" + MATRIX + "1 0 0 0\n1 0 x 0\n", "line 6.*not a row of numbers"),
        (HEAD + MATRIX, "line 3: a matrix before any MOTIF"),
        ("MEME version 4\nALPHABET= ACDEFGHIKLMNPQRSTVWY\n", "alphabet"),
    ],
)
def test_broken_meme(tmp_path, text, message):
    path = tmp_path / "broken.meme"
    path.write_text(text)
    with pytest.raises(mk.InputError, match=message):
        mk.MotifSet.from_meme(path)


# ---- extraction: windows found by hand ------------------------------------------------------------------


def gatc_filter():
    """Scores 2 for each letter of GATC, -1 for others: 8 at best."""
    return 3 * mk.one_hot(mk.encode("GATC")) - 1


def test_papers_rule_takes_the_best_window_above_seven_tenths():
    sequences = [
        "AAGATCAAAA",  # 8 of 8: taken
        "AAGATTAAAA",  # 5 of 8: below 5.6
        "GATCAGATCA",  # the first of two
        "ATCAAAAAAA",  # the best window hangs over the start (G missing: 6): dropped
    ]
    motif = mk.extract_motifs(gatc_filter(), sequences)[0]
    assert motif.nsites == 2
    np.testing.assert_array_equal(motif.counts, 2 * mk.one_hot(mk.encode("GATC"))[0].numpy())


def test_threshold_is_strict_and_can_be_set():
    sequences = ["AAGATTAAAA"]  # 5 of 8
    assert mk.extract_motifs(gatc_filter(), sequences).dead == ["filter0"]
    assert len(mk.extract_motifs(gatc_filter(), sequences, threshold=0.625)) == 0
    assert len(mk.extract_motifs(gatc_filter(), sequences, threshold=0.62)) == 1


def test_codes_rule_weights_all_windows_above_half_of_the_maximum():
    sequences = ["AAAAAAAAAAGATCAAAAAAAAAAGATTAAAAAAAAAA"]  # windows of 8 and 5; others at most 2
    motif = mk.extract_motifs(gatc_filter(), sequences, rule="code")[0]
    assert motif.nsites == 2
    assert len(motif) == 19  # whatever the filter's width
    columns = motif.counts[:, 7:11]
    np.testing.assert_array_equal(columns.sum(0), [13, 13, 13, 13])
    assert columns[1, 3] == 8  # C of GATC
    assert columns[3, 3] == 5  # T of GATT


def test_best_rule_takes_one_window_a_sequence():
    motifs = mk.extract_motifs(gatc_filter(), ["AAGATTAAAA", "NNNNNNNNNN"], rule="best")
    assert motifs[0].nsites == 1


def test_minus_strand_windows_are_turned():
    sequences = ["AAAAGATTAAAA"]
    weight = 3 * mk.one_hot(mk.encode("AATC")) - 1
    assert mk.extract_motifs(weight, sequences).dead == ["filter0"]
    motif = mk.extract_motifs(weight, sequences, strands="both")[0]
    assert (motif.consensus, motif.nsites) == ("AATC", 1)


def small_block(generator, activation=None, padding="same"):
    torch.manual_seed(0)
    conv = torch.nn.Conv1d(4, 12, 7, padding=padding)
    norm = torch.nn.BatchNorm1d(12)
    block = mk.nn.ConvPool(conv, norm, activation or torch.nn.ReLU(), torch.nn.MaxPool1d(5))
    codes = torch.randint(0, 4, (300, 60), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        norm.weight.uniform_(-1.5, 1.5)  # half of the filters look for their minimum
        norm.bias.uniform_(-0.5, 0.5)
    block.train()(codes)
    return block.eval(), codes


def dense_activations(block, codes):
    """(sequences, filters, positions) of the first layer, as PyTorch computes it."""
    with torch.no_grad():
        return block.activation(block.norm(block.conv(mk.one_hot(codes))))


@pytest.mark.parametrize("activation", [torch.nn.ReLU(), mk.nn.Exp(), torch.nn.Softplus()])
@pytest.mark.parametrize("rule", ["paper", "code"])
def test_rules_agree_with_a_direct_computation_on_activations(generator, activation, rule):
    block, codes = small_block(generator, activation)
    activations = dense_activations(block, codes)
    threshold = {"paper": 0.45, "code": 0.7}[rule]
    found = mk.extract_motifs(block, codes, rule=rule, threshold=threshold, batch_size=70)
    names = [m.name for m in found]
    for f in range(12):
        if rule == "paper":
            bank = filter_bank(block)
            possible = block.activation(bank.best_possible()[f])
            value, at = activations[:, f].max(1)
            take = (value > threshold * possible) & (at - 3 >= 0) & (at + 4 <= 60)
            windows = [mk.one_hot(codes[n : n + 1, at[n] - 3 : at[n] + 4])[0] for n in take.nonzero()[:, 0]]
            weights = [1.0] * len(windows)
            shown = 7
        else:
            a = activations[:, f]
            n, t = (a > threshold * a.max()).nonzero(as_tuple=True)
            padded = torch.nn.functional.pad(codes, (20, 20), value=4)
            windows = [
                mk.one_hot(padded[i : i + 1, 20 + j - 9 : 20 + j + 10])[0] for i, j in zip(n, t, strict=True)
            ]
            weights, shown = a[n, t].tolist(), 19
            if a.max() <= 0:
                windows = []
        if not windows:
            assert f"filter{f}" in found.dead
            continue
        counts = sum(w * window.double() for w, window in zip(weights, windows, strict=True))
        motif = found[names.index(f"filter{f}")]
        assert motif.nsites == len(windows)
        assert counts.shape == (4, shown)
        np.testing.assert_allclose(motif.counts, counts.numpy(), rtol=1e-4)


def test_streaming_does_not_change_the_answer(generator):
    block, codes = small_block(generator)
    targets = torch.randint(0, 2, (len(codes), 3), generator=generator)
    for rule in RULES:
        whole = mk.extract_motifs(block, codes, rule=rule, targets=targets)
        parts = mk.extract_motifs(block, codes, rule=rule, targets=targets, batch_size=7)
        assert [m.nsites for m in whole] == [m.nsites for m in parts]
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_allclose(a.counts, b.counts, rtol=1e-12)


def test_the_model_is_left_as_it_was(generator):
    model = mk.models.build("CNN-25", length=100, classes=2).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    codes = torch.randint(0, 4, (20, 100), generator=generator, dtype=torch.uint8)
    mk.extract_motifs(model, codes)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_batch_norm_of_a_sequential_is_folded_in(generator):
    block, codes = small_block(generator)
    plain = torch.nn.Sequential(block.conv, block.norm, block.activation, block.pool)
    for a, b in zip(mk.extract_motifs(block, codes), mk.extract_motifs(plain, codes), strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)


def test_bad_arguments_are_refused(generator):
    block, codes = small_block(generator)
    with pytest.raises(ValueError, match="rule must be one of"):
        mk.extract_motifs(block, codes, rule="magic")
    with pytest.raises(ValueError, match="no layer 'convolution'"):
        mk.extract_motifs(block, codes, layer="convolution")
    with pytest.raises(ValueError, match="no sequences"):
        mk.extract_motifs(block, codes[:0])
    with pytest.raises(ValueError, match="no Conv1d over 4 channels"):
        mk.extract_motifs(torch.nn.Linear(2, 2), codes)


# ---- comparison and scores -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jaspar():
    pytest.importorskip("pyjaspar")
    return mk.MotifSet.from_jaspar("JASPAR2016")


def test_jaspar_2016(jaspar):
    assert len(jaspar) == 519
    assert jaspar["MA0083.3"].label == "SRF"
    np.testing.assert_array_equal(jaspar["MA0083.3"].counts[:, 3], [0, 1771, 15, 0])


def test_compare_finds_profiles_and_their_strand(jaspar):
    query = mk.MotifSet([jaspar["MA0083.3"], jaspar["MA0466.2"].reverse_complement()])
    matches = mk.compare(query, jaspar, quiet=True)
    first = matches.drop_duplicates("query").set_index("query")
    assert first.loc["MA0083.3", "target"] == "MA0083.3"
    assert first.loc["MA0083.3", "offset"] == 0
    assert first.loc["MA0083.3", "overlap"] == 16
    assert first.loc["MA0466.2", "strand"] in "+-"  # CEBPB's profile is its own reverse complement, nearly
    assert (matches["e_value"] <= 0.1).all()
    np.testing.assert_allclose(matches["e_value"], matches["p_value"] * 519)
    assert (matches["q_value"] <= matches["e_value"] + 1e-12).all()


def test_compare_names_consensus_sequences_of_known_factors(jaspar):
    consensus = {"FOSL1-like": "ATGACTCATC", "MEF2-like": "CCAAAAATAGAAA"}
    motifs = []
    for name, letters in consensus.items():
        counts = mk.one_hot(mk.encode(letters))[0].numpy() * 94 + 2
        motifs.append(mk.Motif(name, counts, 102))
    best = mk.compare(mk.MotifSet(motifs), jaspar, quiet=True).groupby("query")["target_name"].agg(list)
    assert "FOSL1" in best["FOSL1-like"]
    assert "MEF2A" in best["MEF2-like"]


def test_match_fractions_count_dead_filters():
    pandas = pytest.importorskip("pandas")
    motifs = mk.MotifSet([], dead=["filter0", "filter1", "filter2", "filter3"])
    matches = pandas.DataFrame(
        {"query": ["filter0", "filter0", "filter1"], "target": ["MA0083.1", "MA0083.3", "MA9999.1"]}
    )
    scores = mk.match_fractions(motifs, matches)
    assert (scores["matched_fraction"], scores["relevant_fraction"]) == (0.5, 0.25)
    assert scores["found"] == ["SRF"]
    assert scores["coverage"] == 1 / 12


def test_score_placements_of_a_perfect_filter(small_motifs):
    pytest.importorskip("pandas")
    data = mk.simulate(600, 100, small_motifs, seed=1, fractions=(0.0, 0.0, 1.0))
    weight = torch.stack([torch.tensor(m.pwm(), dtype=torch.float32) for m in small_motifs])
    table = mk.score_placements(weight, data, threshold=0.5).set_index("filter")
    assert table["motif"].tolist() == ["one", "two", "three"]
    assert (table["precision"] > 0.95).all()
    assert (table["recall"] > 0.85).all()
    shuffled = mk.score_placements(weight[:, [1, 0, 3, 2]], data, threshold=0.5)
    assert (shuffled["f1"] < 0.5).all()


def test_logos_are_drawn(tmp_path, small_motifs):
    pytest.importorskip("matplotlib")
    from motifkit.motifs import logo

    small_motifs.plot(tmp_path / "sheet.png")
    small_motifs.plot(tmp_path / "sheet.svg")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(mk.InputError, match="png"):
        small_motifs.plot(tmp_path / "sheet.gif")
    heights = [sum(height for _, _, height in column) for column in logo.stacks(small_motifs[0])]
    np.testing.assert_allclose(heights, small_motifs[0].information, atol=0.05)
    assert logo.svg(small_motifs[0]).count("<use") == sum(len(c) for c in logo.stacks(small_motifs[0]))
