#include "library/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "plain_text.h"

void hmoec_report_printf(const hmoec_report *report, const char *format, ...) {
  char small[512], *text = small;
  va_list arguments, again;
  if (!report->print) return;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = hmoe_plain_vformat(small, sizeof small, format, arguments);
  if (length >= (int)sizeof small) {
    text = malloc((size_t)length + 1);
    if (text) {
      hmoe_plain_vformat(text, (size_t)length + 1, format, again);
    } else {
      text = small;
      length = (int)sizeof small - 1;
    }
  }
  va_end(again);
  va_end(arguments);
  if (length > 0) report->print(report->context, text, (size_t)length);
  if (text != small) free(text);
}
