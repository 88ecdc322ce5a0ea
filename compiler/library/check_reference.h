/* What compiled code is compared with, by hmoec_check and by tests: random inputs of a model, what the reference interpreter makes of them, and
 * how far a run is from that. */
#ifndef HMOEC_LIBRARY_CHECK_REFERENCE_H
#define HMOEC_LIBRARY_CHECK_REFERENCE_H

#include "interpreter/interpreter.h"
#include "library/session.h"

/* Inputs of the first entry, as its interface has them and as the interpreter takes them. */
typedef struct hmoec_check_inputs {
  hmoec_signature signature;
  int64_t sizes[HMOEC_MAX_SIZES];
  bool whole; /* a whole model: attention makes of a tie at one token a tie of its batch row */
  int64_t groups; /* what is left out as a whole: batch rows of a whole model, tokens of a layer */
  hmoec_tensor tensors[HMOEC_MAX_TENSORS]; /* in the order of the function's inputs */
  void *data[HMOEC_MAX_TENSORS]; /* in the order of the signature's */
} hmoec_check_inputs;

/* module: of the hmoe dialect, with the inputs of the signature. longest: of the batch rows of a whole model, or 0; more tokens are more rows, which
 * are three otherwise. Deinit also after a failure. */
bool hmoec_check_inputs_init(hmoec_check_inputs *in, MlirModule module, const hmoec_signature *signature, uint64_t seed,
                             int64_t tokens, int64_t longest, hmoec_diagnostics *diagnostics);
void hmoec_check_inputs_deinit(hmoec_check_inputs *in);

/* What a route of a reference selected: tensors of its results. */
typedef struct hmoec_check_route {
  int64_t top_k, capacity;
  int64_t attentions; /* before it */
  bool blurred; /* by what bf16 rounds: something before it is more than the f32 rows that decide */
  const hmoec_tensor *logits, *indices, *kept;
} hmoec_check_route;

typedef struct hmoec_check_reference {
  const hmoec_check_inputs *inputs; /* borrowed */
  int64_t tied_count;
  bool *tied; /* per group: rounding may pick other experts than the interpreter does, and either choice is right */
  hmoec_check_route *routes; /* in the order of the module */
  size_t route_count;
  hmoec_tensor outputs[HMOEC_MAX_TENSORS]; /* in the order of the signature; borrowed from `results` */
  hmoec_tensor *results; /* of the function, and what its routes read and give */
  size_t result_count;
} hmoec_check_reference;

/* module: the source of a model, or what it was folded to. rounds: what --dtype bf16 rounds, of a folded module; NULL: nothing.
 * tie_per_attention: how much of the largest logit every attention before a router adds to what is a tie. weights: a path.
 * Deinit also after a failure. */
bool hmoec_check_reference_init(hmoec_check_reference *r, const hmoec_check_inputs *inputs, MlirModule module, const char *weights,
                                hmoec_rounds rounds, double tie_per_attention, hmoec_diagnostics *diagnostics);
void hmoec_check_reference_deinit(hmoec_check_reference *r);
/* Leaves out of `exact` the groups of which rounding did select others, in `rounded`, and moved the logits by less than `most` of the largest one.
 * Returns how many these are, that were not ties before; -1: out of memory. tied: the groups of `exact` from now on; the caller's. */
int64_t hmoec_check_reference_flips(const hmoec_check_reference *exact, const hmoec_check_reference *rounded, double most,
                                    bool **out_tied);
/* Nothing is left to compare. */
bool hmoec_check_all_tied(const hmoec_check_reference *r);
bool hmoec_check_is_left_out(const hmoec_check_reference *r, size_t output, int64_t index);

/* Runs an opened model on the inputs: outputs[i] is malloc'd, of as many elements as the reference has, also after some failures. An error where
 * the signature says another shape than the interpreter gives. */
bool hmoec_check_run(hmoe_model *model, const hmoec_check_reference *r, float *outputs[HMOEC_MAX_TENSORS],
                     hmoec_diagnostics *diagnostics);

/* Of the values that are not left out. NaN equals NaN, and an infinity itself; these count as compared, and in nothing else. */
typedef struct hmoec_check_difference {
  int64_t compared;
  double largest; /* max |y| of the reference */
  double worst, relative; /* the largest error; that of max |y| */
  double distance; /* ||y - ref|| / ||ref||, 2-norms */
  double nearest; /* the least distance of a batch row, of all rows; -1 of an output without any */
} hmoec_check_difference;
hmoec_check_difference hmoec_check_difference_of(const hmoec_check_reference *r, size_t output, const float *found);

typedef struct hmoec_check_tolerance {
  double worst; /* of one value, relative to max |y| */
  double distance;
  double nearest;
} hmoec_check_tolerance;
bool hmoec_check_within(const hmoec_check_difference *d, const hmoec_check_tolerance *most);
/* How far code of a dtype may be from the interpreter that rounds as it does, and from the one in double precision. */
hmoec_check_tolerance hmoec_check_tolerance_rounded(hmoec_format dtype, bool whole);
hmoec_check_tolerance hmoec_check_tolerance_exact(hmoec_format dtype, bool whole);
/* What rounding makes a tie for routers behind attention, for hmoec_check_reference_init. */
double hmoec_check_tie(hmoec_format dtype);
/* How long batch rows are at most, so that some of them stay without; for hmoec_check_inputs_init. */
int64_t hmoec_check_longest(hmoec_format dtype);

#endif
