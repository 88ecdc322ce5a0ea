/* Checkpoints that are fine, and one for each way to be broken. */
#include "runtime_fixture.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct file_case {
  const char *name;
  const char *header;
  size_t data_bytes;
  const char *message; /* NULL: the file is good */
} file_case;

#define TENSOR(offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}}"

static const file_case cases[] = {
    {"one tensor", TENSOR("[0,8]"), 8, NULL},
    {"padded header", TENSOR("[0,8]") "   \n ", 8, NULL},
    {"no tensors", "{}", 0, NULL},
    {"metadata", "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
    {"scalar", "{\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, NULL},
    {"empty tensor", "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,0]}}", 0, NULL},
    {"unsorted offsets",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]},\"b\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}"
     "}",
     4, NULL},
    {"rank 10", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,2]}}", 2, NULL},

    {"not an object", "[1,2]", 0, "expected a JSON object, found byte 0x5b"},
    {"garbage", "{\"a\":", 0, "not valid JSON at byte 12"},
    {"second object", "{}{}", 0, "expected only blanks..."},
    {"metadata list", "{\"__metadata__\":[]}", 0, "__metadata__: expected an object of strings"},
    {"metadata number", "{\"__metadata__\":{\"n\":1}}", 0, "expected a string for 'n'"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0,
     "header: the key '__metadata__' is there twice, at bytes 9 and 27"},
    {"metadata of two values", "{\"__metadata__\":{\"\\u0061\":\"1\",\"b\":\":\",\"a\":\"2\"}}", 0,
     "header: the key 'a' is there twice, at bytes 25 and 46"},
    {"tensor number", "{\"a\":3}", 0, "'a': expected an object"},
    {"no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no field 'dtype'"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no field 'shape'"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "no field 'data_offsets'"},
    {"dtype twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     "header: the key 'dtype' is there twice, at bytes 14 and 28"},
    {"unknown field", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "unknown field 'x'"},
    {"unknown dtype", "{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "found 'F33'"},
    {"dtype number", "{\"a\":{\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype: expected a string"},
    {"shape text", "{\"a\":{\"dtype\":\"F32\",\"shape\":\"2\",\"data_offsets\":[0,8]}}", 8, "shape: expected an array"},
    {"negative size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,-1],\"data_offsets\":[0,8]}}", 8, "at position 1"},
    {"fractional size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", 8, "expected integers..."},
    {"huge size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,8]}}", 8, "expected integers..."},
    {"overflow", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,8]}}", 8,
     "make 2305843009213693951 bytes, data_offsets 8"},
    {"overflow to the right size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905,4],\"data_offsets\":[0,8]}}", 8,
     "expected integers..."},
    {"wrong size", TENSOR("[0,4]"), 4, "make 8 bytes, data_offsets 4"},
    {"half a byte", "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, "make 1 bytes, data_offsets 1"},
    {"a key twice behind quotes and backslashes", "{\"__metadata__\":{\"q\\\"\":\"1\",\"a\":\"\\\\\",\"b\\\\\":\"3\",\"a\":\"4\"}}",
     0, "header: the key 'a' is there twice, at bytes 35 and 54"},
    {"one of many keys twice",
     "{\"__metadata__\":{\"k0\":\"v\",\"k1\":\"v\",\"k2\":\"v\",\"k3\":\"v\",\"k4\":\"v\",\"k5\":\"v\",\"k6\":\"v\",\"k7\":\"v\","
     "\"k8\":\"v\",\"k9\":\"v\",\"k10\":\"v\",\"k11\":\"v\",\"k3\":\"w\"}}",
     0, "header: the key 'k3' is there twice, at bytes 52 and 135"},
    {"many keys",
     "{\"__metadata__\":{\"k0\":\"v\",\"k1\":\"v\",\"k2\":\"v\",\"k3\":\"v\",\"k4\":\"v\",\"k5\":\"v\",\"k6\":\"v\",\"k7\":\"v\","
     "\"k8\":\"v\"}}",
     0, NULL},
    {"something behind the object", "{} x", 0, "header: expected only blanks after the object, found byte 0x78 at byte 11"},
    {"blanks behind the object", "{} \n\t\r ", 0, NULL},
    {"no object", "[]", 0, "header: expected a JSON object, found byte 0x5b"},
    {"not JSON", "{\"a\" 1}", 0, "header: not valid JSON at byte 13"},
    {"size that is a text", "{\"a\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8,
     "tensor 'a': shape: expected integers >= 0, found something else at position 0"},
    {"offset that is a text", TENSOR("[\"0\",8]"), 8, "tensor 'a': data_offsets: expected two integers >= 0"},
    {"end that is a text", TENSOR("[0,\"8\"]"), 8, "tensor 'a': data_offsets: expected two integers >= 0"},
    {"nothing at the place of something",
     "{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]"
     "},"
     "\"c\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]},\"d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"
     "}",
     8, NULL},
    {"one offset", TENSOR("[0]"), 8, "expected two integers..."},
    {"three offsets", TENSOR("[0,8,9]"), 8, "expected two integers..."},
    {"negative offset", TENSOR("[-8,0]"), 8, "expected two integers..."},
    {"reversed offsets", TENSOR("[8,0]"), 8, "begin <= end, found [8, 0]"},
    {"outside", TENSOR("[4,12]"), 8,
     "truncated: tensor 'a' ends at byte 12 of the data, the file has 8 of them; download or write it again"},
    {"far outside", TENSOR("[9007199254740984,9007199254740992]"), 8,
     "truncated: tensor 'a' ends at byte 9007199254740992 of the data, the file has 8 of them; download or write it again"},
    {"hole", TENSOR("[4,12]"), 12, "4 bytes before tensor 'a' belong to no tensor"},
    {"trailing bytes", TENSOR("[0,8]"), 9, "1 bytes at the end of the file belong to no tensor"},
    {"truncated data", TENSOR("[0,8]"), 7,
     "truncated: tensor 'a' ends at byte 8 of the data, the file has 7 of them; download or write it again"},
    {"overlap",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]}"
     "}",
     5, "'a' and 'b' overlap"},
    {"twice",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,6]}"
     "}",
     6, "header: the key 'a' is there twice, at bytes 9 and 61"},
};

