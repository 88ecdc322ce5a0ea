/* Between the compiler and the program that reads C files for it, hmoec-c-reader: clang is no library to give hostile text to, and where it ends
 * the process, or never ends, that process is its own. The program is started anew for every function, with the request as its arguments:
 *
 *   hmoec-c-reader FILE NAME WHAT ARITIES AT_FILE AT_LINE AT_COLUMN [-IDIR | -DNAME]...      (AT_FILE "": nowhere)
 *
 * and answers on standard output with records, a head and two texts each: its messages in order, and at last DONE, whose text is the function as
 * MLIR with its places, or empty where the messages say why there is none. An answer without DONE is none. */
#ifndef HMOEC_FRONTEND_C_PROCESS_H
#define HMOEC_FRONTEND_C_PROCESS_H

#include <stdint.h>

#define HMOEC_C_READER "hmoec-c-reader"

enum { HMOEC_C_FIXED_ARGUMENTS = 7 };

enum { HMOEC_C_RECORD_DONE = 100 }; /* other kinds: hmoec_severity */

typedef struct hmoec_c_record {
  uint32_t kind, line, column, file_bytes, text_bytes; /* the file's name and the text follow */
} hmoec_c_record;

#endif
