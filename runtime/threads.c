/* How many threads are worth using: the CPUs of the affinity mask, cut to the cgroup's quota (rounded up), where a container often
 * grants two CPUs' time on a machine that shows sixty-four. */
#include "runtime_internal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, TEXT_BYTES = 256, THREADS_MAX = 4096 };

static bool read_text(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "re");
  if (!file) return false;
  size_t length = fread(text, 1, size - 1, file);
  fclose(file);
  text[length] = 0;
  return true;
}

static size_t cpus_of(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return 0;
  return (size_t)((quota - 1) / period + 1);
}

/* The quota written in one directory; 0: none. */
static size_t quota_of_directory(const char *directory, bool unified) {
  char path[PATH_BYTES], text[TEXT_BYTES];
  long long quota = 0, period = 0;
  if (unified) {
    if (snprintf(path, sizeof path, "%s/cpu.max", directory) >= (int)sizeof path || !read_text(path, text, sizeof text)) return 0;
    if (sscanf(text, "%lld %lld", &quota, &period) != 2) return 0; /* "max 100000" */
    return cpus_of(quota, period);
  }
  if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory) >= (int)sizeof path || !read_text(path, text, sizeof text))
    return 0;
  if (sscanf(text, "%lld", &quota) != 1) return 0;
  if (snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory) >= (int)sizeof path || !read_text(path, text, sizeof text))
    return 0;
  if (sscanf(text, "%lld", &period) != 1) return 0;
  return cpus_of(quota, period);
}

/* The smallest quota from a cgroup up to the root of its hierarchy. */
static size_t quota_of_group(const char *root, const char *group, size_t group_length, bool unified) {
  char path[PATH_BYTES];
  size_t root_length = strlen(root);
  if (root_length + group_length >= sizeof path) return 0;
  memcpy(path, root, root_length);
  memcpy(path + root_length, group, group_length);
  size_t length = root_length + group_length, least = 0;
  for (;;) {
    path[length] = 0;
    size_t quota = quota_of_directory(path, unified);
    if (quota && (!least || quota < least)) least = quota;
    if (length <= root_length) return least;
    do length--;
    while (length > root_length && path[length] != '/');
  }
}

/* Is "cpu" one of the comma-separated controllers? */
static bool has_cpu(const char *controllers, size_t length) {
  for (size_t i = 0; i < length;) {
    size_t item = 0;
    while (i + item < length && controllers[i + item] != ',') item++;
    if (item == 3 && !strncmp(controllers + i, "cpu", 3)) return true;
    i += item + 1;
  }
  return false;
}

size_t hmoe_threads_quota(const char *membership, const char *root) {
  size_t least = 0;
  /* Lines are "number:controllers:path"; the unified hierarchy has no controllers. */
  for (const char *line = membership; *line;) {
    size_t length = strcspn(line, "\n");
    const char *controllers = memchr(line, ':', length);
    const char *group = controllers ? memchr(controllers + 1, ':', length - (size_t)(controllers + 1 - line)) : NULL;
    if (group) {
      controllers++;
      size_t controllers_length = (size_t)(group - controllers);
      group++;
      size_t group_length = length - (size_t)(group - line);
      bool unified = controllers_length == 0;
      char v1_root[PATH_BYTES];
      size_t quota = 0;
      if (unified) {
        quota = quota_of_group(root, group, group_length, true);
      } else if (has_cpu(controllers, controllers_length) &&
                 snprintf(v1_root, sizeof v1_root, "%s/cpu", root) < (int)sizeof v1_root) {
        quota = quota_of_group(v1_root, group, group_length, false);
      }
      if (quota && (!least || quota < least)) least = quota;
    }
    line += length + (line[length] == '\n');
  }
  return least;
}

static size_t usable_cpus(void) {
  size_t cpus = 1;
  for (size_t bits = 1024; bits <= 65536; bits *= 2) { /* the kernel refuses masks smaller than its own */
    cpu_set_t sets[65536 / CPU_SETSIZE];
    size_t bytes = CPU_ALLOC_SIZE(bits);
    if (sched_getaffinity(0, bytes, sets) == 0) {
      cpus = (size_t)CPU_COUNT_S(bytes, sets);
      break;
    }
    if (errno != EINVAL) break;
  }
  char membership[PATH_BYTES];
  size_t quota = 0;
  if (read_text("/proc/self/cgroup", membership, sizeof membership)) quota = hmoe_threads_quota(membership, "/sys/fs/cgroup");
  if (quota && quota < cpus) cpus = quota;
  return cpus ? cpus : 1;
}

hmoe_status hmoe_threads_choose(uint32_t requested, size_t *out_threads) {
  *out_threads = requested;
  if (requested) return HMOE_OK;
  const char *text = getenv("HMOE_NUM_THREADS");
  if (!text || !*text) {
    *out_threads = hmoe_min(usable_cpus(), THREADS_MAX);
    return HMOE_OK;
  }
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || *end || value < 1 || value > THREADS_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "HMOE_NUM_THREADS: expected a number from 1 to %d, found \"%s\"", THREADS_MAX, text);
  *out_threads = (size_t)value;
  return HMOE_OK;
}