static hmoe_status read_case(uint64_t header_bytes, const char *header, size_t present, size_t data_bytes,
                             hmoe_safetensors *out_file) {
  hmoe_allocator allocator = fixture_allocator;
  size_t size = 8 + present + data_bytes;
  uint8_t *bytes = calloc(size, 1); /* exactly as long as the file: reading past it is caught */
  memcpy(bytes, &header_bytes, 8);
  memcpy(bytes + 8, header, present);
  hmoe_mapping mapping = {.data = bytes, .size_bytes = size, .name = "t.safetensors"};
  hmoe_status status = hmoe_safetensors_init(out_file, &mapping, &allocator);
  out_file->allocator = status == HMOE_OK ? &allocator : NULL;
  hmoe_safetensors_deinit(out_file);
  free(bytes);
  return status;
}

static void test_cases(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const file_case *c = &cases[i];
    hmoe_safetensors file;
    size_t length = strlen(c->header);
    hmoe_status status = read_case(length, c->header, length, c->data_bytes, &file);
    if (!c->message ? status != HMOE_OK : status != HMOE_INVALID_WEIGHTS || !says(hmoe_last_error(), c->message))
      fail_msg("%s: %s: %s", c->name, hmoe_status_string(status), hmoe_last_error());
    if (c->message && strncmp(hmoe_last_error(), "t.safetensors: ", 15) != 0) fail_msg("%s: %s", c->name, hmoe_last_error());
  }
}

static void test_header_length(void **state) {
  (void)state;
  hmoe_safetensors file;
  assert_fails(read_case(UINT64_MAX, "{}", 2, 0, &file), HMOE_INVALID_WEIGHTS, "not plausible");
  assert_fails(read_case((100u << 20) + 1, "{}", 2, 0, &file), HMOE_INVALID_WEIGHTS, "not plausible");
  assert_fails(read_case(0, "{}", 2, 0, &file), HMOE_INVALID_WEIGHTS, "not plausible");
  assert_fails(read_case(3, "{}", 2, 0, &file), HMOE_INVALID_WEIGHTS,
               "truncated: the header is 3 bytes long, the file has 2; download or write it again");
  const uint8_t few[7] = {0};
  hmoe_allocator allocator = fixture_allocator;
  for (size_t size = 1; size <= sizeof few; size++) { /* no length to tell */
    uint8_t *bytes = calloc(size, 1);
    hmoe_mapping mapping = {.data = bytes, .size_bytes = size, .name = "t.safetensors"};
    assert_fails(hmoe_safetensors_init(&file, &mapping, &allocator), HMOE_INVALID_WEIGHTS,
                 "expected a safetensors or .hmw file, found...");
    free(bytes);
  }
  /* Every truncation of a good file fails. */
  const char *header = TENSOR("[0,8]");
  size_t length = strlen(header);
  for (size_t cut = 0; cut < length; cut++) assert_int_equal(read_case(length, header, cut, 0, &file), HMOE_INVALID_WEIGHTS);
}

