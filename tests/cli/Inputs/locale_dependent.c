/* For plain_text.test: every line from 6 on but the last four depends on the locale. strtod("0.5") in a comment does not. */
#include <inttypes.h>
#include <stdio.h>

void dependent(FILE *file, char *out, size_t size, const char *text, double value, int64_t whole) {
  value += strtod(text, NULL);
  snprintf(out, size, "%s: %.3f", text, value);
  fprintf(file, "%" PRId64 " of %+-8.*g\n", whole, 3, value);
  printf(text, value);
  if (isalpha(*text)) return;
  cJSON_ParseWithLength(text, size);
  if (sscanf(text, "%lf", &value)) return;
  printf("strtod(text), %" PRId64 " and %d %% of %s\n", whole, (int)size, "%f isalpha(c)");
  hmoe_plain_print(file, "%g", value);
  fprintf(file, "(\"%s\")\n", text);
  snprintf(out, size, "%016llx", 1ull);
}
