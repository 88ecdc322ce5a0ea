/* The compiler inside of a program that has a locale with a decimal comma.   locale MODEL REFUSED
 * The model's texts are those of the locale "C"; while messages come, the program has its own locale, and so it has behind each call. */
#include <hmoe/compiler.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int heard;

static void expect(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "wrong: %s\n", what);
  exit(1);
}

static void expect_comma(void) {
  char text[8];
  snprintf(text, sizeof text, "%.1f", 0.5);
  expect(!strcmp(text, "0,5"), "the program's own locale");
}

static void hear(void *context, const hmoec_message *message) {
  heard++;
  if (context) expect_comma();
  printf("%s\n", message->text);
}

static char *text_of(const char *path, hmoec_output output, void *context, size_t *bytes) {
  hmoec_options options = {.struct_size = sizeof options, .message = hear, .message_context = context};
  hmoec_compilation *compilation;
  char *text;
  expect(!hmoec_compile_file(path, &options, &compilation), "compilation");
  expect(!hmoec_compilation_emit(compilation, output, &text, bytes), "text");
  hmoec_compilation_destroy(compilation);
  return text;
}

int main(int count, char **words) {
  static const hmoec_output outputs[] = {HMOEC_OUTPUT_HMOE, HMOEC_OUTPUT_HMK, HMOEC_OUTPUT_LLVM, HMOEC_OUTPUT_MANIFEST};
  if (count != 3) return 2;
  for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
    size_t plain_bytes, local_bytes;
    setlocale(LC_ALL, "C");
    char *plain = text_of(words[1], outputs[i], NULL, &plain_bytes);
    expect(setlocale(LC_ALL, "") != NULL, "the locale");
    char *local = text_of(words[1], outputs[i], &heard, &local_bytes);
    expect_comma();
    expect(plain_bytes == local_bytes && !memcmp(plain, local, plain_bytes), "the same text");
    expect(outputs[i] != HMOEC_OUTPUT_HMOE || strstr(plain, "5.000000e-01") != NULL, "a number with a point");
    hmoec_free(plain);
    hmoec_free(local);
  }
  hmoec_options options = {.struct_size = sizeof options, .message = hear, .message_context = &heard};
  hmoec_compilation *compilation;
  heard = 0;
  expect(hmoec_compile_file(words[2], &options, &compilation) && heard, "a message");
  expect_comma();
}
