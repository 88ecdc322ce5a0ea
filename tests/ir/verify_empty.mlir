// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s

// CHECK: error: the model has no function
module {
}
