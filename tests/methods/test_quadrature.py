"""Rules of integration on functions whose attributions are known, and the axioms as deviations."""

import pytest
import torch
from captum.attr import IntegratedGradients

from demo import properties, quadrature

POINTS = torch.tensor([[0.9, 1.2], [1.4, 0.6]], dtype=torch.float64)
ZERO = torch.zeros(2, dtype=torch.float64)


def cubic(features):
    return features[:, 0] * features[:, 1] ** 2


@pytest.mark.parametrize("rule", quadrature.RULES)
def test_weights_sum_to_one_and_places_lie_on_the_path(rule):
    for steps in (2, 7, 50):
        places, weights = quadrature.RULES[rule](steps)
        assert len(places) == len(weights) == steps
        assert weights.sum() == pytest.approx(1)
        assert 0 <= places.min() <= places.max() <= 1


def test_gauss_legendre_is_exact_for_a_polynomial():
    a, b = POINTS[0].tolist()
    found = quadrature.attributions(cubic, POINTS[0], ZERO, "Gauss-Legendre", 2)
    assert found.tolist() == pytest.approx([a * b**2 / 3, 2 * a * b**2 / 3])


def test_it_is_what_captum_finds():
    explainer = IntegratedGradients(cubic)
    for rule, method in {"midpoints (Riemann)": "riemann_middle", "Gauss-Legendre": "gausslegendre"}.items():
        theirs = explainer.attribute(POINTS, n_steps=9, method=method)
        ours = torch.stack([quadrature.attributions(cubic, each, ZERO, rule, 9) for each in POINTS])
        torch.testing.assert_close(ours, theirs)


def test_errors_fall_with_the_known_powers():
    exact = ((properties.smooth(POINTS) - 1) / 2)[:, None].expand(-1, 2)
    table = quadrature.errors(properties.smooth, POINTS, ZERO, [8, 16, 32, 64], exact)
    powers = quadrature.order(table)
    assert powers["left ends (Riemann)"] == pytest.approx(1, abs=0.1)
    assert powers["midpoints (Riemann)"] == pytest.approx(2, abs=0.1)
    assert powers["trapezoids"] == pytest.approx(2, abs=0.2)
    assert table[table.rule == "Gauss-Legendre"].off.max() < 1e-10
    enough = quadrature.fewest(table, 0.01)
    assert enough.steps["Gauss-Legendre"] == 8
    assert enough.steps["left ends (Riemann)"] == 64
    assert enough.gap["left ends (Riemann)"] > 0.01 > enough.gap["midpoints (Riemann)"]


def test_the_walk_ends_at_baseline_and_point():
    values, slopes = quadrature.walk(cubic, POINTS[0], ZERO, [0, 0.5, 1])
    a, b = POINTS[0].tolist()
    assert values.tolist() == pytest.approx([0, a * b**2 / 8, a * b**2])
    assert slopes.tolist() == pytest.approx([0, 3 * a * b**2 / 4, 3 * a * b**2])  # of a b² α³


def test_each_method_keeps_and_breaks_the_axioms_it_should():
    table = properties.deviations(seed=0, points=10)
    ours = table["Integrated Gradients"].drop("sensitivity")  # bent: exact only for the integral
    assert ours.max() < 1e-10
    assert table["Integrated Gradients"]["sensitivity"] < 0.05
    assert table["gradient x input"]["sensitivity"] == pytest.approx(1)
    assert table["gradient x input"]["completeness"] > 0.1
    assert table["one feature after the other"]["symmetry"] > 0.1
    assert table["one feature after the other"]["completeness"] < 1e-10
