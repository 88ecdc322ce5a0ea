/* Text for people, made by a report of the library and handed to its caller in pieces. */
#ifndef HMOEC_LIBRARY_REPORT_H
#define HMOEC_LIBRARY_REPORT_H

#include <stddef.h>

typedef struct hmoec_report {
  void (*print)(void *context, const char *text, size_t bytes); /* NULL: nowhere */
  void *context;
} hmoec_report;

/* One piece. Where memory is short, a long one is cut. */
void hmoec_report_printf(const hmoec_report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
