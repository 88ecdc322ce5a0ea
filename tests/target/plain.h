/* A second target, for tests: layouts as plain as they can be, f32 alone, kernels as loops in C. That models planned for it give the right numbers
 * shows that no pass knows a target; it is where to begin when another one is written.
 *
 *   rows            [rows][columns rounded up to PLAIN_STEP], and one step more where products read them in place
 *   right operands  [columns rounded up to PLAIN_STEP][depth]: the transpose, a column's depth in one piece
 *   keys, values    [row][head][position][head_size] */
#ifndef HMOE_TESTS_TARGET_PLAIN_H
#define HMOE_TESTS_TARGET_PLAIN_H

#include "emit/unit.h"
#include "hmoe/abi.h"

enum { PLAIN_STEP = 4, PLAIN_MOST_KERNELS = 100 };

extern const hmoec_target plain_target;

/* The kernels of a unit as functions of the ABI; one unit at a time. False: more than PLAIN_MOST_KERNELS. */
bool plain_kernels(const hmoec_unit *unit, const hmoe_kernel_fn **out_functions);

/* One task of a kernel (plain_kernels.c). */
void plain_run(const hmoec_kernel *kernel, const hmoe_kernel_call *call, int64_t task);

#endif
