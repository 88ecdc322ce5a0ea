/* From PTX to what an object carries.
 *
 *   ptxas.c    NVIDIA's assembler as a process: where it is, machine code of one chip, and its report
 *   object.c   PTX and machine code of several chips, a thread each; the images of an object */
#ifndef HMOEC_TARGET_CUDA_OBJECT_H
#define HMOEC_TARGET_CUDA_OBJECT_H

#include "emit/unit.h"
#include "target/cuda/cuda.h"

/* ---- ptxas.c ---- */

enum { CUDA_PATH_BYTES = 4096 };
/* The first that there is: HMOE_PTXAS, CUDA_HOME/bin, PATH, /usr/local/cuda/bin, what tools/deps --cuda installed. out_path: "" where there is none, or where
 * HMOE_PTXAS is "none". False with an error: HMOE_PTXAS names no program. */
bool hmoec_cuda_ptxas_find(hmoec_diagnostics *diagnostics, char out_path[CUDA_PATH_BYTES]);

/* Machine code of a chip, and what its kernels use. */
typedef struct hmoec_cuda_code {
  char *bytes; /* malloc'd */
  size_t size;
  hmoec_kernel_use *kernels; /* malloc'd */
  size_t kernel_count;
} hmoec_cuda_code;

/* A report of ptxas -v. Anything that ptxas remarks on costs speed, and is an error that names the kernel: a stack, products that it makes wait for each
 * other, a warning. That a kernel spills registers is only kept. */
bool hmoec_cuda_report_read(const char *report, const char *chip, hmoec_diagnostics *diagnostics, hmoec_cuda_code *out_code);
/* ptxas gives a kernel few registers where more blocks find room on a multiprocessor so, even if it has to spill some. Such kernels get in *ptx, which is malloc'd
 * and may be another one after that, all the registers that there are for one block. False: none of them lacks that, or memory. */
bool hmoec_cuda_give_registers(char **ptx, const hmoec_cuda_code *spilled);
/* Fails, with an error, where ptxas does, where its report has an error, or where kernels spill whatever they are given. */
bool hmoec_cuda_assemble(const char *ptxas, const char *chip, char **ptx, hmoec_diagnostics *diagnostics,
                         hmoec_cuda_code *out_code);
void hmoec_cuda_code_deinit(hmoec_cuda_code *code);

/* ---- object.c ---- */

/* See hmoec_target.generate, of OBJECT, ASSEMBLY and CUBIN; the latter two are of one chip. */
bool hmoec_cuda_generate(MlirContext context, const hmoec_unit *unit, uint32_t versions, const char *processors, hmoec_output form,
                         hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size);

#endif
