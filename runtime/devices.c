/* The devices there are. */
#include "device.h"

#include <string.h>

/* "cuda", or "cuda:" and a number. */
static bool is_named(const hmoe_device *device, const char *name) {
  size_t length = strlen(device->name);
  if (strncmp(name, device->name, length) != 0) return false;
  if (!name[length]) return true;
  const char *number = name + length + 1;
  return device->numbered && name[length] == ':' && *number && strlen(number) <= 4 &&
         strspn(number, "0123456789") == strlen(number);
}

const hmoe_device *hmoe_device_find(const char *name) {
  static const hmoe_device *const devices[] = {&hmoe_cpu_device, &hmoe_cuda_device};
  if (!name) return devices[0];
  for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
    if (is_named(devices[i], name)) return devices[i];
  return NULL;
}

bool hmoe_device_chip(const char *name, int number, hmoe_chip *out_chip) {
  const hmoe_device *device = hmoe_device_find(name);
  return device && device->chip && device->chip(number, out_chip);
}
