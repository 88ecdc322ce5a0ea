/* Loaded before a program (tests/tools/comma_locale.py): chooses the locale of the environment as the program's own first lines might. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void choose(void) {
  char text[8];
  if (setlocale(LC_ALL, "") && snprintf(text, sizeof text, "%.1f", 0.5) == 3 && text[1] == ',') return;
  fputs("comma_locale: the locale has no decimal comma\n", stderr);
  abort();
}
