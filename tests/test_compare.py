"""Is a name to be believed: distances, near-uniform motifs, and a null of shuffled motifs."""

import numpy as np
import pytest

import motifkit as mk
from motifkit.motifs.compare import shuffled
from motifkit.motifs.tomtom import column_scores, tomtom

pytest.importorskip("pandas")
pytest.importorskip("memelite")


@pytest.fixture(scope="module")
def database():
    draw = np.random.default_rng(5)
    motifs = [
        mk.Motif(f"target{i}", draw.dirichlet([0.25] * 4, draw.integers(6, 15)).T * 60, 60)
        for i in range(120)
    ]
    return mk.MotifSet(motifs)


def test_column_scores_are_correlations_and_distances():
    draw = np.random.default_rng(0)
    a, b = draw.dirichlet([1] * 4, 3).T, draw.dirichlet([1] * 4, 5).T
    pearson, euclidean = column_scores(a, b, "pearson"), column_scores(a, b, "euclidean")
    for i in range(3):
        for j in range(5):
            np.testing.assert_allclose(pearson[i, j], np.corrcoef(a[:, i], b[:, j])[0, 1])
            np.testing.assert_allclose(euclidean[i, j], -np.sqrt(((a[:, i] - b[:, j]) ** 2).sum()))
    flat = np.full((4, 2), 0.25)
    assert (column_scores(flat, b, "pearson") == 0).all()


def test_own_tomtom_agrees_with_memelite_on_what_both_compute(database):
    import memelite

    targets = [m.ppm for m in database]
    queries = targets[:12]
    theirs = memelite.tomtom(queries, targets)
    ours = tomtom(queries, targets, "euclidean")
    told = theirs[0] < 0.01
    assert told.sum() >= 12
    # Both discretise scores to 100 steps, differently: p-values of tails agree to a few percent of log10.
    difference = np.abs(np.log10(ours[0][told] + 1e-14) - np.log10(theirs[0][told] + 1e-14))
    assert np.median(difference) < 0.06
    np.testing.assert_array_equal(ours[0].argmin(1), np.arange(12))
    np.testing.assert_array_equal(ours[2].diagonal(), np.zeros(12))
    np.testing.assert_array_equal(ours[3].diagonal(), [m.shape[1] for m in queries])


def test_p_values_of_random_motifs_are_uniform(database):
    draw = np.random.default_rng(9)
    queries = [draw.dirichlet([0.25] * 4, 8).T for _ in range(60)]
    p = tomtom(queries, [m.ppm for m in database], "pearson")[0].ravel()
    # 7,200 p-values, not all independent: fractions within a few standard errors, sd 0.0026 at 5%.
    assert abs((p <= 0.05).mean() - 0.05) < 0.015
    assert abs((p <= 0.5).mean() - 0.5) < 0.06


@pytest.mark.parametrize("distance", ["euclidean", "pearson"])
def test_parts_of_targets_are_found_with_their_place_and_strand(database, distance):
    part = mk.Motif("part", database[3].counts[:, 1:], 60)
    turned = mk.Motif("turned", database[7].reverse_complement().counts, 60)
    matches = mk.compare(mk.MotifSet([part, turned]), database, distance=distance, quiet=True)
    best = matches.drop_duplicates("query").set_index("query")
    assert best["target"].to_dict() == {"part": "target3", "turned": "target7"}
    assert best.loc["part", ["offset", "overlap", "strand"]].tolist() == [1, len(part), "+"]
    assert best.loc["turned", ["offset", "overlap", "strand"]].tolist() == [0, len(turned), "-"]
    assert (best["e_value"] < 1e-3).all()


def test_near_uniform_motifs_get_no_name_even_untrimmed(database):
    draw = np.random.default_rng(1)
    flat = mk.Motif("flat", draw.dirichlet([60] * 4, 19).T * 500, 500)
    assert flat.information.max() < 0.5
    for distance in ("euclidean", "pearson"):
        assert len(mk.compare(mk.MotifSet([flat]), database, evalue=1e9, distance=distance, quiet=True)) == 0


def test_shuffles_keep_information_and_gc_of_columns():
    draw = np.random.default_rng(2)
    motif = mk.Motif("m", draw.dirichlet([0.5] * 4, 9).T * 40, 40)
    other = shuffled(motif, np.random.default_rng(3))
    np.testing.assert_allclose(np.sort(other.information), np.sort(motif.information))
    np.testing.assert_allclose(np.sort(other.ppm[1:3].sum(0)), np.sort(motif.ppm[1:3].sum(0)))
    assert not np.allclose(other.counts, motif.counts)


def test_calibration_tells_order_from_composition(database):
    """A target's own motif beats its shuffles; a run of A, whatever its E-value, does not beat runs of A."""
    runs = [mk.Motif(f"poly{i}", np.tile([[97.0], [1], [1], [1]], 6 + i), 100) for i in range(3)]
    targets = mk.MotifSet([*database, *runs])
    real = mk.Motif("real", database[11].counts, 60)
    letters = np.tile([[80.0], [3], [3], [14]], 8)
    letters[:, ::2] = letters[[3, 1, 2, 0], ::2]
    at = mk.Motif("at_rich", letters, 100)  # ATATATAT
    table = mk.compare(mk.MotifSet([real, at]), targets, evalue=1e9, calibrate=49, quiet=True)
    best = table.drop_duplicates("query").set_index("query")
    assert best.loc["real", "empirical_p"] == 1 / 50
    assert best.loc["at_rich", "empirical_p"] > 0.1
    again = mk.compare(mk.MotifSet([real]), targets, evalue=1e9, calibrate=49, quiet=True)
    assert again["empirical_p"].tolist() == table[table["query"] == "real"]["empirical_p"].tolist()
    worse = table[table["query"] == "real"].sort_values("p_value")["empirical_p"]
    assert worse.is_monotonic_increasing
    with pytest.raises(ValueError, match="calibrate"):
        mk.compare(mk.MotifSet([real]), targets, calibrate=-1)
    with pytest.raises(ValueError, match="distance must be one of euclidean, pearson"):
        mk.compare(mk.MotifSet([real]), targets, distance="cosine")
