/* What the option `routing` says: "even", "zipf:S", the path of a file of counts, or the text of one, which begins with a bracket.
 *
 *   {"layers": [
 *     {"experts": 4, "top_k": 2, "sets": [[0, 1, 17], [1, 3, 5]]}
 *   ]}
 *
 * A layer for each HyperExpert with selection sets, in program order; of a set its experts, and how many tokens selected them. Sets that nobody selected are left out. */
#ifndef HMOEC_LIBRARY_ROUTING_FILE_H
#define HMOEC_LIBRARY_ROUTING_FILE_H

#include "passes/routing.h"
#include "support/arena.h"
#include "support/diagnostics.h"

/* text NULL: what is assumed by default. The arena holds the counts. What is wrong is said at its place. */
bool hmoec_routing_read(hmoec_arena *arena, const char *text, hmoec_diagnostics *diagnostics, hmoec_routing *out_routing);

/* Selections of one layer: rows of top_k experts, as doubles, in any order. */
typedef struct hmoec_selections {
  int64_t experts, top_k;
  const double *rows;
  size_t count;
} hmoec_selections;

/* The text of a file of what was selected; malloc'd. NULL: no memory. */
char *hmoec_routing_print(const hmoec_selections *layers, size_t count);

#endif
