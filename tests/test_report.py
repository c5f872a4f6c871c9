"""The page's parts: figures from tables, charts, and what it says where something is missing."""

import re

import numpy as np
import pytest

import motifkit as mk

pandas = pytest.importorskip("pandas")
for _library in ("jinja2", "torchmetrics", "matplotlib", "scipy"):
    pytest.importorskip(_library)

from report_example import make_analysis, make_report, write_tables  # noqa: E402

from motifkit.motifs import logo  # noqa: E402
from motifkit.report.places import mirrored, places_section  # noqa: E402
from motifkit.report.sections import (  # noqa: E402
    calibration_section,
    clusters_section,
    knockout_section,
    rules_section,
)
from motifkit.report.tables import RunTables  # noqa: E402


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("report")).read_text()


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    return RunTables.load(folder)


def test_the_page_needs_nothing_else(page):
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert "@import" not in page
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", page)
    assert page.count("<title>") == 1


def test_names_are_escaped(page):
    for text in ("<report>", "<i>", "<b>&"):
        assert text not in page
    assert "Title of &lt;report&gt;" in page
    assert "Dead filters, which no window activates enough: &lt;b&gt;&amp;." in page


def test_the_page_links_to_rows_that_are_there(page):
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"$]+)"', page)) <= ids  # the script's own hold a $
    assert len(ids) == len(re.findall(r'\bid="', page))  # none twice
    assert all(f'id="{name}"' in page for name in ("filter0", "filter1"))


def test_sections_without_tables_say_how_to_make_them(tmp_path):
    text = make_report(tmp_path, tables=False).read_text()
    for name, command in (("knockout", "importance"), ("clusters", "cluster"), ("rules", "motifs")):
        assert re.search(f"no {name}.tsv.*<code>motifkit {command}", text)
    assert "h-places" in text  # needs no table


def test_a_run_folder_elsewhere_is_read(tmp_path):
    (tmp_path / "run").mkdir()
    write_tables(tmp_path / "run")
    analysis, dataset = make_analysis()
    from motifkit.report.report import write_report

    path = write_report(tmp_path / "page/report.html", analysis, dataset, run_folder=tmp_path / "run")
    assert "no knockout.tsv" not in path.read_text()
    beside = {p.name for p in path.parent.iterdir()}
    assert {"sites.tsv", "cooccurrence.tsv", "spacings.tsv", "motifs.tsv"} < beside


def test_broken_tables_are_named(tmp_path):
    write_tables(tmp_path)
    (tmp_path / "rules.tsv").write_text("filter\trule\nfilter0\tpaper\n")
    with pytest.raises(mk.InputError, match=r"rules\.tsv: has no column nsites, width"):
        RunTables.load(tmp_path)
    (tmp_path / "rules.tsv").write_text("a\tb\n1\t2\t3\t4\n5\n")
    with pytest.raises(mk.InputError, match=r"rules\.tsv"):
        RunTables.load(tmp_path)


def test_knockout_cells(tables):
    shown = knockout_section(tables.knockout)
    assert shown["columns"] == ["mean", "GATA", "<i>"]
    assert shown["replaced"] == "mean"
    mean, gata, other = shown["rows"][0]["cells"]
    assert (gata["text"], gata["range"], gata["sure"]) == ("-0.250", "-0.300 to -0.200", True)
    assert gata["level"] == "d4"  # the largest change of all
    assert mean["level"] == "d2"  # half of it
    assert (other["text"], other["level"], other["sure"]) == ("0.000", "", False)
    assert shown["rows"][1]["cells"][1]["level"] == "u1"  # 0.05 of 0.25, upwards


def test_knockout_shows_the_classes_that_change_most():
    names = [f"class{i:02}" for i in range(40)]
    table = pandas.DataFrame(
        {
            "filter": "filter0", "replaced": "zero", "class": names, "loss": 0.0,
            "auroc": np.arange(40) / -100, "auroc_low": np.nan, "auroc_high": np.nan,
        }
    )  # fmt: skip
    shown = knockout_section(table)
    assert shown["columns"] == names[16:]
    assert (shown["left_out"], shown["replaced"]) == (16, "zero")
    assert shown["rows"][0]["cells"][-1]["range"] == ""


