"""Sources: what fills a tile's inputs. None copies the data set; each converts while gathering."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free

from numbers import Integral

import numpy as np
import scipy.sparse

cdef enum:
    CHUNK = 32  # windows that are located before they are gathered, name after name

FLOATS = np.dtype(np.float32), np.dtype(np.float64)
BOOL = (np.dtype(bool),)

cdef class Source:
    """Rows of data under names.

    Attributes
    ----------
    names : tuple of str
        Names of the tape's inputs that it fills, in the order of `gather`'s buffers; ``weight``
        is the weight of each row.
    shapes : tuple of tuple of int
        Row shape under each name.
    n_rows : int
    """

    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil:
        """Fill one buffer per name (NULL: not wanted) with `rows` rows: those of `index`, or
        first, first + 1, ... if it is NULL. Answer -1, or the first position of a row that is
        not finite."""
        return -1


cdef class Arrays(Source):
    """Dense arrays of any strides, memory maps and CSR matrices.

    Parameters
    ----------
    **arrays : ndarray or CSR matrix of shape (n_rows, ...)
        float32 or float64; not copied where rows can be walked with two strides.

    Examples
    --------
    >>> import numpy as np
    >>> Arrays(x=np.zeros((5, 3)), y=np.zeros(5)).shapes
    ((3,), ())
    """

    def __cinit__(self, **arrays):
        cdef Field *field
        self.names = tuple(arrays)
        self.n_fields = len(arrays)
        self.fields = <Field *>calloc(max(1, len(arrays)), sizeof(Field))
        if self.fields == NULL:
            raise MemoryError
        self._keep = []
        self.n_rows = -1
        shapes = []
        for k, (name, array) in enumerate(arrays.items()):
            field = &self.fields[k]
            if scipy.sparse.issparse(array):
                self._sparse(field, name, array)
                shapes.append((array.shape[1],))
            else:
                array = np.asanyarray(array)
                self._dense(field, name, array)
                shapes.append(array.shape[1:])
            if self.n_rows < 0:
                self.n_rows = array.shape[0]
            if array.shape[0] != self.n_rows:
                raise ValueError(
                    f"{name} has {array.shape[0]} rows, {self.names[0]} has {self.n_rows}"
                )
        self.shapes = tuple(shapes)

    def __dealloc__(self):
        free(self.fields)

    cdef _dense(self, Field *field, name, array):
        _check_dtype(name, array)
        if array.ndim == 0:
            raise ValueError(f"{name} must have a row axis; got a scalar")
        width = int(np.prod(array.shape[1:]))
        if array.ndim > 2:
            # one stride must walk a whole row
            array = np.ascontiguousarray(array).reshape(array.shape[0], width)
        self._keep.append(array)
        field.data = _address(array)
        field.item = array.itemsize
        field.row_stride = array.strides[0]
        field.col_stride = array.strides[1] if array.ndim == 2 else array.itemsize
        field.width = width

    cdef _sparse(self, Field *field, name, matrix):
        if matrix.format != "csr":
            raise TypeError(f"{name} must be CSR; got {matrix.format}; call .tocsr()")
        _check_dtype(name, matrix)
        parts = [np.ascontiguousarray(a) for a in (matrix.data, matrix.indices, matrix.indptr)]
        self._keep.extend(parts)
        data, indices, indptr = parts
        if indices.size and not 0 <= indices.min() <= indices.max() < matrix.shape[1]:
            raise ValueError(f"{name}: a column index is not in [0, {matrix.shape[1]})")
        n, stored, falls = matrix.shape[0], min(data.size, indices.size), np.diff(indptr) < 0
        if indptr.shape != (n + 1,) or indptr[0] or indptr[n] > stored or np.any(falls):
            raise ValueError(f"{name}: indptr is not a CSR row pointer")
        field.sparse = True
        field.data = _address(data)
        field.item = data.itemsize
        field.indices = _address(indices)
        field.index_item = indices.itemsize
        field.indptr = _address(indptr)
        field.indptr_item = indptr.itemsize
        field.width = matrix.shape[1]

    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil:
        cdef ptrdiff_t bad = -1, found
        cdef Py_ssize_t k
        cdef Field *f
        for k in range(self.n_fields):
            if fields[k] == NULL:
                continue
            f = &self.fields[k]
            if f.sparse:
                found = kernels.gather_csr(
                    fields[k], f.data, f.item, f.indices, f.index_item, f.indptr, f.indptr_item,
                    index, first, rows, f.width
                )
            else:
                found = kernels.gather(
                    fields[k], f.data, f.item, f.row_stride, f.col_stride, index, first, rows,
                    f.width
                )
            if found >= 0 and (bad < 0 or found < bad):
                bad = found
        return bad


cdef class Windows(Source):
    """Windows of time series, cut out while they are gathered.

    A row is one window: `input_size` steps of one series and the `horizon` steps after them. It
    fills the inputs

    - ``past_y``, ``past_mask`` of shape (input_size,): the mask is 1 where there is a value and 0
      where there is none; the value is 0 there;
    - ``past`` of shape (input_size, n_past): covariates that are known afterwards;
    - ``future`` of shape (input_size + horizon, n_future): covariates that are known beforehand,
      for all steps of the window;
    - ``static`` of shape (n_static,);
    - ``y``, ``y_mask`` of shape (horizon,): what is to be forecast;
    - ``y_unit`` of shape (1,): in what its errors are measured;
    - ``weight``.

    Steps before a series begins and after it ends are 0 under every name.

    With `together` a row is a window of every series, all at the same start, and each shape but
    that of ``weight`` begins with the axis of the series: ``past_y`` is (n_series, input_size).

    Parameters
    ----------
    y : ndarray of shape (n_steps,), (n_series, n_steps), or (n_values,) with `offsets`
        float32 or float64, like all arrays but `available`. Strides may be any; nothing is copied.
    input_size, horizon : int
    offsets : array of int of shape (n_series + 1,), default=None
        Series s is ``y[offsets[s]:offsets[s + 1]]``.
    start : int or array of int of shape (n_series,), default=0
        Step at which the first window of a series begins; down to ``1 - input_size``, which leaves
        one step that is not padding.
    count : int or array of int of shape (n_series,), default=None
        Windows of each series; None = those whose horizon lies within the series. More are
        allowed while their input does; with `future`, the horizon must, too.
    step_size : int, default=1
        Steps from one window to the next.
    available : ndarray of bool, of the shape of `y`, default=None
        Where it is False, `y` is hidden and `past` need not be finite.
    past, future : ndarray of the shape of `y` and one more axis, default=None
    static : ndarray of shape (n_series, n_static), default=None
        Without columns, like None, these leave their names out.
    unit : ndarray of shape (n_series,), default=None
    weight : ndarray of shape (n_rows,), default=None
    together : bool, default=False
        Whether a row holds all series; `start` and `count` must then be the same for each.

    Notes
    -----
    Rows are the windows of the first series, then those of the second, and so on; with `together`
    those of all series, the earliest start first. They are counted, not listed: the memory of a
    source does not grow with their number.

    Examples
    --------
    >>> import numpy as np
    >>> windows = Windows(np.arange(10.0), 4, 2, step_size=3)
    >>> windows.n_rows, windows.names
    (2, ('past_y', 'past_mask', 'y', 'y_mask'))
    >>> windows.locate([0, 1])
    (array([0, 0]), array([0, 3]))
    """

    def __cinit__(
        self, y, input_size, horizon, *, offsets=None, start=0, count=None, step_size=1,
        available=None, past=None, future=None, static=None, unit=None, weight=None,
        together=False
    ):
        n_in, n_out = _positive("input_size", input_size), _positive("horizon", horizon)
        self.step_size = _positive("step_size", step_size)
        self.names = self.shapes = ()
        self._keep = []
        past, future, static = (
            None if np.shape(x)[max(0, np.ndim(x) - 1):] == (0,) else x
            for x in (past, future, static)
        )
        axes = np.shape(y)
        self._lay_out(axes, offsets)
        self.together, self.per_row = together, self.n_series if together else 1
        self._enumerate(start, count, n_in, n_out, future is not None)
        if together:
            self._join()
        y, mask = _over_time("y", y, axes), None
        if available is None:
            seen = np.broadcast_to(np.True_, y.shape)
        else:
            seen = mask = _over_time("available", available, axes, dtypes=BOOL)
        self._add(STEP, "past_y", y, 0, n_in, mask)
        self._add(STEP, "past_mask", seen, 0, n_in)
        if past is not None:
            self._add(STEP, "past", _over_time("past", past, axes, (None,)), 0, n_in, mask)
        if future is not None:
            future = _over_time("future", future, axes, (None,))
            self._add(STEP, "future", future, 0, n_in + n_out)
        if static is not None:
            static = _shaped("static", static, (self.n_series, None))
            self._add(SERIES, "static", static[:, None], 0, 1)
        self._add(STEP, "y", y, n_in, n_out, mask)
        self._add(STEP, "y_mask", seen, n_in, n_out)
        if unit is not None:
            unit = _shaped("unit", unit, (self.n_series,))
            self._add(SERIES, "y_unit", unit[:, None, None], 0, 1)
        if weight is not None:
            weight = _shaped("weight", weight, (self.n_rows,))
            self._add(ROW, "weight", weight[:, None, None], 0, 1)

    cdef _lay_out(self, axes, offsets):
        """Find where each series begins in its part of the array, and its length."""
        if offsets is None and len(axes) == 2:
            self.n_series = axes[0]
            self.origin = np.zeros(axes[0], np.int64)
            self.length = np.full(axes[0], axes[1], np.int64)
            return
        if len(axes) != 1:
            raise ValueError(
                "y must have shape (n_steps,), (n_series, n_steps), or (n_values,) with offsets; "
                f"got {axes}{'' if offsets is None else ' with offsets'}"
            )
        bounds = _integers("offsets", [0, axes[0]] if offsets is None else offsets)
        n = bounds.size - 1
        if bounds.ndim != 1 or n < 1 or bounds[0] != 0 or bounds[n] != axes[0]:
            raise ValueError(
                f"offsets must go from 0 to {axes[0]}, the number of values of y, in "
                f"n_series + 1 numbers; got {bounds}"
            )
        for s in np.flatnonzero(np.diff(bounds) < 0)[:1]:
            raise ValueError(
                f"offsets must not fall; series {s} goes from {bounds[s]} to {bounds[s + 1]}"
            )
        self.n_series = n
        self.origin, self.length = bounds[:n], np.diff(bounds)

    cdef _enumerate(self, start, count, n_in, n_out, bint known):
        """Number the windows, series after series, and check those at either end of each."""
        length = np.asarray(self.length)
        need = n_in + n_out if known else n_in  # steps that must lie before the series' end
        start = self._for_each_series("start", start)
        if count is None:
            count = np.maximum(0, (length - n_in - n_out - start) // self.step_size + 1)
        else:
            count = self._for_each_series("count", count)
        for s in np.flatnonzero(count < 0)[:1]:
            raise ValueError(f"series {s}: count must be at least 0; got {count[s]}")
        for s in np.flatnonzero((count > 0) & (start <= -n_in))[:1]:
            raise ValueError(
                f"series {s}: the window at start {start[s]} ends before the first step; with "
                f"input_size={n_in} start must be at least {1 - n_in}"
            )
        last = length - need
        late = (start > last) | ((last - start) // self.step_size < count - 1)
        for s in np.flatnonzero((count > 0) & late)[:1]:
            at = int(start[s]) + (int(count[s]) - 1) * self.step_size
            raise ValueError(
                f"series {s}: the window at start {at} needs {'future' if known else 'past_y'} at "
                f"the steps {at} to {at + need - 1}, but the series has {length[s]} steps; start "
                f"must be at most {last[s]}"
            )
        self.start = start
        self.first_row = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
        self.n_rows = self.first_row[self.n_series]
        if self.n_rows == 0:
            raise ValueError(
                f"no windows: input_size={n_in} and horizon={n_out} take {n_in + n_out} steps; "
                f"the longest of {self.n_series} series has {length.max(initial=0)}"
            )

    cdef _join(self):
        """Make one row of the windows of all series at a start."""
        start, count = np.asarray(self.start), np.diff(self.first_row)
        for name, values in (("start", start), ("count", count)):
            for s in np.flatnonzero(values != values[0])[:1]:
                raise ValueError(
                    f"together: {name} must be the same for all series; it is {values[0]} for "
                    f"series 0 and {values[s]} for series {s}"
                )
        self.n_rows = count[0]

    cdef _for_each_series(self, name, values):
        values = _integers(name, values)
        if values.shape not in ((), (self.n_series,)):
            raise ValueError(
                f"{name} must be one number or have shape ({self.n_series},), one for each series; "
                f"got {values.shape}"
            )
        return np.broadcast_to(values, self.n_series).copy()

    cdef _add(self, By by, name, array, first, steps, mask=None):
        """Fill a name from an array of shape (series or rows, steps, columns)."""
        cdef ct_series *x = &self.fields[self.n_fields]
        self.by[self.n_fields] = by
        self.n_fields += 1
        width = array.shape[2]
        if by == STEP:
            shape = (steps, width) if name in ("past", "future") else (steps,)
        else:
            shape = (width,) if by == SERIES else ()
        if self.together and by != ROW:
            shape = (self.n_series, *shape)
        self.names += (name,)
        self.shapes += (shape,)
        self._keep.append(array)
        x.data, x.item = _address(array), array.itemsize
        x.series_stride, x.time_stride, x.col_stride = array.strides
        x.first, x.steps, x.width = first, steps, width
        if width == 1:
            x.col_stride = x.item  # NumPy's own is any number
        if mask is not None:
            self._keep.append(mask)
            x.mask, x.hides = _address(mask), name != "past"
            x.mask_series_stride, x.mask_time_stride, _ = mask.strides

    def locate(self, rows):
        """Find the windows that rows are.

        Parameters
        ----------
        rows : array of int
            In [0, n_rows).

        Returns
        -------
        series, start : ndarray of int64, of the shape of `rows`
            Number of the series (with `together` the first), and the step of it at which the
            window begins.
        """
        rows = _integers("rows", rows)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.n_rows:
            raise IndexError(f"rows must lie in [0, {self.n_rows}); got {rows}")
        first_row = np.asarray(self.first_row)
        series = np.searchsorted(first_row, rows, side="right") - 1
        return series, np.asarray(self.start)[series] + (rows - first_row[series]) * self.step_size

    cdef void find(
        self, ct_window *windows, int64_t *series, const int64_t *index, int64_t first,
        ptrdiff_t begin, ptrdiff_t n
    ) noexcept nogil:
        """Locate the windows from `begin` on, counted over all rows."""
        cdef int64_t s = 0, end, middle, row
        cdef ptrdiff_t i
        for i in range(n):
            row = (begin + i) // self.per_row
            row = first + row if index == NULL else index[row]
            if self.per_row > 1:
                s = (begin + i) % self.per_row
                row += self.first_row[s]
            elif not self.first_row[s] <= row < self.first_row[s + 1]:
                s, end = 0, self.n_series
                while end - s > 1:  # first_row[s] <= row < first_row[end]
                    middle = (s + end) >> 1
                    if self.first_row[middle] <= row:
                        s = middle
                    else:
                        end = middle
            series[i] = windows[i].series = s
            windows[i].start = self.start[s] + (row - self.first_row[s]) * self.step_size
            windows[i].origin, windows[i].length = self.origin[s], self.length[s]

    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil:
        cdef ct_window windows[CHUNK]
        cdef int64_t series[CHUNK]
        cdef ptrdiff_t bad = -1, found, begin = 0, n
        cdef const ct_series *x
        cdef char *to
        cdef Py_ssize_t k
        while begin < rows * self.per_row:
            n = min(<ptrdiff_t>CHUNK, rows * self.per_row - begin)
            self.find(windows, series, index, first, begin, n)
            for k in range(self.n_fields):
                if fields[k] == NULL or self.by[k] == ROW:
                    continue
                x = &self.fields[k]
                to = fields[k] + begin * x.steps * x.width * kernels.itemsize
                if self.by[k] == STEP:
                    found = kernels.gather_windows(to, x, windows, n)
                else:
                    found = kernels.gather(
                        to, x.data, x.item, x.series_stride, x.col_stride, series, 0, n, x.width
                    )
                if found >= 0 and (bad < 0 or (begin + found) // self.per_row < bad):
                    bad = (begin + found) // self.per_row
            begin += n
        for k in range(self.n_fields):
            if fields[k] != NULL and self.by[k] == ROW:
                x = &self.fields[k]
                found = kernels.gather(
                    fields[k], x.data, x.item, x.series_stride, x.col_stride, index, first, rows, 1
                )
                if found >= 0 and (bad < 0 or found < bad):
                    bad = found
        return bad


cdef const char *_address(array) except NULL:
    return <const char *><uintptr_t>array.__array_interface__["data"][0]


def _check_dtype(name, array, dtypes=FLOATS):
    if array.dtype not in dtypes or not array.dtype.isnative:
        raise TypeError(f"{name} must be {' or '.join(map(str, dtypes))}; got {array.dtype}")


def _shaped(name, array, shape, dtypes=FLOATS):
    """Check an array; None in `shape` is any number of columns."""
    array = np.asanyarray(array)
    _check_dtype(name, array, dtypes)
    if array.ndim != len(shape) or any(
        wanted is not None and n != wanted for n, wanted in zip(array.shape, shape, strict=True)
    ):
        wanted = ", ".join("n_columns" if n is None else str(n) for n in shape)
        raise ValueError(
            f"{name} must have shape ({wanted}{',' if len(shape) == 1 else ''}); got {array.shape}"
        )
    return array


def _over_time(name, array, axes, columns=(), dtypes=FLOATS):
    """Check an array over series and time; give it the shape (series, steps, columns)."""
    array = _shaped(name, array, (*axes, *columns), dtypes)
    array = array if columns else array[..., None]
    return array if len(axes) == 2 else array[None]


def _integers(name, values):
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers; got {values.dtype}")
    return values.astype(np.int64)


def _positive(name, value):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
    return int(value)
