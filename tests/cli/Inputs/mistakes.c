/* One mistake with memory or files, by name. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static char *volatile kept;
static volatile char read_byte;
static volatile int behind = 25; /* what compilers cannot see they leave as it is */

int main(int count, char **values) {
  const char *mistake = count > 1 ? values[1] : "";
  char *volatile block = malloc(24), *volatile text = strdup("abcdef");
  if (!block || !text) return 1;
  if (strcmp(mistake, "kept") == 0) kept = malloc(10);
  if (strcmp(mistake, "lost") == 0) read_byte = *strdup("lost");
  if (strcmp(mistake, "open") == 0) read_byte = (char)open("/dev/null", O_RDONLY);
  if (strcmp(mistake, "reads") == 0) read_byte = block[behind - 1];
  if (strcmp(mistake, "writes") == 0) text[behind - 18] = 'x';
  if (strcmp(mistake, "before") == 0) block[behind - 26] = 'x';
  char *volatile more = calloc(8 * 3 + 1, 1);
  if (!more) return 1;
  if (strcmp(mistake, "behind") == 0) *(volatile char *)(more + behind) = 'x';
  free(more);
  free(block);
  if (strcmp(mistake, "gone") == 0) read_byte = *block;
  if (strcmp(mistake, "twice") == 0) free(block);
  free(text);
  return 0;
}
