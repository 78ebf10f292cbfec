/* Products of a sparse matrix in CSR form with the axes of float32 arrays (see axis_kernel.pyi).
 *
 * Each output is one sum over the stored weights of its row, in their order, from +0.0, by a multiplication and an
 * addition that are rounded one after the other (built with -ffp-contract=off). Vectors run across outputs, never
 * along a sum, so the result is the same on every machine, and that of scipy's csr_matvecs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 64  /* outputs that one pass over a row of weights sums side by side */
#define PACKED 256 /* columns that are brought together at a time */
#define LINE 16   /* floats of one cache line */

typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));

typedef struct {
    const int32_t *indptr, *indices;
    const float *weights;
    Py_ssize_t n_out, n_in;
} Matrix;

typedef struct {
    const Matrix *matrix;
    const float *source;
    float *out;
    Py_ssize_t others; /* columns (product_columns) or rows (product_rows) that the matrix does not touch */
    float *workspace;
} Task;

#define INLINE static inline __attribute__((always_inline))

INLINE void lanes_sum(const Matrix *m, Py_ssize_t row, const float *source, Py_ssize_t stride, float *out) {
    v8 sum[LANES / 8];
    for (int lane = 0; lane < LANES / 8; lane++) sum[lane] = (v8){0};
    for (int32_t k = m->indptr[row]; k < m->indptr[row + 1]; k++) {
        const float *at = source + m->indices[k] * stride;
        const float weight = m->weights[k];
        for (int lane = 0; lane < LANES / 8; lane++) {
            v8 value;
            memcpy(&value, at + 8 * lane, sizeof value);
            sum[lane] += weight * value;
        }
    }
    memcpy(out, sum, sizeof sum);
}

/* Blocks of columns are packed first: rows a power of two apart would push each other out of the cache. */
INLINE void columns_body(const Task *task) {
    const Matrix *m = task->matrix;
    const Py_ssize_t width = task->others;
    float *packed = task->workspace, *sums = packed + PACKED * m->n_in;
    for (Py_ssize_t column = 0; column < width; column += PACKED) {
        const Py_ssize_t count = width - column < PACKED ? width - column : PACKED;
        for (Py_ssize_t i = 0; i < m->n_in; i++)
            memcpy(packed + i * PACKED, task->source + i * width + column, (size_t)count * sizeof(float));
        for (Py_ssize_t i = 0; i < m->n_out; i++) {
            float *at = task->out + i * width + column;
            Py_ssize_t lane = 0;
            for (; lane + LANES <= count; lane += LANES) lanes_sum(m, i, packed + lane, PACKED, at + lane);
            if (lane < count) {
                lanes_sum(m, i, packed + lane, PACKED, sums);
                memcpy(at + lane, sums, (size_t)(count - lane) * sizeof(float));
            }
        }
    }
}

INLINE void turn_4_by_4(const float *from, Py_ssize_t from_stride, float *to, Py_ssize_t to_stride) {
    const i4 low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
    v4 in[4], out[4];
    for (int i = 0; i < 4; i++) memcpy(&in[i], from + i * from_stride, sizeof in[i]);
    const v4 a = __builtin_shuffle(in[0], in[1], low), b = __builtin_shuffle(in[2], in[3], low);
    const v4 c = __builtin_shuffle(in[0], in[1], high), d = __builtin_shuffle(in[2], in[3], high);
    out[0] = __builtin_shuffle(a, b, first);
    out[1] = __builtin_shuffle(a, b, second);
    out[2] = __builtin_shuffle(c, d, first);
    out[3] = __builtin_shuffle(c, d, second);
    for (int i = 0; i < 4; i++) memcpy(to + i * to_stride, &out[i], sizeof out[i]);
}

