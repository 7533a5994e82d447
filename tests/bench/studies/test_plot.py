from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

import pytest
from bench.studies.plot import LEFT, RIGHT, WIDTH, Scale, Strip, draw_strips

SPACE = "{http://www.w3.org/2000/svg}"
STRIPS = (
    Strip("easy x easy", (0.12, 0.2, 0.21, 0.3, 1.4), "5 of 5"),
    Strip("hard x hard", (), "relayed"),
)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in Xml.fromstring(svg).iter(f"{SPACE}text")]


def places(svg: str, kind: str, key: str) -> list[float]:
    return [float(one.attrib[key]) for one in Xml.fromstring(svg).iter(f"{SPACE}{kind}") if key in one.attrib]


def test_all_words_are_text() -> None:
    found = texts(draw_strips("Time to direct", STRIPS))
    assert {"Time to direct", "easy x easy", "5 of 5", "hard x hard", "relayed"} <= set(found)


def test_the_axis_holds_every_run() -> None:
    for scale, ticks in (
        (Scale.LOGARITHMIC, ["0.1 s", "1 s", "10 s"]),
        (Scale.LINEAR, ["0 s", "0.5 s", "1 s", "1.5 s"]),
    ):
        svg = draw_strips("t", STRIPS, scale=scale)
        assert [text for text in texts(svg) if re.fullmatch(r"[\d.]+ s", text)] == ticks
        dots = places(svg, "circle", "cx")
        assert len(dots) == 5
        assert all(LEFT <= dot <= WIDTH - RIGHT for dot in dots)
        assert dots == sorted(dots)


def test_the_axis_tells_the_unit() -> None:
    svg = draw_strips("t", STRIPS, scale=Scale.LINEAR, unit="Gbit/s", unit_name="gigabits per second")
    assert "1.5 Gbit/s" in texts(svg)
    assert "t: gigabits per second, linear axis" in svg


def test_the_median_is_where_the_axis_says() -> None:
    svg = draw_strips("t", (Strip("one", (0.1, 1.0, 10.0)),))
    medians = [line for line in Xml.fromstring(svg).iter(f"{SPACE}line") if line.attrib["class"] == "median"]
    assert float(medians[0].attrib["x1"]) == pytest.approx((LEFT + WIDTH - RIGHT) / 2, abs=0.1)


def test_it_can_be_read_in_the_light_and_in_the_dark() -> None:
    svg = draw_strips("t", STRIPS)
    light, dark = svg.split("@media (prefers-color-scheme: dark)")
    colors = [set(re.findall(r"(--\w+): #", part.partition("text {")[0])) for part in (light, dark)]
    assert colors[0] == colors[1] == {"--ink", "--faint", "--grid", "--mark", "--box"}
    assert not re.search(r'(fill|stroke)="#', svg), "no color stands outside the two sets"


def test_words_cannot_break_the_document() -> None:
    svg = draw_strips('<a> & "b"', (Strip("x < y", (1.0,), "&"),))
    assert {'<a> & "b"', "x < y", "&"} <= set(texts(svg))


def test_a_thousand_runs_are_drawn_as_a_few_hundred_dots() -> None:
    svg = draw_strips("t", (Strip("many", tuple(float(number) for number in range(1, 1001))),))
    assert len(places(svg, "circle", "cx")) == 200


@pytest.mark.parametrize("scale", Scale)
def test_no_run_at_all_is_still_a_plot(scale: Scale) -> None:
    assert "relayed" in texts(draw_strips("t", (STRIPS[1],), scale=scale))


def test_equal_and_zero_seconds_are_drawn() -> None:
    for scale in Scale:
        dots = places(draw_strips("t", (Strip("one", (0.0, 2.0, 2.0)),), scale=scale), "circle", "cx")
        assert dots[0] == LEFT


def test_the_same_data_are_the_same_text() -> None:
    assert draw_strips("t", STRIPS) == draw_strips("t", STRIPS)
