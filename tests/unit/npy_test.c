/* .npy files: what is written is read back, and files that are wrong are refused with a reason. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/npy.h"

static char folder[] = "/tmp/hmoec-npy-XXXXXX", path[64];

static int setup(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/a.npy", folder);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  unlink(path);
  return rmdir(folder); /* fails if a temporary file was left */
}

static void check_round_trip(hmoec_npy_type type, int64_t rank, const int64_t *dims, const void *data, size_t size_bytes) {
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_npy array;
  assert_true(hmoec_npy_write(path, type, rank, dims, data, diagnostics));
  errno = ERANGE; /* of something before */
  assert_true(hmoec_npy_read(path, diagnostics, &array));
  assert_int_equal(array.type, type);
  assert_int_equal(array.rank, rank);
  if (rank) assert_memory_equal(array.dims, dims, (size_t)rank * sizeof *dims);
  assert_int_equal(array.size_bytes, size_bytes);
  if (size_bytes) assert_memory_equal(array.data, data, size_bytes);
  hmoec_npy_deinit(&array);
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_round_trip(void **state) {
  (void)state;
  const float floats[6] = {1, -2, 3.5f, 4, 5, 6};
  const int32_t ints[3] = {1, -2, INT32_MAX};
  const int64_t longs[2] = {INT64_MIN, 7};
  check_round_trip(HMOEC_NPY_F32, 2, (int64_t[]){2, 3}, floats, sizeof floats);
  check_round_trip(HMOEC_NPY_F32, 3, (int64_t[]){1, 6, 1}, floats, sizeof floats);
  check_round_trip(HMOEC_NPY_F32, 0, NULL, floats, sizeof *floats);
  check_round_trip(HMOEC_NPY_F32, 2, (int64_t[]){0, 3}, floats, 0);
  check_round_trip(HMOEC_NPY_I32, 1, (int64_t[]){3}, ints, sizeof ints);
  check_round_trip(HMOEC_NPY_I64, 1, (int64_t[]){2}, longs, sizeof longs);
  check_round_trip(HMOEC_NPY_I32, 8, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 3}, ints, sizeof ints);
  check_round_trip(HMOEC_NPY_F32, 8, (int64_t[]){0, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX},
                   NULL, 0);
}

/* version 1 files unless start says otherwise. */
static void write_raw(const char *header, unsigned version, const void *data, size_t size_bytes) {
  FILE *stream = fopen(path, "wb");
  assert_non_null(stream);
  size_t length = strlen(header);
  const unsigned char start[] = {
      0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0, (unsigned char)(length & 255), (unsigned char)(length >> 8), 0, 0};
  fwrite(start, 1, version == 1 ? 10 : 12, stream);
  fwrite(header, 1, length, stream);
  fwrite(data, 1, size_bytes, stream);
  fclose(stream);
}

static void test_other_writers(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_npy array;
  const double doubles[3] = {0.1, -2, 1e300};
  write_raw("{\"shape\": (3L ,),'fortran_order':False, 'descr':'<f8'}", 2, doubles, sizeof doubles);
  assert_true(hmoec_npy_read(path, diagnostics, &array));
  assert_int_equal(array.type, HMOEC_NPY_F32);
  assert_int_equal(array.size_bytes, 12);
  assert_true(((float *)array.data)[0] == 0.1f && ((float *)array.data)[1] == -2.0f);
  hmoec_npy_deinit(&array);
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *header;
    unsigned version;
    size_t size_bytes;
    const char *error;
  } cases[] = {
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", 1, 16,
       "expected a C-ordered array, found Fortran order: write numpy.ascontiguousarray(array)"},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }", 1, 16,
       "expected elements <f4, <i4, <i8 or <f8, found >f4: big-endian floating point; write array.astype('<f4')"},
      {"{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }", 2, 8,
       "expected elements <f4, <i4, <i8 or <f8, found <f2: floating point; write array.astype('<f4')"},
      {"{'descr': '|b1', 'fortran_order': False, 'shape': (2, 2), }", 3, 4,
       "expected elements <f4, <i4, <i8 or <f8, found |b1: booleans; write array.astype('<i8')"},
      {"{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2), }", 1, 8,
       "expected elements <f4, <i4, <i8 or <f8, found <u2: unsigned integers; write array.astype('<i8')"},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }", 1, 8,
       "expected elements <f4, <i4, <i8 or <f8, found |O: Python objects"},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", 1, 16,
       "expected elements <f4, <i4, <i8 or <f8, found <c8: complex numbers"},
      {"{'descr': 'zz', 'fortran_order': False, 'shape': (2,), }", 1, 16, "expected elements <f4, <i4, <i8 or <f8, found zz"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", 1, 12, "expected 16 bytes of data, found 12"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", 1, 20, "expected 16 bytes of data, found 20"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 1, 16, "the array is too large"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2305843009213693952,), }", 1, 16, "the array is too large"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 1, 16, "the header is not understood"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 1, 16, "the header is not understood"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,2,3,4,5,6,7,8,9), }", 1, 16, "the header is not understood"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", 1, 16,
       "expected an array of numbers, found a structured one: write one of its fields"},
      {"{'descr': '<f4', 'shape': (4,), }", 1, 16, "the header is not understood"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } x", 1, 16, "the header is not understood"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", 1, 16, "the header is not understood"},
      {"{}", 9, 0, "expected .npy version 1, 2 or 3, found 9"},
  };
  const char zeros[32] = {0};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    hmoec_npy array;
    write_raw(cases[i].header, cases[i].version, zeros, cases[i].size_bytes);
    assert_false(hmoec_npy_read(path, diagnostics, &array));
    assert_string_equal(hmoec_diagnostics_first(diagnostics), cases[i].error);
    assert_null(array.data);
    hmoec_diagnostics_destroy(diagnostics);
  }
}

/* Every prefix of a good file is refused. */
static void test_truncated(void **state) {
  (void)state;
  const float data[2] = {1, 2};
  char whole[256];
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  assert_true(hmoec_npy_write(path, HMOEC_NPY_F32, 1, (int64_t[]){2}, data, diagnostics));
  FILE *stream = fopen(path, "rb");
  size_t size = fread(whole, 1, sizeof whole, stream);
  fclose(stream);
  assert_int_equal(size % 64, sizeof data);
  for (size_t length = 0; length < size; length++) {
    hmoec_npy array;
    stream = fopen(path, "wb");
    fwrite(whole, 1, length, stream);
    fclose(stream);
    assert_false(hmoec_npy_read(path, diagnostics, &array));
  }
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_no_place(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_npy array;
  assert_false(hmoec_npy_write("/nowhere/a.npy", HMOEC_NPY_F32, 0, NULL, (float[]){1}, diagnostics));
  assert_string_equal(hmoec_diagnostics_first(diagnostics), "cannot write: No such file or directory");
  assert_false(hmoec_npy_read("/nowhere/a.npy", diagnostics, &array));
  assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_INPUT_ERROR);
  hmoec_diagnostics_destroy(diagnostics);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_other_writers),
                                     cmocka_unit_test(test_refusals), cmocka_unit_test(test_truncated),
                                     cmocka_unit_test(test_no_place)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
