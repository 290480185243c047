import pytest

from xnn.explain import axioms


def test_the_gradient_misses_what_is_saturated_and_integrated_gradients_do_not():
    table = axioms.saturation(a=2.0, b=1.0)
    assert table.gradient["a"] == 0
    assert table.integrated_gradients["a"] == pytest.approx(1, abs=0.02)
    assert table.integrated_gradients["b"] == pytest.approx(0.5)
    assert table.integrated_gradients["sum"] == pytest.approx(table.difference["sum"], abs=0.02)
    assert table.gradient_x_input["sum"] == pytest.approx(0.5)
    assert table.difference["sum"] == pytest.approx(1.5)