def test_rules_by_filter(tables):
    shown = rules_section(tables.rules)
    assert shown["rules"] == ["paper", "best"]
    paper, best = shown["summary"]
    assert (paper["motifs"], paper["nsites"], paper["information"], paper["matched"]) == (2, "26", "9.8", 1)
    assert (best["motifs"], best["nsites"], best["correlation"]) == (1, "1,200", "0.50")
    (_, changed), (kept, nothing) = (row["cells"] for row in shown["rows"])
    assert (changed["consensus"], changed["level"]) == ("GATAAG", 2)
    assert (kept["consensus"], kept["correlation"], kept["level"]) == ("NA", "-", 0)  # not a missing value
    assert nothing is None


def test_clusters_over_runs(tables):
    shown = clusters_section(tables.clusters, tables.consensus, str)
    assert (shown["runs"], shown["motifs"], shown["reproduced"]) == (2, 3, 1)
    first, second = shown["rows"]
    assert (first["size"], first["share"], first["similarity"]) == (2, "100%", "0.95")
    assert first["members"] == [
        {"run": "seed0", "filters": ["filter0"]},
        {"run": "seed1", "filters": ["filter7 (-)"]},
    ]
    assert 'aria-label="AGATAAGG"' in first["logo"]
    assert second["share"] == "50%"
    assert clusters_section(tables.clusters, None, str)["rows"][0]["logo"] == ""


def test_calibration_counts_the_best_match_of_each_filter():
    matches = pandas.DataFrame({"query": ["a", "a", "b", "c"], "empirical_p": [0.01, 0.5, 0.2, 0.05]})
    assert calibration_section(matches, 0.1) == {"named": 3, "believed": 2, "doubtful": 1, "evalue": "0.1"}
    assert calibration_section(matches[["query"]], 0.1) is None


def test_places_of_two_motifs_side_by_side():
    analysis, _ = make_analysis()
    shown = places_section(analysis.places, str)
    (pair,) = shown["pairs"]
    assert (pair["a"], pair["b"], pair["both"]) == ("filter0", "filter1", 20)
    assert pair["spacing"].startswith("5 downstream, same strand: 20 of ")
    assert shown["copies"] == 0
    assert [row["name"] for row in shown["motifs"]] == ["filter0", "filter1"]
    sequences = shown["motifs"][0]["sequences"]
    assert 20 <= sequences < 25  # and what chance brings
    assert shown["motifs"][0]["share"] == f"{sequences / 40:.1%}"


def test_mirrored_histogram():
    text = mirrored([0, 2, 0, 1], [1, 0, 0, 0], width=40, height=20, marks=(1,))
    up, down = re.findall(r'class="(?:up|down)" d="([^"]+)"', text)
    assert up == "M0 10H10V1H20V10H30V5.5H40V10Z"  # two fill the height less one, one half of it
    assert down == "M0 10H0V14.5H10V10H40V10Z"
    assert "M15 0V20" in text


def test_lazy_logos_hold_what_plain_ones_draw(small_motifs):
    motif = small_motifs[0]
    lazy, plain = logo.svg(motif, before=2, lazy=True), logo.svg(motif, before=2)
    assert "<use" not in lazy
    data = re.search(r'data-logo="([^"]+)" data-before="2"', lazy)[1]
    drawn = []
    for index, stack in enumerate(data.split(";"), start=2):
        top = 200
        for letter, tall in re.findall(r"([ACGT])(\d+)", stack):
            top -= int(tall)
            drawn.append((letter, f"matrix(.94 0 0 {tall} {index}.03 {top})"))
    assert drawn == re.findall(r'href="#nt(.)" transform="([^"]+)"', plain)
    assert len(drawn) > 20
