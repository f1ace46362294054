"""Columns: bulk evidence beside the timeline, one folder a table, one .npy file a column.

Anything that reads NumPy files reads them (`numpy.load(path, mmap_mode="r")`). A table grows
by batches; after each batch the files on disk are complete, so a crash loses at most the batch
under way. NumPy leaves room in the header for the row count to grow in place
(numpy.lib.format, since 1.25).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

BLOCKS = {"seq": "<u8", "epoch": "<u4", "t_ns": "<i8", "good": "|u1"}
"""A stream of DMA blocks: sequence, epoch, the observer's clock, 1 if every byte was right."""

MEDIUM = {"slot": "<u8", "seq": "<u8", "epoch": "<u4", "t_ns": "<i8", "good": "|u1"}
"""A medium, slot by slot: the block that lay there, 1 if it belongs there and every bit was right."""


class Table:
    """Writes one table.

    columns: name -> dtype; every batch brings all of them, equally long
    """

    def __init__(self, folder: Path, columns: Mapping[str, str]) -> None:
        folder.mkdir(parents=True)
        self._columns = {name: _Column(folder / f"{name}.npy", np.dtype(d)) for name, d in columns.items()}

    def append(self, batch: Mapping[str, ArrayLike]) -> None:
        """Append rows.

        Raises:
            ValueError: if a column is missing, foreign, or of another length.
        """
        if batch.keys() != self._columns.keys():
            raise ValueError(f"a batch must fill {sorted(self._columns)}, got {sorted(batch)}")
        arrays = {name: np.asarray(values, self._columns[name].dtype) for name, values in batch.items()}
        if len({array.shape for array in arrays.values()}) != 1:
            raise ValueError(
                f"columns of a batch differ in length: { {n: a.shape for n, a in arrays.items()} }"
            )
        for name, array in arrays.items():
            self._columns[name].append(array)

    def close(self) -> None:
        for column in self._columns.values():
            column.close()


class _Column:
    def __init__(self, path: Path, dtype: "np.dtype[Any]") -> None:
        self.dtype, self._rows = dtype, 0
        self._file: BinaryIO = path.open("x+b")
        self._write_header()
        self._file.flush()

    def _write_header(self) -> None:
        self._file.seek(0)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self._rows,)}
        npy.write_array_header_1_0(self._file, header)

    def append(self, values: NDArray[Any]) -> None:
        self._file.seek(0, 2)
        self._file.write(values.tobytes())
        self._rows += len(values)
        self._write_header()
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(tables: Path | None, table: str) -> dict[str, NDArray[Any]] | None:
    """The columns of a table, memory-mapped; None if there is no such table.

    Raises:
        ValueError: if a file is damaged or the columns are not equally long.
    """
    if tables is None or not (tables / table).is_dir():
        return None
    files = sorted((tables / table).glob("*.npy"))
    columns = {file.stem: _load(file) for file in files}
    if len({len(c) for c in columns.values()}) > 1:
        raise ValueError(f"{tables / table}: columns differ in length, the table is damaged")
    return columns


def _load(file: Path) -> NDArray[Any]:
    # np.load refuses to map an empty file body: an empty table is legal
    array: NDArray[Any] = np.load(file) if file.stat().st_size <= 128 else np.load(file, mmap_mode="r")
    return array
