"""Reading Parquet files of strangers: their size is known before memory is reserved for it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .files import open_regular


def read_bounded_table(file: Path, most: int) -> pa.Table:
    """Read a file whose columns have at most `most` bytes, uncompressed.

    Raises `ValueError` if they have more, and what pyarrow and the system raise for a file that cannot be read.
    """
    with open_regular(file) as opened:
        parquet = pq.ParquetFile(opened)
        groups = (parquet.metadata.row_group(number) for number in range(parquet.num_row_groups))
        if (size := sum(group.total_byte_size for group in groups)) > most:
            raise ValueError(f"its columns have {size:,} bytes, over {most:,}")
        return parquet.read()
