from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from transcribed.engines.moonshine.builder import Graph
from transcribed.engines.moonshine.outputs import Dimensions
from transcribed.engines.moonshine.weights import Matrix
from transcribed.engines.runtime import prefers_signed_weights

WIDTH, OUT, ROWS = 64, 48, 5


def _matrix(rng: np.random.Generator) -> Matrix:
    """Weights so small that no processor's sums of 16 bits overflow."""
    values = rng.integers(108, 148, (WIDTH, OUT)).astype(np.uint8)
    return Matrix.with_one_scale(values, np.float32(0.02), np.uint8(121))


def _product(matrix: Matrix, rows: np.ndarray, *, by_row: bool) -> np.ndarray:
    graph = Graph(Dimensions(1, 1, 4, WIDTH // 4))
    made = (graph.linear_by_row if by_row else graph.linear)("rows", matrix)
    graph.add("Identity", [made], output="product")
    shape: list[int | str] = [1, "n", WIDTH]
    model = graph.model({"rows": (TensorProto.FLOAT, shape)}, {"product": TensorProto.FLOAT})
    network = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(network.run(["product"], {"rows": rows})[0])


@pytest.mark.parametrize("by_row", [True, False])
def test_signed_weights_have_the_same_products(*, by_row: bool) -> None:
    rng = np.random.default_rng(14)
    matrix, rows = _matrix(rng), rng.standard_normal((1, ROWS, WIDTH)).astype(np.float32)
    signed = matrix.signed()
    assert (signed.values.dtype, signed.zero_point.dtype) == (np.int8, np.int8)
    products = _product(matrix, rows, by_row=by_row)
    np.testing.assert_array_equal(_product(signed, rows, by_row=by_row), products)
    exact = rows @ ((matrix.values.astype(np.float32) - 121) * np.float32(0.02))
    assert np.abs(products - exact).max() < 0.2 < np.abs(exact).max()


def test_signed_weights_stay_as_they_are() -> None:
    signed = _matrix(np.random.default_rng(14)).signed()
    assert signed.signed() is signed


@pytest.mark.parametrize(
    ("described", "prefers"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n", True),
        ("flags : fpu avx2 avx_vnni", True),
        ("flags : fpu avx2 avx512f", False),
        ("Features : fp asimd i8mm", False),
        ("", False),
    ],
)
def test_only_processors_with_products_of_bytes_prefer_signed_weights(
    tmp_path: Path, described: str, *, prefers: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(described)
    assert prefers_signed_weights(file) is prefers


def test_an_unknown_processor_does_not(tmp_path: Path) -> None:
    assert not prefers_signed_weights(tmp_path / "missing")
