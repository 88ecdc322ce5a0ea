/* Loaded before a program: what the program's own code (and cJSON for it) asks the C library for ends where a page that nobody may touch begins, is full of
 * 0xa5 at first, and is out of reach once it is given back. At the program's end, what nothing leads to any more, and files that are open still, are
 * named, and the status is 99. So tests see without a sanitizer what reads behind an end, reads what is gone, and loses what it took. Programs that the
 * program starts have none of it.
 *
 * HMOE_GUARDED_FAILS=N: the Nth time that the program asks it gets nothing. HMOE_GUARDED_MOST=BYTES: what others hold at the end, as LLVM does for the
 * program, counts as lost where it is more. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1 << 18, MOST_LIVE = 24000, MOST_BYTES = 1 << 24, FRESH = 0xa5, MOST_RANGES = 16, STATUS = 99 };

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

typedef struct range {
  uintptr_t begin, end;
} range;

/* A page of its first block is a block's first; the page behind the last is its guard. */
typedef struct block {
  unsigned char *data;
  size_t size;
  const void *caller;
  uint32_t page, pages; /* the guard not counted */
  bool live, found;
} block;

static unsigned char *memory; /* PAGES pages, or NULL */
static uint32_t next_page, block_count, live_count, block_of[PAGES];
static block blocks[PAGES / 2];
static range code[MOST_RANGES], variables[MOST_RANGES];
static size_t code_count, variable_count;
static const char *base; /* of the program: places are told as addr2line wants them */
static unsigned long failing, requests;
static bool open_before[256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void complain(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vdprintf(STDERR_FILENO, format, arguments);
  va_end(arguments);
}

static int note_object(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size, (void)context;
  bool program = info->dlpi_name[0] == '\0' && !base;
  if (!program && !strstr(info->dlpi_name, "cjson")) return 0;
  if (program) base = (const char *)(uintptr_t)(info->dlpi_addr ? info->dlpi_addr : 0);
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    range r = {info->dlpi_addr + part->p_vaddr, info->dlpi_addr + part->p_vaddr + part->p_memsz};
    if (part->p_type != PT_LOAD) continue;
    if (part->p_flags & PF_X && code_count < MOST_RANGES) code[code_count++] = r;
    if (part->p_flags & PF_W && variable_count < MOST_RANGES) variables[variable_count++] = r;
  }
  if (program && !base) base = (const char *)1;
  return 0;
}

/* Each descriptor that is open. */
static void visit_descriptors(void (*visit)(int fd)) {
  DIR *folder = opendir("/proc/self/fd");
  if (!folder) return;
  for (struct dirent *entry; (entry = readdir(folder));)
    if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder)) visit(atoi(entry->d_name));
  closedir(folder);
}

static void note_open(int fd) {
  if (fd < (int)sizeof open_before) open_before[fd] = true;
}

__attribute__((constructor)) static void begin(void) {
  unsetenv("LD_PRELOAD");
  const char *fails = getenv("HMOE_GUARDED_FAILS");
  if (fails) failing = strtoul(fails, NULL, 10);
  visit_descriptors(note_open);
  dl_iterate_phdr(note_object, NULL);
  void *all = mmap(NULL, (size_t)PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all != MAP_FAILED) memory = all;
}

static bool is_ours(const void *caller) {
  for (size_t i = 0; i < code_count; i++)
    if ((uintptr_t)caller >= code[i].begin && (uintptr_t)caller < code[i].end) return true;
  return false;
}

static block *block_at(const void *data) {
  const unsigned char *at = data;
  if (!memory || at < memory || at >= memory + (size_t)PAGES * PAGE) return NULL;
  return &blocks[block_of[(size_t)(at - memory) / PAGE]];
}

/* Blocks are as aligned as their size lets what is in them be; one byte more than numbers need is what there is where there are none. */
static size_t slack_of(size_t size) { return size % 4 == 1 && size > 1 ? size % 8 == 1 ? 7 : 3 : 0; }

/* NULL: no room for one that is guarded. */
static void *guarded(size_t size, const void *caller, int fill) {
  if (!memory || !is_ours(caller) || size > MOST_BYTES) return NULL;
  uint32_t pages = size ? (uint32_t)((size + PAGE - 1) / PAGE) : 0;
  unsigned char *data = NULL;
  pthread_mutex_lock(&lock);
  unsigned char *first = memory + (size_t)next_page * PAGE;
  if (live_count < MOST_LIVE && next_page + pages + 1 <= PAGES && block_count < PAGES / 2 &&
      (!pages || mprotect(first, (size_t)pages * PAGE, PROT_READ | PROT_WRITE) == 0)) {
    data = first + (size_t)pages * PAGE - size - slack_of(size);
    if (pages) memset(first, FRESH, (size_t)pages * PAGE);
    memset(data, fill, size);
    blocks[block_count] = (block){.data = data, .size = size, .caller = caller, .page = next_page, .pages = pages, .live = true};
    for (uint32_t i = 0; i <= pages; i++) block_of[next_page + i] = block_count;
    next_page += pages + 1;
    block_count++;
    live_count++;
  }
  pthread_mutex_unlock(&lock);
  return data;
}

