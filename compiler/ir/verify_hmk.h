/* Checks what IRDL cannot say about hmk modules: roles, sizes and loops. Reports all errors. */
#ifndef HMOEC_IR_VERIFY_HMK_H
#define HMOEC_IR_VERIFY_HMK_H

#include "ir/ops.h"

bool hmoec_verify_hmk(MlirModule module, hmoec_diagnostics *diagnostics);

#endif
