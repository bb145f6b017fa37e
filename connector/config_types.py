"""Owns what settings are made of: the frozen model, sizes, durations and keys.

Never knows a setting. Invariant: an unknown key is a problem, not a surprise, and no input is shown with a problem.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from connector.core.units import parse_bytes, parse_seconds


def _in_a_header(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("a key is visible ASCII characters without spaces or line ends, and not empty")
    return secret


Key = Annotated[SecretStr, AfterValidator(_in_a_header)]
Bytes = Annotated[int, BeforeValidator(parse_bytes, json_schema_input_type=int | str)]
Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | str)]

GIB = 1 << 30


class Model(BaseModel):
    """Frozen, closed: an unknown key is a problem, not a surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