static void give_back(block *b, const void *data) {
  pthread_mutex_lock(&lock);
  if (!b->live || b->data != data) {
    complain("guarded_memory: %p is given back, which is no block in use\n", data);
    abort();
  }
  unsigned char *first = memory + (size_t)b->page * PAGE;
  for (unsigned char *at = first; at < first + (size_t)b->pages * PAGE; at++) {
    if (at == b->data) at += b->size;
    if (at >= first + (size_t)b->pages * PAGE || *at == FRESH) continue;
    complain("guarded_memory: something was written beside the block of %#tx\n", (const char *)b->caller - base);
    abort();
  }
  b->live = false;
  live_count--;
  if (b->pages) {
    madvise(first, (size_t)b->pages * PAGE, MADV_DONTNEED);
    mprotect(first, (size_t)b->pages * PAGE, PROT_NONE);
  }
  pthread_mutex_unlock(&lock);
}

/* ---- what programs call ---- */

#define CALLER __builtin_return_address(0)
#define REFUSED (failing && is_refused(CALLER))

static bool is_refused(const void *caller) {
  if (!is_ours(caller)) return false;
  pthread_mutex_lock(&lock);
  bool now = ++requests == failing;
  pthread_mutex_unlock(&lock);
  if (now) errno = ENOMEM;
  return now;
}

void *malloc(size_t size) {
  if (REFUSED) return NULL;
  void *data = guarded(size, CALLER, FRESH);
  return data ? data : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  if (REFUSED) return NULL;
  void *data = __builtin_mul_overflow(count, size, &bytes) ? NULL : guarded(bytes, CALLER, 0);
  return data ? data : __libc_calloc(count, size);
}

void free(void *data) {
  block *b = data ? block_at(data) : NULL;
  if (b) give_back(b, data);
  else __libc_free(data);
}

void *realloc(void *data, size_t size) {
  if (REFUSED) return NULL;
  block *b = data ? block_at(data) : NULL;
  if (data && !b) return __libc_realloc(data, size);
  void *larger = guarded(size, CALLER, FRESH);
  if (!larger) larger = __libc_malloc(size);
  if (!larger || !b) return larger;
  memcpy(larger, data, b->size < size ? b->size : size);
  give_back(b, data);
  return larger;
}

static char *copy_of(const char *text, size_t length, const void *caller) {
  char *copy = guarded(length + 1, caller, 0);
  if (!copy) copy = __libc_malloc(length + 1);
  if (!copy) return NULL;
  memcpy(copy, text, length);
  copy[length] = '\0';
  return copy;
}

char *strdup(const char *text) { return REFUSED ? NULL : copy_of(text, strlen(text), CALLER); }
char *strndup(const char *text, size_t most) { return REFUSED ? NULL : copy_of(text, strnlen(text, most), CALLER); }

int asprintf(char **out_text, const char *format, ...) {
  char *text;
  va_list arguments;
  if (REFUSED) return -1;
  va_start(arguments, format);
  int length = vasprintf(&text, format, arguments);
  va_end(arguments);
  if (length < 0) return length;
  *out_text = copy_of(text, (size_t)length, CALLER);
  free(text);
  return *out_text ? length : -1;
}

/* ---- the end ---- */

/* Marks what variables and other blocks that are found lead to. */
static bool mark(const void *from, const void *end) {
  bool more = false;
  for (const char *at = from; at + sizeof(void *) <= (const char *)end;
       at++) { /* a block's pointers are aligned from its own begin */
    const void *value;
    memcpy(&value, at, sizeof value);
    block *b = block_at(value);
    if (!b || !b->live || b->found || (const unsigned char *)value < b->data) continue;
    b->found = more = true;
  }
  return more;
}

static int wrong;

static void report_open(int fd) {
  char link[64], path[256] = "";
  if (fd < (int)sizeof open_before && open_before[fd]) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, path, sizeof path - 1) < 0) return;
  complain("guarded_memory: %d is open still: %s\n", fd, path);
  wrong++;
}

__attribute__((destructor)) static void finish(void) {
  fflush(NULL);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (open_before[fd] && fcntl(fd, F_GETFD) < 0) {
      complain("guarded_memory: %d is closed\n", fd);
      wrong++;
    }
  visit_descriptors(report_open);
  for (size_t i = 0; i < variable_count; i++) mark((const void *)variables[i].begin, (const void *)variables[i].end);
  for (bool more = true; more;) {
    more = false;
    for (uint32_t i = 0; i < block_count; i++)
      if (blocks[i].live && blocks[i].found) more |= mark(blocks[i].data, blocks[i].data + blocks[i].size);
  }
  for (uint32_t i = 0; i < block_count; i++) {
    if (!blocks[i].live || blocks[i].found) continue;
    if (wrong++ < 20)
      complain("guarded_memory: %zu bytes of %#tx are lost\n", blocks[i].size, (const char *)blocks[i].caller - base);
  }
  const char *most = getenv("HMOE_GUARDED_MOST");
  if (most && mallinfo2().uordblks > strtoul(most, NULL, 10)) {
    complain("guarded_memory: others hold %zu bytes\n", mallinfo2().uordblks);
    wrong++;
  }
  if (requests < failing) complain("guarded_memory: it asked %lu times\n", requests);
  if (wrong) _exit(STATUS);
}
