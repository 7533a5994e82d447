from __future__ import annotations

import pytest
from bench.performance.results import Measurement, Results
from bench.performance.tables import TABLES, WIDTH, Column, Table, cell, markdown_table, text_table

RUN = Results(
    {},
    [
        Measurement(1, "bare", "tcp-1", {"gbit": 20.0}),
        Measurement(1, "ours-relay-websocket", "tcp-1", {"gbit": 5.0, "cpu_per_gb": 2.25}),
    ],
)
SPEED = Column("Gbit/s", "tcp-1", "gbit")
TABLE = Table("speed", "Speed", (SPEED, Column("of bare", "tcp-1", "gbit", digits=3, of_base=True)))


def test_a_cell_is_a_median_or_a_ratio_to_the_bare_path() -> None:
    assert cell(RUN, "ours-relay-websocket", SPEED) == "5.00"
    assert cell(RUN, "ours-relay-websocket", TABLE.columns[1]) == "0.250"
    assert cell(RUN, "bare", Column("CPU", "tcp-1", "cpu_per_gb")) == "-"


def test_both_forms_have_a_row_for_each_peer() -> None:
    assert markdown_table(RUN, TABLE).splitlines() == [
        "| | Gbit/s | of bare |",
        "|---|---:|---:|",
        "| bare | 20.00 | 1.000 |",
        "| ours-relay-websocket | 5.00 | 0.250 |",
    ]
    assert [line.split() for line in text_table(RUN, TABLE).splitlines()] == [
        ["Speed"],
        ["Gbit/s", "of", "bare"],
        ["bare", "20.00", "1.000"],
        ["ours-relay-websocket", "5.00", "0.250"],
    ]


def test_a_table_of_nothing_is_left_out() -> None:
    assert text_table(Results({}), TABLE) == ""


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_fits_a_terminal(table: Table) -> None:
    values = {column.value: 123_456.0 * column.unit / 1000 for column in table.columns}
    run = Results({}, [Measurement(1, "ours-relay-websocket", figure, values) for figure in table.figures])
    lines = text_table(run, table).splitlines()
    assert max(len(line) for line in lines) <= WIDTH
