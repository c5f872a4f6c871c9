"""Small things a reader of the page stumbles over."""

import re
from dataclasses import replace

import pytest

import motifkit as mk

pandas = pytest.importorskip("pandas")
for _library in ("jinja2", "torchmetrics", "matplotlib", "scipy"):
    pytest.importorskip(_library)

from report_example import make_analysis, write_tables  # noqa: E402

from motifkit.report.charts import Line, line_chart  # noqa: E402
from motifkit.report.report import write_report  # noqa: E402
from motifkit.report.sections import knockout_section, rules_section  # noqa: E402


@pytest.mark.parametrize(
    ("last", "marks"), [(2, ["1", "2"]), (3, ["1", "2", "3"]), (11, ["2", "4", "6", "8", "10"])]
)
def test_epochs_are_whole_numbers(last, marks):
    chart = line_chart(
        [Line("loss", [(1, 0.5), (last, 0.1)], "#000")], x_label="epoch", y_label="loss", x_range=(1, last),
        y_range=(0, 1), whole_x=True,
    )  # fmt: skip
    assert re.findall(r'class="tick mid">([^<]+)<', chart) == marks


def test_one_site_is_no_sites():
    row = {"filter": "filter0", "width": 4, "information": 8.0, "consensus": "ACGT", "correlation": 1.0}
    table = pandas.DataFrame([{**row, "rule": "paper", "nsites": 1}, {**row, "rule": "best", "nsites": 1200}])
    (shown,) = rules_section(table)["rows"]
    assert [cell["sites"] for cell in shown["cells"]] == ["1 site", "1,200 sites"]


def test_filters_bear_their_motifs_names_in_every_table(tmp_path):
    write_tables(tmp_path)
    analysis, dataset = make_analysis()
    page = write_report(tmp_path / "report.html", analysis, dataset).read_text()
    table = page[page.index('id="knockout-table"') :]
    assert re.search(r'<th [^>]*>filter0<small class="known">GATA1</small></th>', table)
    assert re.search(r"<th [^>]*>filter1</th>", table)  # has no match
    for name in ("places-table", "pairs-table"):
        table = page[page.index(f'id="{name}"') :].partition("</table>")[0]
        assert re.search(r'filter0</a><small class="known">GATA1</small></t', table)
        assert re.search(r"filter1</a></t", table)


def test_many_dead_filters_are_folded(tmp_path):
    analysis, dataset = make_analysis()
    dead = [f"filter{i}" for i in range(100, 113)]
    many = replace(analysis, motifs=mk.MotifSet(list(analysis.motifs), dead, analysis.motifs.origin))
    page = write_report(tmp_path / "report.html", many, dataset).read_text()
    folded = re.search(r"<details><summary>13 dead filters, [^<]*</summary><p>([^<]*)\.</p></details>", page)
    assert folded[1].split(", ") == dead


def test_what_rounds_to_nothing_is_not_stressed():
    row = {"replaced": "mean", "class": "a", "loss": 0.0}
    cells = {"filter0": (-0.0004, -0.0006, -0.0001), "filter1": (-0.0006, -0.0009, -0.0001)}
    table = pandas.DataFrame(
        {"filter": name, **row, **dict(zip(("auroc", "auroc_low", "auroc_high"), cell, strict=True))}
        for name, cell in cells.items()
    )
    shown = [row["cells"][0] for row in knockout_section(table)["rows"]]
    assert [(cell["text"], cell["sure"]) for cell in shown] == [("0.000", False), ("-0.001", True)]
