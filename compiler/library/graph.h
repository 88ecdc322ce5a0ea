/* What the library needs of a public graph. */
#ifndef HMOEC_LIBRARY_GRAPH_H
#define HMOEC_LIBRARY_GRAPH_H

#include "hmoe/compiler.h"

/* The graph as text of the hmoe dialect, with the places of its ops; from the first call on the graph can no longer be changed. Owned by the
 * graph. An error is reported to the graph's sink. */
hmoec_status hmoec_graph_text(hmoec_graph *graph, const char **out_name, const char **out_text, size_t *out_size);

#endif
