/* Ways to break PTX as LLVM writes it, an instruction a line: what a mistake in a code generator could have left out, or taken for something else. A rule says
 * where it applies; a mutant is the text with one line that is another one. */
#ifndef PTX_MUTATIONS_H
#define PTX_MUTATIONS_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum ptx_change {
  PTX_DROP, /* the instruction is gone */
  PTX_ALWAYS, /* what stands under a guard is done whatever it says */
  PTX_NEVER, /* or never */
  PTX_LESS, /* a wait leaves one group more on the way */
  PTX_LATER, /* behind the next access of global memory */
  PTX_FURTHER, /* the address is 16 bytes further on */
  PTX_OPERAND /* an operand is changed by the rule's instruction */
} ptx_change;

typedef struct ptx_rule {
  const char *name;
  ptx_change change;
  int operand; /* PTX_OPERAND: its number, from 0; from the end: negative */
  const char *by; /* q is to be made of operand %s */
  const char *opcodes[16]; /* how they begin; "@": whatever has a guard */
} ptx_rule;

static const ptx_rule ptx_rules[] = {
    {"dropped",
     PTX_DROP,
     0,
     NULL,
     {"bar.", "barrier.", "fence.", "cp.async.wait", "cp.async.commit", "cp.async.mbarrier", "wgmma.fence", "wgmma.commit",
      "wgmma.wait", "mbarrier.arrive", "cp.async.bulk", "griddepcontrol.wait"}},
    {"behind what it is to go before", PTX_LATER, 0, NULL, {"griddepcontrol.wait"}},
    {"guard: always", PTX_ALWAYS, 0, NULL, {"@"}},
    {"guard: never", PTX_NEVER, 0, NULL, {"@"}},
    {"one group less", PTX_LESS, 0, NULL, {"cp.async.wait_group", "wgmma.wait_group"}},
    {"the other parity", PTX_OPERAND, 2, "xor.b32 q_, %s, 1", {"mbarrier.try_wait.parity"}},
    {"one arrival more", PTX_OPERAND, 1, "add.s32 q_, %s, 1", {"mbarrier.init"}},
    {"one arrival less", PTX_OPERAND, 1, "sub.s32 q_, %s, 1", {"mbarrier.init"}},
    {"16 bytes more", PTX_OPERAND, 2, "add.s32 q_, %s, 16", {"cp.async.bulk.shared"}},
    {"16 bytes more", PTX_OPERAND, 2, "add.s32 q_, %s, 16", {"mbarrier.arrive.expect_tx"}},
    {"descriptor: 32 bytes further", PTX_OPERAND, -7, "add.s64 q_, %s, 2", {"wgmma.mma_async"}},
    {"descriptor: 32 bytes further", PTX_OPERAND, -6, "add.s64 q_, %s, 2", {"wgmma.mma_async"}},
    {"descriptor: another stride", PTX_OPERAND, -6, "add.s64 q_, %s, 0x100000000", {"wgmma.mma_async"}},
    {"descriptor: another swizzle", PTX_OPERAND, -7, "xor.b64 q_, %s, 0x4000000000000000", {"wgmma.mma_async"}},
    {"16 bytes further",
     PTX_FURTHER,
     0,
     NULL,
     {"ld.shared", "st.shared", "ld.global", "st.global", "cp.async.ca", "cp.async.cg", "ldmatrix", "atom."}},
};
enum { PTX_RULES = sizeof ptx_rules / sizeof *ptx_rules };

/* A line of the text: where its guard (or opcode), its opcode, its operands and its semicolon are; and the two instructions before it, as they are described, and for a guard the one
 * that made it. */
typedef struct ptx_line {
  const char *begin, *opcode, *operands, *end;
  char before[2][72], made[72];
} ptx_line;

/* False: the line that begins at `at` is no instruction. */
static inline bool ptx_line_read(const char *at, ptx_line *out) {
  const char *stop = at + strcspn(at, "\n");
  while (at < stop && isspace((unsigned char)*at)) at++;
  out->begin = at;
  if (*at == '@') {
    at += strcspn(at, " \t\n");
    while (at < stop && isspace((unsigned char)*at)) at++;
  }
  out->opcode = at;
  out->operands = at + strcspn(at, " \t;\n");
  out->end = memchr(at, ';', (size_t)(stop - at));
  return islower((unsigned char)*at) && out->end && out->operands <= out->end;
}

/* LLVM divides numbers of 64 bits by 32 where both fit: which way is taken changes nothing. */
static inline bool ptx_is_division(const ptx_line *line) {
  return strstr(line->before[0], "-4294967296") && strstr(line->before[1], "setp.ne.b64");
}

static inline bool ptx_rule_applies(const ptx_rule *rule, const ptx_line *line) {
  for (int i = 0; i < 16 && rule->opcodes[i]; i++) {
    const char *begins = rule->opcodes[i], *at = *begins == '@' ? line->begin : line->opcode;
    if (strncmp(at, begins, strlen(begins)) == 0) return *begins != '@' || !ptx_is_division(line);
  }
  return false;
}

/* The instruction without what changes when anything before it does: numbers of registers and labels. Of a guard, what made it and the instruction before, too. */
static inline void ptx_describe(const ptx_line *line, bool is_guard, char *out, size_t size) {
  size_t used = is_guard ? (size_t)snprintf(out, size, "%s; ", line->made) : 0;
  if (is_guard && strcmp(line->made, line->before[1]) != 0)
    used += (size_t)snprintf(out + used, size - used, "%s; ", line->before[1]);
  for (const char *c = line->begin; c < line->end && used + 1 < size;) {
    bool numbered = *c == '%' || *c == '$';
    out[used++] = *c == '\t' ? ' ' : *c;
    for (c++; numbered && isalpha((unsigned char)*c) && used + 1 < size; c++) out[used++] = *c;
    while (numbered && (isalnum((unsigned char)*c) || *c == '_')) c++;
  }
  out[used] = '\0';
}

