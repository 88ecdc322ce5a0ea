/* Statuses and the message of the last failure. The message lives in a fixed thread-local buffer: failing never allocates. */
#include "plain_text.h"
#include "runtime_internal.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_BYTES = HMOE_MESSAGE_BYTES };

static _Thread_local char message[MESSAGE_BYTES];

const char *hmoe_status_string(hmoe_status status) {
  static const char *const names[] = {
      [HMOE_OK] = "ok",
      [HMOE_INVALID_ARGUMENT] = "invalid argument",
      [HMOE_OUT_OF_MEMORY] = "out of memory",
      [HMOE_IO_ERROR] = "input/output error",
      [HMOE_INVALID_WEIGHTS] = "invalid weights",
      [HMOE_INCOMPATIBLE] = "incompatible",
      [HMOE_UNSUPPORTED] = "unsupported",
      [HMOE_INTERNAL] = "internal error",
      [HMOE_DEVICE_FAILED] = "device failed",
  };
  return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

const char *hmoe_last_error(void) { return message; }

const char *hmoe_version(void) { return HMOE_VERSION; }

hmoe_status hmoe_fail(hmoe_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(message, sizeof message, format, arguments);
  va_end(arguments);
  return status;
}
