/* The C header and the manifest of a compiled model, from its unit's plan. */
#ifndef HMOEC_EMIT_HEADER_H
#define HMOEC_EMIT_HEADER_H

#include "emit/unit.h"

/* Both return malloc'd text, NULL when memory is short. */
char *hmoec_header_print(const hmoec_unit *unit, size_t *out_size);
/* versions: of the host's code, by number; images: what there is besides. strategies: from hmoec_strategies_collect, one line an op ("table: reason"); borrowed. */
char *hmoec_manifest_print(const hmoec_unit *unit, uint32_t versions, const hmoec_made_images *images,
                           const char *const *strategies, size_t strategy_count, size_t *out_size);

#endif