/* What made the predicate of a guarded line: the last before it, from `from` on, whose first operand it is. */
static inline void ptx_find_guard(const char *from, ptx_line *line) {
  const char *name = line->begin + 1 + (line->begin[1] == '!');
  size_t size = strcspn(name, " \t");
  line->made[0] = '\0';
  for (const char *at = line->begin; at > from && !line->made[0];) {
    for (at--; at > from && at[-1] != '\n';) at--;
    ptx_line other = {.made = ""};
    const char *operand = ptx_line_read(at, &other) ? other.operands + strspn(other.operands, " \t") : "";
    if (strncmp(operand, name, size) == 0 && (operand[size] == ',' || operand[size] == '|'))
      ptx_describe(&other, false, line->made, sizeof line->made);
  }
}

/* Lines of a part of the text that a rule applies to: at most `room`. */
static inline size_t ptx_lines_of(const ptx_rule *rule, const char *from, const char *to, ptx_line *out, size_t room) {
  ptx_line line = {.before = {"", ""}};
  size_t count = 0;
  for (const char *at = from; at < to && count < room; at = strchr(at, '\n') + 1) {
    if (!ptx_line_read(at, &line)) continue;
    if (ptx_rule_applies(rule, &line)) {
      if (*line.begin == '@') ptx_find_guard(from, &line);
      out[count++] = line;
    }
    memcpy(line.before[0], line.before[1], sizeof line.before[0]);
    ptx_describe(&line, false, line.before[1], sizeof line.before[1]);
  }
  return count;
}

/* Operand `number`, from 0, or from the end: -1 is the last. */
static inline bool ptx_operand_at(const ptx_line *line, int number, const char **out_begin, const char **out_end) {
  const char *begins[160], *ends[160], *begin = line->operands;
  int count = 0, depth = 0;
  for (const char *c = begin; c <= line->end && count < 160; c++) {
    depth += c < line->end && (*c == '[' || *c == '{');
    depth -= c < line->end && (*c == ']' || *c == '}');
    if (c < line->end && (*c != ',' || depth)) continue;
    while (begin < c && isspace((unsigned char)*begin)) begin++;
    begins[count] = begin;
    ends[count++] = c;
    begin = c + 1;
  }
  if (number < 0) number += count;
  if (number < 0 || number >= count) return false;
  *out_begin = begins[number];
  *out_end = ends[number];
  return true;
}

/* The whole text with the line changed; malloc'd. NULL: the rule finds nothing to change in it. */
static inline char *ptx_mutant(const ptx_rule *rule, const char *text, const ptx_line *line) {
  const char *from = line->begin, *to = line->end + 1, *begin, *end, *moved = NULL;
  char change[160], with[4096] = "";
  switch (rule->change) {
  case PTX_DROP: break;
  case PTX_ALWAYS: to = line->opcode; break;
  case PTX_NEVER: break;
  case PTX_LATER: {
    ptx_line other;
    for (begin = strchr(to, '\n'); begin; begin = strchr(begin + 1, '\n'))
      if (ptx_line_read(begin + 1, &other) && strstr(other.opcode, ".global") && strstr(other.opcode, ".global") < other.operands)
        break;
    if (!begin) return NULL;
    moved = other.end + 1;
    break;
  }
  case PTX_LESS:
    if (!ptx_operand_at(line, 0, &begin, &end)) return NULL;
    from = begin, to = end;
    snprintf(with, sizeof with, "%ld", strtol(begin, NULL, 0) + 1);
    break;
  case PTX_FURTHER:
    from = memchr(line->operands, '[', (size_t)(line->end - line->operands));
    to = from ? memchr(from, ']', (size_t)(line->end - from)) : NULL;
    if (!to) return NULL;
    from = memchr(from, '+', (size_t)(to - from));
    snprintf(with, sizeof with, "+%ld", (from ? strtol(from + 1, NULL, 0) : 0) + 16);
    if (!from) from = to;
    break;
  case PTX_OPERAND: {
    if (!ptx_operand_at(line, rule->operand, &begin, &end)) return NULL;
    char operand[32];
    snprintf(operand, sizeof operand, "%.*s", (int)(end - begin), begin);
    char *at = change;
    for (const char *c = rule->by; *c && at + sizeof operand < change + sizeof change; c++)
      if (c[0] == '%' && c[1] == 's') at += snprintf(at, sizeof operand, "%s", operand), c++;
      else *at++ = *c;
    *at = '\0';
    const char *width = strstr(rule->by, "64 ") ? "b64" : "b32";
    snprintf(with, sizeof with, "{ .reg .%s q_; %s; %.*sq_%.*s; }", width, change, (int)(begin - line->begin), line->begin,
             (int)(line->end - end), end);
    break;
  }
  }
  size_t size = strlen(text) + sizeof with + 160;
  char *out = malloc(size);
  if (!out) abort();
  if (moved)
    snprintf(out, size, "%.*s%.*s %.*s%s", (int)(from - text), text, (int)(moved - to), to, (int)(line->end + 1 - from), from,
             moved);
  else snprintf(out, size, "%.*s%s%s", (int)(from - text), text, with, to);
  return out;
}

#endif
