/* What a model says about generation, as its entry function has it: hmoe.generation = {beams = array<i64: 4>, end_token = array<i64: 1, 2>,
 * temperature = 5.000000e-01 : f64}. Settings are those of hmoe_plan_setting (include/hmoe/abi.h), with the names and meanings of
 * hmoe_generation; integers and tokens are arrays, numbers f64. What is not said has no attribute. */
#ifndef HMOEC_IR_GENERATION_H
#define HMOEC_IR_GENERATION_H

#include <mlir-c/IR.h>

#include "hmoe/abi.h"
#include "support/arena.h"
#include "support/diagnostics.h"

typedef enum hmoec_setting_kind {
  HMOEC_SETTING_TOKEN, /* at most one */
  HMOEC_SETTING_TOKENS, /* any number */
  HMOEC_SETTING_WORDS, /* the tokens of each word, then HMOEC_WORD_END */
  HMOEC_SETTING_INTEGER, /* one, of at least 0 */
  HMOEC_SETTING_FLAG, /* 0 or 1 */
  HMOEC_SETTING_STOPPING, /* 0: false, 1: true, 2: never */
  HMOEC_SETTING_NUMBER,
} hmoec_setting_kind;
#define HMOEC_WORD_END (-1)

typedef struct hmoec_setting_value {
  const int64_t *integers;
  size_t count;
  double number;
} hmoec_setting_value;

/* HMOE_SETTING_*; HMOE_SETTING_COUNT: there is none of that name. */
uint32_t hmoec_setting_find(const char *name);
const char *hmoec_setting_name(uint32_t setting);
hmoec_setting_kind hmoec_setting_kind_of(uint32_t setting);
/* What its value is, for messages: "a number above 0". */
const char *hmoec_setting_expected(uint32_t setting);
/* All names, for suggestions. */
const char *const *hmoec_setting_names(void);

/* False, reported, where the setting, which messages call `name`, cannot have this value. diagnostics NULL: nothing is reported. */
bool hmoec_setting_check(uint32_t setting, const char *name, const hmoec_setting_value *value, hmoec_diagnostics *diagnostics,
                         hmoec_location at);

/* All settings of a model; given: which it says. */
typedef struct hmoec_generation {
  bool given[HMOE_SETTING_COUNT];
  hmoec_setting_value values[HMOE_SETTING_COUNT];
} hmoec_generation;

/* False, reported, where the least is more than the most. */
bool hmoec_generation_check(const hmoec_generation *generation, hmoec_diagnostics *diagnostics, hmoec_location at);
/* The dictionary; null where nothing is said. */
MlirAttribute hmoec_generation_to_attribute(MlirContext context, const hmoec_generation *generation);
/* From a dictionary, or null. False, with the reason as "expected ..., found ...", where it is none that can be. Arrays go to the arena. */
bool hmoec_generation_from_attribute(MlirAttribute attribute, hmoec_arena *arena, hmoec_diagnostics *diagnostics, hmoec_location at,
                                     hmoec_generation *out_generation);

#endif