static void test_deep_nesting(void **state) {
  (void)state;
  enum { DEPTH = 200000 };
  char *header = malloc(DEPTH + 16);
  memcpy(header, "{\"a\":", 5);
  memset(header + 5, '[', DEPTH);
  hmoe_safetensors file;
  assert_fails(read_case(DEPTH + 5, header, DEPTH + 5, 0, &file), HMOE_INVALID_WEIGHTS, "not valid JSON...");
  free(header);
}

static void test_find(void **state) {
  (void)state;
  hmoe_allocator allocator = fixture_allocator;
  fixture_file file = {0};
  float values[5][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}, {13, 14, 15}};
  const char *names[] = {"m", "b", "z", "a.very.long.name", "k"};
  for (int i = 0; i < 5; i++) file_tensor(&file, names[i], "F32", FILE_SHAPE(3, 1), values[i], sizeof values[i]);
  hmoe_weights weights = file_finish(&file);
  hmoe_mapping mapping;
  assert_ok(hmoe_mapping_init(&mapping, &weights));
  hmoe_safetensors tensors;
  assert_ok(hmoe_safetensors_init(&tensors, &mapping, &allocator));
  for (int i = 0; i < 5; i++) {
    hmoe_tensor *tensor = hmoe_safetensors_find(&tensors, names[i]);
    assert_non_null(tensor);
    assert_string_equal(tensor->name, names[i]);
    assert_int_equal(tensor->begin, 12 * i);
    assert_int_equal(tensor->rank, 2);
    assert_int_equal(tensor->elements, 3);
    assert_memory_equal(tensor->data, values[i], sizeof values[i]);
  }
  assert_null(hmoe_safetensors_find(&tensors, "c"));
  assert_null(hmoe_safetensors_find(&tensors, ""));
  hmoe_safetensors_deinit(&tensors);
  hmoe_mapping_deinit(&mapping);
  file_deinit(&file);
}

