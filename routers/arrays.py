"""Names of array types. Shapes stand in the docstrings of what takes and returns them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Vectors and the weights of artefacts.
FloatArray = npt.NDArray[np.float32]
#: Figures that may come from a head (float32) or from a statement (float64).
Figures = npt.NDArray[np.floating]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: A figure of every expert of a pool, shape (n,); NaN where unknown.
Column = Floats
#: Some of the experts of a pool, shape (n,).
Mask = Bools
