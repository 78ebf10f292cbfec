/* Windows out of compressed chunks: decode, cast and scale in one pass (interface: window_kernel.pyi). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#if !defined(__GNUC__) || !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The reader in Python serves this machine."
#endif

#include "window_kernel_blosc.h"
#include "window_kernel_rows.h"

#define MOST_AXES 8
#define EMPTY_CHUNK UINT64_MAX

/* The chunks that a box touches, in C order. */
typedef struct {
    const uint8_t *source;
    const uint64_t *offsets, *sizes;
    uint64_t source_size;
} Chunks;

typedef struct {
    int axes, stored, wanted;
    int64_t chunk[MOST_AXES], start[MOST_AXES], stop[MOST_AXES];
    int64_t first[MOST_AXES], count[MOST_AXES]; /* of the touched chunks, along each axis */
    int64_t chunk_elements, out_strides[MOST_AXES];
    uint8_t *out;
    Scale scale;
} Box;

/* Put the part of a chunk that lies in the box where it belongs. low, high: the part; out: of its first element.
   decoded: NULL for a chunk of zeros. */
static void place(const Machine *machine, const Box *box, const Decoded *decoded, const int64_t *low,
                  const int64_t *high, uint8_t *out, const Rooms *rooms) {
    int last = box->axes - 1, size_in = SIZES[box->stored], size_out = SIZES[box->wanted];
    int64_t width = high[last] - low[last], row = box->chunk[last], index[MOST_AXES], step[MOST_AXES];
    step[last] = 1;
    for (int axis = last; axis > 0; axis--) step[axis - 1] = step[axis] * box->chunk[axis];
    memcpy(index, low, sizeof index);
    for (;;) {
        int64_t begin = 0;
        uint8_t *target = out;
        for (int axis = 0; axis <= last; axis++) {
            begin += index[axis] * step[axis];
            target += (index[axis] - low[axis]) * box->out_strides[axis] * size_out;
        }
        int64_t rows = high[last - 1] - low[last - 1];
        const uint8_t *from = rooms->plane; /* zeros, where there is no chunk */
        if (decoded) from = elements_of(machine->gather_bits, decoded, begin, begin + (rows - 1) * row + width, rooms);
        Rows part = {from, target, decoded ? row * size_in : 0, box->out_strides[last - 1] * size_out, rows, width};
        machine->write_rows(&part, box->stored, box->wanted, &box->scale);
        int axis = last - 2;
        while (axis >= 0 && ++index[axis] == high[axis]) index[axis] = low[axis], axis--;
        if (axis < 0) return;
    }
}

static int decode_all(const Machine *machine, const Box *box, const Chunks *chunks, uint8_t *statuses,
                      const Rooms *rooms) {
    int last = box->axes - 1, worst = DONE, size = SIZES[box->stored];
    int64_t position[MOST_AXES], touched = 1;
    memcpy(position, box->first, sizeof position);
    for (int axis = 0; axis <= last; axis++) touched *= box->count[axis];
    for (int64_t number = 0; number < touched; number++) {
        int64_t low[MOST_AXES], high[MOST_AXES], first = 0, end = 0;
        uint8_t *out = box->out;
        for (int axis = 0; axis <= last; axis++) {
            int64_t origin = position[axis] * box->chunk[axis];
            low[axis] = box->start[axis] > origin ? box->start[axis] - origin : 0;
            high[axis] = box->stop[axis] - origin < box->chunk[axis] ? box->stop[axis] - origin : box->chunk[axis];
            first = first * box->chunk[axis] + low[axis], end = end * box->chunk[axis] + high[axis] - 1;
            out += (origin + low[axis] - box->start[axis]) * box->out_strides[axis] * SIZES[box->wanted];
        }
        uint64_t offset = chunks->offsets[number], length = chunks->sizes[number];
        Decoded decoded;
        int status = DONE;
        if (length == EMPTY_CHUNK) {
            memset(rooms->plane, 0, (size_t)(box->chunk[last] * size));
            place(machine, box, NULL, low, high, out, rooms);
        } else if (offset > chunks->source_size || length > chunks->source_size - offset) {
            status = OUTSIDE;
        } else {
            status = decode_chunk(chunks->source + offset, length, box->chunk_elements, size, first, end + 1,
                                  rooms->blocks, &decoded);
            if (status == DONE) place(machine, box, &decoded, low, high, out, rooms);
        }
        statuses[number] = (uint8_t)status;
        if (status > worst) worst = status;
        for (int axis = last; axis >= 0 && ++position[axis] == box->first[axis] + box->count[axis]; axis--)
            position[axis] = box->first[axis];
    }
    return worst;
}

