"""What the constraints of all environments' arguments have in common; pydantic checks them."""

from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field

STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


Whole = Annotated[int, BeforeValidator(_plain)]
"""A whole number, NumPy's included."""
Probability = Annotated[float, Field(ge=0, le=1)]