static void test_conversion(void **state) {
  (void)state;
  const hmoe_dtype *f16 = hmoe_dtype_find("F16"), *bf16 = hmoe_dtype_find("BF16"), *f64 = hmoe_dtype_find("F64");
  static const struct {
    uint16_t bits;
    float value;
  } halves[] = {
      {0x3c00, 1.0f},     {0xc000, -2.0f},    {0x0001, 0x1p-24f}, {0x8001, -0x1p-24f},   {0x03ff, 0x1.ff8p-15f},
      {0x0400, 0x1p-14f}, {0x7bff, 65504.0f}, {0x0000, 0.0f},     {0x3555, 0x1.554p-2f},
  };
  for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
    uint8_t odd[3];
    float value;
    memcpy(odd + 1, &halves[i].bits, 2);
    f16->read(odd + 1, 1, 1, &value, 1);
    assert_true(value == halves[i].value);
  }
  uint16_t infinity = 0x7c00, nan = 0x7e00;
  float value;
  f16->read((const uint8_t *)&infinity, 1, 1, &value, 1);
  assert_true(value > 3e38f);
  f16->read((const uint8_t *)&nan, 1, 1, &value, 1);
  assert_true(value != value);
  uint16_t brain[4] = {0x3f80, 0, 0xc040, 0};
  /* Every type, with strides on both sides: five values, and nothing beside them. */
  static const struct {
    const char *name;
    size_t bytes;
  } types[] = {{"F32", 4}, {"F64", 8}, {"F16", 2}, {"BF16", 2}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    enum { COUNT = 5, STRIDE = 3, OUT_STRIDE = 2, ROOM = COUNT * OUT_STRIDE + 2 };
    uint8_t source[COUNT * STRIDE * 8];
    memset(source, 0xff, sizeof source); /* NaN, where none is to be read */
    for (size_t v = 0; v < COUNT; v++) {
      double wide = 1 + (double)v;
      float single = (float)wide;
      uint32_t bits;
      memcpy(&bits, &single, sizeof bits);
      uint16_t high = (uint16_t)(bits >> 16), half = (uint16_t)(((bits >> 23) - 112) << 10 | (bits >> 13 & 0x3ff));
      const void *value = types[i].bytes == 8 ? (void *)&wide : types[i].bytes == 4 ? (void *)&single : i == 2 ? &half : &high;
      memcpy(source + v * STRIDE * types[i].bytes, value, types[i].bytes);
    }
    const hmoe_dtype *type = hmoe_dtype_find(types[i].name);
    float out[ROOM];
    for (size_t v = 0; v < ROOM; v++) out[v] = -7;
    type->read(source, STRIDE, COUNT, out + 1, OUT_STRIDE);
    for (size_t v = 0; v < ROOM; v++)
      if (out[v] != (v % 2 && v <= 2 * COUNT ? (float)(v / 2 + 1) : -7))
        fail_msg("%s: out[%zu] = %g", types[i].name, v, (double)out[v]);
    uint16_t rounded[COUNT + 1], last = 0x7777;
    rounded[COUNT] = last;
    hmoe_dtype_read_bf16(type, source, STRIDE, COUNT, rounded);
    static const uint16_t expected[COUNT] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0};
    assert_memory_equal(rounded, expected, sizeof expected);
    assert_int_equal(rounded[COUNT], last);
  }
  float strided[4] = {9, 9, 9, 9};
  bf16->read((const uint8_t *)brain, 2, 2, strided, 3);
  assert_true(strided[0] == 1.0f && strided[1] == 9 && strided[3] == -3.0f);
  double precise = 0.1;
  f64->read((const uint8_t *)&precise, 1, 1, &value, 1);
  assert_true(value == 0.1f);
  assert_null(hmoe_dtype_find("I64")->read);
  assert_null(hmoe_dtype_find("f32"));
}

/* Every type of the format with its bits; those that are floats of the machine, or bf16, can be read. */
static void test_types(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint32_t bits;
    bool read;
  } types[] = {
      {"F64", 64, true},     {"F32", 32, true},         {"F16", 16, true},         {"BF16", 16, true},    {"BOOL", 8, false},
      {"U8", 8, false},      {"I8", 8, false},          {"U16", 16, false},        {"I16", 16, false},    {"U32", 32, false},
      {"I32", 32, false},    {"U64", 64, false},        {"I64", 64, false},        {"F8_E4M3", 8, false}, {"F8_E5M2", 8, false},
      {"F8_E8M0", 8, false}, {"F8_E4M3FNUZ", 8, false}, {"F8_E5M2FNUZ", 8, false}, {"F6_E2M3", 6, false}, {"F6_E3M2", 6, false},
      {"F4", 4, false},      {"C64", 64, false},
  };
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const hmoe_dtype *type = hmoe_dtype_find(types[i].name);
    if (!type || type->bits != types[i].bits || (type->read != NULL) != types[i].read) fail_msg("%s", types[i].name);
    char header[256];
    uint32_t bytes = types[i].bits * 24 / 8;
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[24],\"data_offsets\":[0,%u]}}", types[i].name, bytes);
    hmoe_safetensors file;
    assert_ok(read_case(strlen(header), header, strlen(header), bytes, &file));
  }
}

