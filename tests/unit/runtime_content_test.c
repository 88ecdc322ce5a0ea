/* What files are said to be by their first bytes, and what is said of paths that there are not. */
#include "runtime_fixture.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
  const char *bytes;
  size_t size;
  hmoe_content content;
  const char *said; /* the beginning of it */
} rows[] = {
    {BYTES(""), HMOE_CONTENT_EMPTY, "an empty file: download"},
    {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"), HMOE_CONTENT_OTHER,
     "a pointer of Git LFS, not the file itself: run `git lfs install` and `git lfs pull`"},
    {BYTES("\x02\0\0\0\0\0\0\0{}"), HMOE_CONTENT_SAFETENSORS, "a safetensors file"},
    {BYTES("\x80\x02\0\0\0\0\0\0{\"a\""), HMOE_CONTENT_SAFETENSORS, "a safetensors file"},
    {BYTES("HMOEWTS\n\0\0"), HMOE_CONTENT_PACKED, "packed weights"},
    {BYTES("\x93NUMPY\1\0"), HMOE_CONTENT_NPY, "a .npy array"},
    {BYTES("GGUF\3\0\0\0"), HMOE_CONTENT_OTHER, "a GGUF file: get the original"},
    {BYTES("\x08\x07\x12\x07pytorch\x1a\x05"), HMOE_CONTENT_OTHER, "an ONNX model: get the checkpoint"},
    {BYTES("\x08\x01\x12\x80\x80\x40\x0a\x00"), HMOE_CONTENT_OTHER, "a SavedModel of TensorFlow"},
    {BYTES("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0archive/data.pkl"), HMOE_CONTENT_OTHER,
     "a PyTorch pickle: convert it in Python"},
    {BYTES("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0x.npy\x93NUMPY"), HMOE_CONTENT_OTHER,
     "a .npz archive of arrays: write the one array with numpy.save"},
    {BYTES("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06\0\0\0readme"), HMOE_CONTENT_OTHER, "a zip archive: unpack it"},
    {BYTES("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0cut"), HMOE_CONTENT_OTHER, "a zip archive"},
    {BYTES("PK\3\4"), HMOE_CONTENT_OTHER, "a zip archive"},
    {BYTES("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."), HMOE_CONTENT_OTHER, "a PyTorch pickle: convert"},
    {BYTES("\x80\x02}q\0X\x05\0\0\0ctorch._utils\n"), HMOE_CONTENT_OTHER, "a PyTorch pickle: convert"},
    {BYTES("\x80\x04\x95\x0f\0\0\0\0\0\0\0}"), HMOE_CONTENT_OTHER, "a Python pickle: convert"},
    {BYTES("\x89HDF\r\n\x1a\n\0"), HMOE_CONTENT_OTHER, "an HDF5 file, as TensorFlow and Keras write: convert it"},
    {BYTES("\x82\xa7"
           "encoder\x81"),
     HMOE_CONTENT_OTHER, "msgpack data, as Flax writes: convert it"},
    {BYTES("\xde\0\x12\xa3wte"), HMOE_CONTENT_OTHER, "msgpack data, as Flax writes: convert it"},
    {BYTES("\x1c\0\0\0TFL3"), HMOE_CONTENT_OTHER, "a TensorFlow Lite file"},
    {BYTES("\x1f\x8b\x08\0"), HMOE_CONTENT_OTHER, "a gzip archive: unpack it first"},
    {BYTES("\xfd"
           "7zXZ\0"),
     HMOE_CONTENT_OTHER, "an xz archive: unpack it first"},
    {BYTES("\x28\xb5\x2f\xfd\0"), HMOE_CONTENT_OTHER, "a zstd archive: unpack it first"},
    {BYTES("\x7f"
           "ELF\2\1\1"),
     HMOE_CONTENT_OTHER, "an ELF object or program"},
    {BYTES("!<arch>\n"), HMOE_CONTENT_OTHER, "a static library"},
    {BYTES("ML\xefR\1"), HMOE_CONTENT_OTHER, "MLIR bytecode: write it as text"},
    {BYTES("\n <!DOCTYPE html>\n<html>"), HMOE_CONTENT_OTHER, "a page of a web server: it came in place of a download"},
    {BYTES("<HTML>"), HMOE_CONTENT_OTHER, "a page of a web server"},
    {BYTES("<?xml version='1.0'?><Error>"), HMOE_CONTENT_OTHER, "a page of a web server"},
    {BYTES("\xff\xfem\0o\0"), HMOE_CONTENT_OTHER, "text in UTF-16: save it as UTF-8"},
    {BYTES("  {\"a\": 1}"), HMOE_CONTENT_JSON, "JSON"},
    {BYTES("\xef\xbb\xbf[1]"), HMOE_CONTENT_JSON, "JSON"},
    {BYTES("/* m */\n#ifndef M_H"), HMOE_CONTENT_TEXT, "a C source or header"},
    {BYTES("Not Found\n"), HMOE_CONTENT_TEXT, "text that begins \"Not Found\""},
    {BYTES("\n\n  Sehr ge\xc3\xb6"
           "ffnet, aber nicht gefunden: \xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc"),
     HMOE_CONTENT_TEXT,
     "text that begins \"Sehr ge\xc3\xb6"
     "ffnet, aber nicht gefunden: \xc3\xbc\""},
    {BYTES(" \n\t\n"), HMOE_CONTENT_TEXT, "blank text"},
    {BYTES("caf\xe9 in Latin-1"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\0\0\0\0\0\0\0\0\0\0\0"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x80"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x07"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("lmgg\1\0"), HMOE_CONTENT_OTHER, "a GGML file: get the original"},
    {BYTES("tjgg\1\0"), HMOE_CONTENT_OTHER, "a GGML file: get the original"},
    {BYTES("BZh91AY"), HMOE_CONTENT_OTHER, "a bzip2 archive: unpack it first"},
    {BYTES("7z\xbc\xaf\x27\x1c\0"), HMOE_CONTENT_OTHER, "a 7z archive: unpack it first"},
    {BYTES("Rar!\x1a\x07\x01"), HMOE_CONTENT_OTHER, "a rar archive: unpack it first"},
    {BYTES("BC\xc0\xde\x35"), HMOE_CONTENT_OTHER, "LLVM bitcode"},
    {BYTES("%PDF-1.7"), HMOE_CONTENT_OTHER, "a PDF document"},
    {BYTES("\x89PNG\r\n\x1a\n"), HMOE_CONTENT_OTHER, "a PNG picture"},
    {BYTES("\xfe\xff\0m"), HMOE_CONTENT_OTHER, "text in UTF-16: save it as UTF-8"},
    /* A header of two bytes at least, and of less than 2^32; an object right behind its length. */
    {BYTES("\x01\0\0\0\0\0\0\0{}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\0\1\0\0\0\0\0\0{}"), HMOE_CONTENT_SAFETENSORS, "a safetensors file"},
    {BYTES("\0\0\1\0\0\0\0\0{}"), HMOE_CONTENT_SAFETENSORS, "a safetensors file"},
    {BYTES("\x02\0\0\0\1\0\0\0{}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x02\0\0\0\0\1\0\0{}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x02\0\0\0\0\0\1\0{}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x02\0\0\0\0\0\0\1{}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x02\0\0\0\0\0\0\0[]"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x02\0\0\0\0\0\0\0{"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    /* Archives of PyTorch, by their first member. */
#define ZIP(length) "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" length "\0\0\0"
    {BYTES(ZIP("\x0b") "m/byteorder"), HMOE_CONTENT_OTHER, "a PyTorch pickle: convert"},
    {BYTES(ZIP("\x09") "m/version"), HMOE_CONTENT_OTHER, "a PyTorch pickle: convert"},
    {BYTES(ZIP("\x08") "m/data/0"), HMOE_CONTENT_OTHER, "a PyTorch pickle: convert"},
    {BYTES(ZIP("\x04") ".npyx.npy"), HMOE_CONTENT_OTHER, "a zip archive"},
    {BYTES(ZIP("\x02") "m/data/0"), HMOE_CONTENT_OTHER, "a zip archive"},
    /* Pickles are of protocol 2 to 5. */
    {BYTES("\x80\x05}"), HMOE_CONTENT_OTHER, "a Python pickle: convert"},
    {BYTES("\x80\x02}"), HMOE_CONTENT_OTHER, "a Python pickle: convert"},
    {BYTES("\x80\x01}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x80\x06}"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x80\x02"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    /* Maps with a first key of some printable text. */
    {BYTES("\xdf\0\0\0\1\xa1k\0"), HMOE_CONTENT_OTHER, "msgpack data"},
    {BYTES("\x81\xa1 \0"), HMOE_CONTENT_OTHER, "msgpack data"},
    {BYTES("\x8f\xbf~\0"), HMOE_CONTENT_OTHER, "msgpack data"},
    {BYTES("\x81\xd9\x40k"), HMOE_CONTENT_OTHER, "msgpack data"},
    {BYTES("\x81\xd9\x40\x1f"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x81\xa1\x1fk"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x81\xa1\x7fk"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x81\xa0kk"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x81\xc0kk"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x80\xa1kk"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x90\xa1kk"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x81\xa1k"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\xde\0\1\xa1k"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\xdf\0\0\0\1\xa1k"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    /* Models of ONNX: of version 1 to 32, with a producer of 1 to 63 printable characters. */
#define LONG_NAME "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff012"
    {BYTES("\x08\x20\x12\x3f" LONG_NAME), HMOE_CONTENT_OTHER, "an ONNX model"},
    {BYTES("\x08\x01\x12\x40" LONG_NAME "3"), HMOE_CONTENT_OTHER, "a SavedModel of TensorFlow"},
    {BYTES("\x08\x02\x12\x40" LONG_NAME "3"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x02\x12\x3f"
           "aaaa"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x02\x12\x04"
           " a~b"),
     HMOE_CONTENT_OTHER, "an ONNX model"},
    {BYTES("\x08\x02\x12\x04"
           "a\x1f~b"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x02\x12\x04"
           "ab~\x7f"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x02\x12\0abcd"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x21\x12\x04"
           "abcd"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\0\x12\x04"
           "abcd"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x07\x13\x04"
           "abcd"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\x08\x07\x12\x03"
           "abc"),
     HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    /* Text: UTF-8, cut where the file is, and no control characters but these. */
    {BYTES("a\t\n\v\f\r\x1b[0m"), HMOE_CONTENT_TEXT, "text that begins \"a\""},
    {BYTES("a\x1f"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\x7f"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\0"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("\xc2\x80 \xe2\x82\xac \xf4\x8f\xbf\xbf"), HMOE_CONTENT_TEXT,
     "text that begins \"\xc2\x80 \xe2\x82\xac \xf4\x8f\xbf\xbf\""},
    {BYTES("a\xe2\x82"), HMOE_CONTENT_TEXT, "text that begins \"a"},
    {BYTES("a\xf0\x9f\x98"), HMOE_CONTENT_TEXT, "text that begins \"a"},
    {BYTES("a\xc1\x80"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\xf5\x80\x80\x80"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\xe2\x82 b"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\xf0\x9f\x98 b"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\xc3 b"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("a\xc3\xc0"), HMOE_CONTENT_UNKNOWN, "bytes of no known kind"},
    {BYTES("0123456789012345678901234567890123456789"), HMOE_CONTENT_TEXT,
     "text that begins \"0123456789012345678901234567890123456789\""},
    {BYTES("  01234567890123456789012345678901234567890"), HMOE_CONTENT_TEXT,
     "text that begins \"0123456789012345678901234567890123456789\""},
    {BYTES("012345678901234567890123456789012345678\xc3\xb6"), HMOE_CONTENT_TEXT,
     "text that begins \"012345678901234567890123456789012345678\""},
    {BYTES("one\ttwo"), HMOE_CONTENT_TEXT, "text that begins \"one\""},
    {BYTES("<head>"), HMOE_CONTENT_OTHER, "a page of a web server"},
    {BYTES("\xef\xbb\xbf <!doctype html>"), HMOE_CONTENT_OTHER, "a page of a web server"},
    {BYTES("<htm"), HMOE_CONTENT_TEXT, "text that begins \"<htm\""},
    {BYTES("#ifndef M_H\n"), HMOE_CONTENT_TEXT, "a C source or header"},
    {BYTES("#include <m.h>\n"), HMOE_CONTENT_TEXT, "a C source or header"},
    {BYTES("#pragma once\n"), HMOE_CONTENT_TEXT, "a C source or header"},
    {BYTES("# a comment\n"), HMOE_CONTENT_TEXT, "text that begins \"# a comment\""},
};

/* In memory of exactly that size, so that a read past it is seen; every beginning too. */
static void test_kinds(void **state) {
  (void)state;
  char said[HMOE_CONTENT_CHARS];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t size = 0; size <= rows[i].size; size++) {
      uint8_t *copy = malloc(size ? size : 1);
      assert_non_null(copy);
      memcpy(copy, rows[i].bytes, size);
      hmoe_content_string(copy, size, said);
      assert_true(strlen(said) > 0);
      if (size == rows[i].size) {
        if (strncmp(said, rows[i].said, strlen(rows[i].said)) != 0)
          fail_msg("row %zu: expected \"%s\", found \"%s\"", i, rows[i].said, said);
        if (hmoe_content_find(copy, size) != rows[i].content) fail_msg("row %zu: %d", i, hmoe_content_find(copy, size));
      }
      free(copy);
    }
  }
}

static void test_archives(void **state) {
  (void)state;
  char tar[512] = "config.json", said[HMOE_CONTENT_CHARS];
  memcpy(tar + 257, "ustar", 5);
  assert_string_equal(hmoe_content_string((const uint8_t *)tar, sizeof tar, said), "a tar archive: unpack it first");
  assert_string_equal(hmoe_content_string((const uint8_t *)tar, 260, said), "bytes of no known kind");
}

static void test_hints(void **state) {
  (void)state;
  static const char *const hub[] = {"google/switch-base-8", "gpt2", "a/b_c.d", "distil-gpt2", "a", "gpt-2_x"},
                           *const addresses[] = {"https://huggingface.co/gpt2", "http://a/b.npy", "hf://a/b",
                                                 "s3://bucket/model.spec"},
                           *const nothing[] = {
                               "",      "/",    "a/b/c",  "./gpt2", "../a/b", "/a/b",   "a/b/",  "m.spec", "a/model.safetensors",
                               "x.npy", "a//b", "a..b/c", "a b",    "-a/b",   "m.txt",  "://",   "c:x",    "a-",
                               "a_",    "a/.b", ".bin",   "x.bin",  "x.json", "x.mlir", "x.hmw", "c://x"};
  for (size_t i = 0; i < sizeof hub / sizeof *hub; i++)
    if (!strstr(hmoe_path_hint(hub[i]), "of the Hugging Face Hub is downloaded first")) fail_msg("%s: no name of the Hub", hub[i]);
  for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
    if (!strstr(hmoe_path_hint(addresses[i]), "this is an address")) fail_msg("%s: no address", addresses[i]);
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
    if (*hmoe_path_hint(nothing[i])) fail_msg("%s: found \"%s\"", nothing[i], hmoe_path_hint(nothing[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds), cmocka_unit_test(test_archives), cmocka_unit_test(test_hints)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
