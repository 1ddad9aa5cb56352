"""Voice activity detection with the neural network Silero VAD.

`silero_vad_16k.onnx` is `silero_vad_16k_sequence.onnx` of the package silero-vad 6.2.3 (MIT, LICENSE
beside it), unchanged. It is included here because that package depends on PyTorch.
"""

from importlib.resources import files

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from transcribed.audio.formats import Samples
from transcribed.engines.runtime import session
from transcribed.recognition.gain_control import AutomaticGainControl
from transcribed.recognition.vad import WINDOW

_CONTEXT = 64


class SileroModel:
    """The loaded network. It is stateless and shared by all streams."""

    def __init__(self) -> None:
        model = files("transcribed.engines.silero").joinpath("silero_vad_16k.onnx")
        self._session: ort.InferenceSession = session(model.read_bytes())

    def run(
        self,
        windows: npt.NDArray[np.float32],
        h: npt.NDArray[np.float32],
        c: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run windows [n, 64 + 512] with the LSTM state h and c [1, 1, 128].

        Returns the speech probabilities [n] and the new state.
        """
        probabilities, h, c = self._session.run(None, {"input": windows, "h": h, "c": c})
        return probabilities, h, c


class SpeechDetector:
    """Computes the speech probabilities of one stream, window by window.

    The inputs of the network overlap: each window is preceded by the 64 samples before it.
    """

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._h = self._c = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._gain_control = AutomaticGainControl()

    def push(self, samples: Samples) -> list[float]:
        """Return the probability of speech in each window; `samples` are a whole number of windows."""
        joined = np.concatenate([self._context, self._gain_control.push(samples)])
        self._context = joined[-_CONTEXT:]
        windows = np.lib.stride_tricks.sliding_window_view(joined, _CONTEXT + WINDOW)[::WINDOW]
        probabilities, self._h, self._c = self._model.run(np.ascontiguousarray(windows), self._h, self._c)
        return [float(p) for p in probabilities]
