from itertools import combinations

import pytest

from openprm.viewer.colors import SCALE, color_class, stylesheet

# Viénot, Brettel and Mollon (1999): linear RGB as people without one kind of cone see it.
SEEN = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
    "deuteranopia": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
}


def linear(color):
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def luminance(rgb):
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def contrast(one, other):
    """WCAG 2.2's contrast ratio."""
    bright, dark = sorted((luminance(linear(one)), luminance(linear(other))), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def lab(rgb):
    """CIE L*a*b* of linear RGB (D65)."""
    x = (0.4124 * rgb[0] + 0.3576 * rgb[1] + 0.1805 * rgb[2]) / 0.9505
    z = (0.0193 * rgb[0] + 0.1192 * rgb[1] + 0.9505 * rgb[2]) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, luminance(rgb), z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize(("background", "ink"), SCALE)
def test_the_number_can_be_read_on_its_color(background, ink):
    assert contrast(background, ink) >= 4.5


@pytest.mark.parametrize("sight", SEEN)
def test_the_classes_are_told_apart(sight):
    seen = [
        lab([sum(w * c for w, c in zip(row, linear(background), strict=True)) for row in SEEN[sight]])
        for background, _ in SCALE
    ]
    for one, other in combinations(seen, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 10


def test_classes_cover_the_values_evenly():
    assert [color_class(value / 7, 0.0, 1.0) for value in range(8)] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert color_class(-3.0, -3.0, 2.0) == 0
    assert color_class(0.4, 0.4, 0.4) == 3
    assert stylesheet().splitlines()[0] == ".c0 { background: #8f3900; color: #ffffff; }"
