/* What the two halves of a plan's validation share: plan.c and plan_steps.c. */
#ifndef HMOE_PLAN_CHECK_H
#define HMOE_PLAN_CHECK_H

#include "runtime_internal.h"

/* The plan under check, and the place in it. */
typedef struct hmoe_plan_checker {
  const hmoe_model_object *object;
  const hmoe_plan *plan;
  const hmoe_plan_entry *entry;
  uint32_t entry_index, step_index;
  uint32_t input_dims;
} hmoe_plan_checker;

#define HMOE_BAD_PLAN(...) hmoe_fail(HMOE_INCOMPATIBLE, "plan: " __VA_ARGS__)

/* Inside the plan and aligned. */
HMOE_MUST_USE hmoe_status hmoe_plan_check_span(const hmoe_plan_checker *check, hmoe_plan_span span, size_t element_bytes,
                                               const char *what);
/* What is wrong with the step at hand. */
__attribute__((format(printf, 2, 3))) HMOE_MUST_USE hmoe_status hmoe_step_bad(const hmoe_plan_checker *check, const char *format,
                                                                              ...);
/* The entry's steps; its dimensions, tensors and buffers are right. */
HMOE_MUST_USE hmoe_status hmoe_plan_check_steps(hmoe_plan_checker *check, hmoe_plan_limits *limits);

#endif
