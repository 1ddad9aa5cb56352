"""The score of bench/word_times.py: which words are right, and how well confidence tells."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from transcribed.transcript import Word

# The normaliser's own source, where it is compiled for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")
BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """Not under its own name, which bench/live has a module of, too."""
    spec = importlib.util.spec_from_file_location("word_score", BENCH / "word_times.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(BENCH))
    spec.loader.exec_module(module)
    sys.path.pop(0)
    return module


def test_a_word_is_right_where_the_reference_has_it(bench: ModuleType) -> None:
    spoken = "The cat's sat on a mat, uh twenty five times."
    said = [Word(text) for text in spoken.split()]
    verdicts = bench.judged(said, "THE CATS SAT ON THE MAT TWENTY FIVE TIMES")
    assert [(judged.word.text, judged.right) for judged in verdicts] == [
        ("The", True),
        ("cat's", False),
        ("sat", True),
        ("on", True),
        ("a", False),
        ("mat,", True),
        ("uh", None),  # the normaliser drops it
        ("twenty", None),  # 25, as a whole
        ("five", None),
        ("times.", True),
    ]
    assert [judged.right for judged in bench.judged(said[:2], "nothing of it")] == [False, False]
    assert bench.judged([], "nothing") == []


def test_auc_is_the_chance_that_a_right_word_is_surer(bench: ModuleType) -> None:
    confidence, right = np.array([0.9, 0.8, 0.7, 0.6, 0.6]), np.array([True, False, True, True, False])
    assert bench.auc(confidence, right) == pytest.approx((2 + 1 + 0.5) / 6)
    assert bench.auc(-confidence, right) == pytest.approx(1 - (2 + 1 + 0.5) / 6)


def test_calibration_counts_each_word_once(bench: ModuleType) -> None:
    confidence, right = np.array([0.1, 0.55, 0.59, 0.98, 1.0]), np.array([False, True, False, True, True])
    rows = bench.calibration(confidence, right)
    assert [(low, count, share) for low, _, count, _, share in rows] == [
        (0.0, 1, 0),
        (0.5, 2, 0.5),
        (0.98, 2, 1),
    ]
    assert [mean for *_, mean, _ in rows] == pytest.approx([0.1, 0.57, 0.99])
