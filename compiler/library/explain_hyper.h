/* What memory buys: tables of the strategies of HyperExperts, and of memory for the whole model. */
#ifndef HMOEC_LIBRARY_EXPLAIN_HYPER_H
#define HMOEC_LIBRARY_EXPLAIN_HYPER_H

#include "library/report.h"
#include "passes/passes.h"

/* Nothing, where there is no HyperExpert. memory_bytes: what the model was given, 0: each HyperExpert its budget. False: no memory of ours. */
bool hmoec_explain_hyper(const hmoec_report *report, const hmoec_hyper_report *hypers, int64_t memory_bytes,
                         const hmoec_routing *routing);

#endif
