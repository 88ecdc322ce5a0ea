/* The reference interpreter on a session's source, with data as the runtime takes it. */
#ifndef HMOEC_LIBRARY_REFERENCE_H
#define HMOEC_LIBRARY_REFERENCE_H

#include "library/session.h"

/* See hmoec_compilation_interpret. */
bool hmoec_reference_run(hmoec_session *session, const hmoe_weights *weights, const int64_t *dims, const void *const *inputs,
                         void *const *outputs);

/* How often the model selects which experts for these inputs, as the text of a routing file (library/routing_file.h), malloc'd. */
bool hmoec_reference_routing(hmoec_session *session, const hmoe_weights *weights, const int64_t *dims, const void *const *inputs,
                             char **out_text);

#endif