/* Bytes of a room for all blocks of a chunk, and of one for its largest plane. */
static size_t room_bytes(const Box *box, size_t *plane) {
    size_t size = SIZES[box->stored];
    *plane = ((size_t)(box->chunk[box->axes - 1] * box->chunk[box->axes - 2] + 32) * size + 2 * SLACK) / SLACK * SLACK;
    return (size_t)box->chunk_elements * size + SLACK;
}

/* Fill `box` from (inner chunk, start, stop), each with one int64 an axis. 0 where they make no sense. */
static int read_geometry(Box *box, const Py_buffer *geometry, uint64_t chunks, uint64_t out_bytes) {
    int64_t axes = geometry->len / 24, numbers[3 * MOST_AXES];
    if (geometry->len % 24 != 0 || axes < 2 || axes > MOST_AXES) return 0;
    memcpy(numbers, geometry->buf, (size_t)geometry->len);
    int64_t touched = 1, elements = 1, chunk_elements = 1;
    box->axes = (int)axes;
    for (int axis = (int)axes - 1; axis >= 0; axis--) {
        int64_t chunk = numbers[axis], start = numbers[axes + axis], stop = numbers[2 * axes + axis];
        if (chunk < 1 || chunk > INT32_MAX || start < 0 || stop <= start || stop > INT64_MAX / 2) return 0;
        box->chunk[axis] = chunk, box->start[axis] = start, box->stop[axis] = stop;
        box->first[axis] = start / chunk, box->count[axis] = (stop - 1) / chunk - start / chunk + 1;
        box->out_strides[axis] = elements;
        if (__builtin_mul_overflow(touched, box->count[axis], &touched) || /* none of the products wraps round */
            __builtin_mul_overflow(elements, stop - start, &elements) ||
            __builtin_mul_overflow(chunk_elements, chunk, &chunk_elements))
            return 0;
    }
    box->chunk_elements = chunk_elements;
    return chunk_elements <= INT32_MAX && (uint64_t)touched == chunks && elements <= INT64_MAX / 8 &&
           (uint64_t)elements * SIZES[box->wanted] == out_bytes;
}

static int types_fit(int stored, int wanted, int scaled) {
    if (stored < 0 || stored >= TYPES || wanted < 0 || wanted >= TYPES) return 0;
    if (wanted == FLOAT32 || (wanted == stored && !scaled)) return 1;
    int whole = (wanted == INT16 || wanted == INT32 || wanted == INT64) && stored < FLOAT32;
    return whole && !scaled && SIZES[stored] < SIZES[wanted];
}

static PyObject *decode(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer source, offsets, sizes, geometry, out, statuses;
    Box box;
    Scale *s = &box.scale;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*iiw*w*iiiffffff", &source, &offsets, &sizes, &geometry, &box.stored,
                          &box.wanted, &out, &statuses, &s->on, &s->rescaled, &s->normalised, &s->slope, &s->intercept,
                          &s->low, &s->high, &s->mean, &s->std))
        return NULL;
    PyObject *result = NULL;
    uint64_t chunks = (uint64_t)statuses.len;
    if (!types_fit(box.stored, box.wanted, s->on) || (uint64_t)offsets.len != 8 * chunks ||
        (uint64_t)sizes.len != 8 * chunks || !read_geometry(&box, &geometry, chunks, (uint64_t)out.len)) {
        PyErr_SetString(PyExc_ValueError, "the arguments do not fit each other");
        goto release;
    }
    size_t plane, blocks = room_bytes(&box, &plane);
    uint8_t *room = malloc(blocks + 2 * plane);
    if (room == NULL) {
        PyErr_NoMemory();
        goto release;
    }
    Rooms rooms = {room + 2 * plane, room, room + plane};
    Chunks touched = {source.buf, offsets.buf, sizes.buf, (uint64_t)source.len};
    int worst;
    Machine machine = this_machine();
    box.out = out.buf;
    Py_BEGIN_ALLOW_THREADS;
    worst = decode_all(&machine, &box, &touched, statuses.buf, &rooms);
    Py_END_ALLOW_THREADS;
    free(room);
    result = PyLong_FromLong(worst);
release:
    PyBuffer_Release(&source), PyBuffer_Release(&offsets), PyBuffer_Release(&sizes);
    PyBuffer_Release(&geometry), PyBuffer_Release(&out), PyBuffer_Release(&statuses);
    return result;
}

static PyObject *limit_processor(PyObject *module, PyObject *argument) {
    (void)module;
    long level = PyLong_AsLong(argument);
    if (level == -1 && PyErr_Occurred()) return NULL;
    processor_level = level < 0 ? 0 : (int)level;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"decode", decode, METH_VARARGS, NULL}, {"limit_processor", limit_processor, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "window_kernel", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_window_kernel(void) { return PyModule_Create(&definition); }