/* (rows, columns) -> (columns, rows), line by line of the source. */
INLINE void turn(const float *from, Py_ssize_t from_stride, float *to, Py_ssize_t to_stride, Py_ssize_t rows,
                 Py_ssize_t columns) {
    const Py_ssize_t whole_rows = rows & ~(Py_ssize_t)3, whole_columns = columns & ~(Py_ssize_t)3;
    for (Py_ssize_t block = 0; block < whole_columns; block += LINE) {
        const Py_ssize_t end = block + LINE < whole_columns ? block + LINE : whole_columns;
        for (Py_ssize_t r = 0; r < whole_rows; r += 4)
            for (Py_ssize_t c = block; c < end; c += 4)
                turn_4_by_4(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    }
    for (Py_ssize_t r = 0; r < rows; r++)
        for (Py_ssize_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            to[c * to_stride + r] = from[r * from_stride + c];
}

INLINE void rows_body(const Task *task) {
    const Matrix *m = task->matrix;
    float *turned = task->workspace, *sums = turned + LANES * m->n_in;
    for (Py_ssize_t row = 0; row < task->others; row += LANES) {
        const Py_ssize_t count = task->others - row < LANES ? task->others - row : LANES;
        turn(task->source + row * m->n_in, m->n_in, turned, LANES, count, m->n_in);
        for (Py_ssize_t i = 0; i < m->n_out; i++) lanes_sum(m, i, turned, LANES, sums + i * LANES);
        turn(sums, LANES, task->out + row * m->n_out, m->n_out, m->n_out, count);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void columns_512(const Task *task) { columns_body(task); }
__attribute__((target("avx512f"))) static void rows_512(const Task *task) { rows_body(task); }
__attribute__((target("avx2"))) static void columns_256(const Task *task) { columns_body(task); }
__attribute__((target("avx2"))) static void rows_256(const Task *task) { rows_body(task); }
#endif
static void columns_plain(const Task *task) { columns_body(task); }
static void rows_plain(const Task *task) { rows_body(task); }

static void run(const Task *task, int along_rows) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) { along_rows ? rows_512(task) : columns_512(task); return; }
    if (__builtin_cpu_supports("avx2")) { along_rows ? rows_256(task) : columns_256(task); return; }
#endif
    along_rows ? rows_plain(task) : columns_plain(task);
}

static int indices_fit(const Matrix *m, Py_ssize_t stored) {
    if (m->indptr[0] != 0 || m->indptr[m->n_out] != stored) return 0;
    for (Py_ssize_t row = 0; row < m->n_out; row++)
        if (m->indptr[row] > m->indptr[row + 1]) return 0;
    for (Py_ssize_t k = 0; k < stored; k++)
        if (m->indices[k] < 0 || m->indices[k] >= m->n_in) return 0;
    return 1;
}

enum { INDPTR, INDICES, WEIGHTS, SOURCE, OUT, BUFFERS };

static PyObject *product(PyObject *args, int along_rows) {
    PyObject *given[BUFFERS];
    Py_ssize_t n_in;
    if (!PyArg_ParseTuple(args, "OOOnOO", &given[INDPTR], &given[INDICES], &given[WEIGHTS], &n_in, &given[SOURCE],
                          &given[OUT]))
        return NULL;
    Py_buffer held[BUFFERS];
    int taken = 0;
    PyObject *result = NULL;
    float *workspace = NULL;
    for (; taken < BUFFERS; taken++)
        if (PyObject_GetBuffer(given[taken], &held[taken],
                               PyBUF_C_CONTIGUOUS | (taken == OUT ? PyBUF_WRITABLE : PyBUF_SIMPLE)))
            goto done;
    const Py_ssize_t stored = held[INDICES].len / 4;
    const Matrix matrix = {.indptr = held[INDPTR].buf,
                           .indices = held[INDICES].buf,
                           .weights = held[WEIGHTS].buf,
                           .n_out = held[INDPTR].len / 4 - 1,
                           .n_in = n_in};
    const Py_ssize_t others = n_in > 0 ? held[SOURCE].len / 4 / n_in : 0;
    if (n_in <= 0 || matrix.n_out < 0 || held[WEIGHTS].len != 4 * stored || held[SOURCE].len != 4 * n_in * others ||
        held[OUT].len != 4 * matrix.n_out * others || !indices_fit(&matrix, stored)) {
        PyErr_SetString(PyExc_ValueError, "the sizes of matrix, source and out do not fit each other");
        goto done;
    }
    workspace = calloc((size_t)PACKED * (size_t)(n_in + matrix.n_out + 1), sizeof *workspace);
    if (workspace == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    const Task task = {.matrix = &matrix, .source = held[SOURCE].buf, .out = held[OUT].buf, .others = others,
                       .workspace = workspace};
    Py_BEGIN_ALLOW_THREADS
    run(&task, along_rows);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(workspace);
    while (taken > 0) PyBuffer_Release(&held[--taken]);
    return result;
}

static PyObject *product_columns(PyObject *module, PyObject *args) { (void)module; return product(args, 0); }
static PyObject *product_rows(PyObject *module, PyObject *args) { (void)module; return product(args, 1); }

static PyMethodDef methods[] = {
    {"product_columns", product_columns, METH_VARARGS, NULL},
    {"product_rows", product_rows, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "axis_kernel", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_axis_kernel(void) { return PyModule_Create(&definition); }
