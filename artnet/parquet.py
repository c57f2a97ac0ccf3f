"""What the Parquet files of a run have in common: JSON under the key `artnet` says of which run and data they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from shards.errors import UserError
from shards.parquet import read_bounded_table

from .formats import FORMAT, check_format


class RunOrigin(BaseModel):
    """The run and epoch that made a file, and the data."""

    format: int = FORMAT
    signature: str
    data: str = Field(description="fingerprint of the shards' index")
    epoch: int = Field(ge=1)


Origin = TypeVar("Origin", bound=RunOrigin)
Content = TypeVar("Content")


def read_of_run(
    file: Path, most: int, kind: type[Origin], parse: Callable[[pa.Table, Origin], Content],
    signature: str | None, remedy: str,
) -> Content:  # fmt: skip
    """Read a file whose columns have at most `most` bytes, uncompressed: what `parse` makes of its table and origin.

    Raises `UserError` if it is missing, broken, of a newer artnet, or of a run of another signature; `remedy` says how
    to make it. `parse` may raise what pyarrow raises, `ValueError`, `KeyError` and `TypeError` for a broken one.
    """
    try:
        table = read_bounded_table(file, most)
        about = json.loads(table.schema.metadata[b"artnet"])
        check_format(file, about)
        origin = kind.model_validate(about)
        content = parse(table, origin)
    except FileNotFoundError:
        raise UserError(f"{file} is missing; {remedy}") from None
    except ValidationError as error:
        raise UserError(
            f"{file} is broken ({error.error_count()} values of its metadata are wrong); {remedy}"
        ) from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file} is broken ({error}); {remedy}") from None
    if signature not in (None, origin.signature):
        raise UserError(f"{file} is of another run than its folder; {remedy}")
    return content