/* Values are rounded to bf16 in chunks of 64: as many, one less, one more, and several of them. */
static void test_many_values(void **state) {
  (void)state;
  enum { MOST = 200 };
  static const struct {
    const char *name;
    size_t bytes;
  } types[] = {{"F32", 4}, {"F64", 8}, {"BF16", 2}};
  static const size_t counts[] = {0, 1, 63, 64, 65, 127, 128, 129, 199};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    for (uint64_t stride = 1; stride <= 3; stride += 2)
      for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        static uint8_t source[MOST * 3 * 8];
        uint16_t out[MOST], expected[MOST];
        memset(source, 0xff, sizeof source);
        for (size_t v = 0; v < MOST; v++) {
          double wide = (double)v + 1; /* as a bf16, what has eight bits */
          float single = (float)wide;
          uint32_t bits;
          memcpy(&bits, &single, sizeof bits);
          uint16_t high = (uint16_t)(bits >> 16);
          expected[v] = high;
          memcpy(source + v * stride * types[i].bytes,
                 types[i].bytes == 8   ? (void *)&wide
                 : types[i].bytes == 4 ? (void *)&single
                                       : &high,
                 types[i].bytes);
          out[v] = 0x7777;
        }
        hmoe_dtype_read_bf16(hmoe_dtype_find(types[i].name), source, stride, counts[c], out);
        for (size_t v = 0; v < MOST; v++)
          if (out[v] != (v < counts[c] ? expected[v] : 0x7777)) fail_msg("%s, %zu values: number %zu", types[i].name, counts[c], v);
      }
}

static void test_mapping(void **state) {
  (void)state;
  hmoe_mapping mapping;
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.path = "/nonexistent/w"}), HMOE_IO_ERROR,
               "/nonexistent/w: cannot open: No such file or directory");
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.path = "/tmp"}), HMOE_IO_ERROR, "found a directory");
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.path = "/dev/null"}), HMOE_IO_ERROR, "found a device, pipe or socket");
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.kind = HMOE_WEIGHTS_FD, .fd = -1}), HMOE_IO_ERROR,
               "weights: cannot read: Bad file descriptor");
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){0}), HMOE_INVALID_ARGUMENT, "path is NULL");
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY}), HMOE_INVALID_ARGUMENT, "data is NULL");
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.kind = (hmoe_weights_kind)7}), HMOE_INVALID_ARGUMENT, "found 7");
  char path[] = "/tmp/hmoe-mapping-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_fails(hmoe_mapping_init(&mapping, &(hmoe_weights){.path = path}), HMOE_INVALID_WEIGHTS,
               "the file is empty: download or write it again");
  assert_int_equal(write(fd, "abc", 3), 3);
  assert_ok(hmoe_mapping_init(&mapping, &(hmoe_weights){.kind = HMOE_WEIGHTS_FD, .fd = fd}));
  assert_int_equal(mapping.size_bytes, 3);
  assert_memory_equal(mapping.data, "abc", 3);
  hmoe_mapping_deinit(&mapping);
  close(fd);
  unlink(path);
}

/* What a key means in a checkpoint: whether it is there, and whether all that it names is the same. */
static void test_look(void **state) {
  (void)state;
  hmoe_allocator allocator = fixture_allocator;
  fixture_file file = {0};
  static const struct {
    const char *name;
    float value;
  } tensors[] = {{"a", 1}, {"model.b", 2}, {"c", 3}, {"d", 3}, {"e", 4}};
  static const struct {
    const char *key;
    bool there, equal;
  } keys[] = {{"a", true, true},     {"b", true, true},       {"none", false, true},   {"c\nd", true, true},
              {"c\ne", true, false}, {"none\ne", true, true}, {"e\nnone", true, true}, {"d\nc\ne", true, false}};
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
    file_tensor(&file, tensors[i].name, "F32", FILE_SHAPE(1), &tensors[i].value, sizeof tensors[i].value);
  hmoe_weights weights = file_finish(&file);
  hmoe_checkpoint checkpoint;
  assert_ok(hmoe_checkpoint_open(&checkpoint, &weights, &allocator));
  assert_ok(hmoe_checkpoint_read(&checkpoint));
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    bool there = !keys[i].there, equal = !keys[i].equal;
    assert_ok(hmoe_checkpoint_look(&checkpoint, keys[i].key, &there, &equal));
    if (there != keys[i].there || equal != keys[i].equal) fail_msg("%s: %d, %d", keys[i].key, there, equal);
  }
  hmoe_checkpoint_close(&checkpoint);
  file_deinit(&file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases), cmocka_unit_test(test_header_length), cmocka_unit_test(test_deep_nesting),
      cmocka_unit_test(test_find),  cmocka_unit_test(test_conversion),    cmocka_unit_test(test_mapping),
      cmocka_unit_test(test_types), cmocka_unit_test(test_many_values),   cmocka_unit_test(test_look),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
