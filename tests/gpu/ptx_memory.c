/* Memory, and who may touch it when.
 *
 * Global: allocations with a gap behind each; a byte is initialised or not; in a launch each unit has the block that wrote it and the block, or blocks,
 * that read it; within the block the last writer, and the last readers of two warps, with their clocks: of more warps, those before are forgotten.
 * Units are words, until something smaller than a word is touched in the allocation.
 *
 * Shared: a cell for each word of a block (four for a word whose bytes are touched one by one) with its last writer, the writer's clock, and what is in
 * flight; beside it the clock at which each warp last read the word, and the last wgmma of each warpgroup that reads it. A write that is allowed comes
 * after all reads before it, so it forgets them: who comes after the write comes after them, too. */
#include "ptx_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { GAP = 4096, MANY_BLOCKS = 0xffffff, UNWRITTEN = 0xcd };

/* ---- the device ---- */

ptx_device *ptx_device_create(uint64_t budget_bytes) {
  ptx_device *device = calloc(1, sizeof *device);
  if (!device) return NULL;
  device->next = UINT64_C(1) << 36;
  device->budget_bytes = budget_bytes ? budget_bytes : UINT64_MAX;
  return device;
}

static void forget_data(ptx_allocation *allocation) {
  free(allocation->data);
  free(allocation->written);
  free(allocation->writers);
  free(allocation->readers);
  allocation->data = allocation->written = NULL;
  allocation->writers = NULL;
  allocation->readers = NULL;
}

void ptx_device_destroy(ptx_device *device) {
  if (!device) return;
  for (size_t i = 0; i < device->count; i++) {
    forget_data(device->list[i]);
    free(device->list[i]);
  }
  free(device->list);
  free(device);
}

uint64_t ptx_device_allocate(ptx_device *device, uint64_t bytes, uint64_t alignment, const char *name) {
  if (!bytes || bytes > device->budget_bytes - device->used_bytes || bytes > (UINT64_C(1) << 40)) return 0;
  if (!alignment || (alignment & (alignment - 1))) return 0;
  if (device->count == device->room) {
    size_t room = device->room ? device->room * 2 : 64;
    ptx_allocation **list = realloc(device->list, room * sizeof(ptx_allocation *));
    if (!list) return 0;
    device->list = list;
    device->room = room;
  }
  ptx_allocation *allocation = calloc(1, sizeof *allocation);
  if (!allocation) return 0;
  allocation->base = (device->next + alignment - 1) / alignment * alignment;
  allocation->bytes = bytes;
  allocation->shift = 2;
  snprintf(allocation->name, sizeof allocation->name, "%s", name);
  allocation->data = calloc(bytes + 16, 1);
  allocation->written = calloc(bytes + 16, 1);
  if (!allocation->data || !allocation->written) {
    forget_data(allocation);
    free(allocation);
    return 0;
  }
  device->next = allocation->base + bytes + GAP;
  device->used_bytes += bytes;
  device->list[device->count++] = allocation;
  return allocation->base;
}

/* The last one that begins at or before the address. */
static ptx_allocation *below(const ptx_device *device, uint64_t address) {
  size_t low = 0, high = device->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (device->list[middle]->base <= address) low = middle + 1;
    else high = middle;
  }
  return low ? device->list[low - 1] : NULL;
}

ptx_allocation *ptx_device_at(const ptx_device *device, uint64_t address, uint64_t bytes) {
  ptx_allocation *found = below(device, address);
  if (!found || found->freed || address - found->base >= found->bytes || bytes > found->bytes - (address - found->base))
    return NULL;
  return found;
}

bool ptx_device_free(ptx_device *device, uint64_t address) {
  ptx_allocation *found = below(device, address);
  if (!found || found->freed || found->base != address) return false;
  device->used_bytes -= found->bytes;
  found->freed = true;
  forget_data(found);
  return true;
}

uint64_t ptx_device_used_bytes(const ptx_device *device) { return device->used_bytes; }

bool ptx_device_find(const ptx_device *device, uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
  const ptx_allocation *found = ptx_device_at(device, address, 1);
  if (!found) return false;
  *out_base = found->base;
  *out_bytes = found->bytes;
  return true;
}

bool ptx_device_write(ptx_device *device, uint64_t address, const void *from, uint64_t bytes) {
  ptx_allocation *found = ptx_device_at(device, address, bytes);
  if (!found) return false;
  memcpy(found->data + (address - found->base), from, bytes);
  memset(found->written + (address - found->base), 1, bytes);
  return true;
}

void ptx_device_settle(ptx_device *device, uint64_t address) {
  ptx_allocation *found = ptx_device_at(device, address, 1);
  if (found) found->settled = true;
}

bool ptx_device_copy(ptx_device *device, uint64_t to, uint64_t from, uint64_t bytes) {
  ptx_allocation *target = ptx_device_at(device, to, bytes), *source = ptx_device_at(device, from, bytes);
  if (!target || !source) return false;
  memmove(target->data + (to - target->base), source->data + (from - source->base), bytes);
  memmove(target->written + (to - target->base), source->written + (from - source->base), bytes);
  return true;
}

bool ptx_device_fill(ptx_device *device, uint64_t address, uint32_t pattern, unsigned pattern_bytes, uint64_t bytes) {
  ptx_allocation *found = ptx_device_at(device, address, bytes);
  if (!found || pattern_bytes > 4 || !pattern_bytes || bytes % pattern_bytes) return false;
  for (uint64_t i = 0; i < bytes; i += pattern_bytes) memcpy(found->data + (address - found->base) + i, &pattern, pattern_bytes);
  memset(found->written + (address - found->base), 1, bytes);
  return true;
}

bool ptx_device_read(ptx_device *device, uint64_t address, void *to, uint64_t bytes, ptx_report *out_report) {
  const ptx_allocation *found = ptx_device_at(device, address, bytes);
  if (out_report) *out_report = (ptx_report){.kind = PTX_OK};
  if (!found) {
    if (out_report) {
      out_report->kind = PTX_BOUNDS;
      snprintf(out_report->text, sizeof out_report->text, "%llu bytes at %#llx are in no allocation", (unsigned long long)bytes,
               (unsigned long long)address);
    }
    return false;
  }
  uint64_t at = address - found->base, missing = 0, first = 0;
  memcpy(to, found->data + at, bytes);
  for (uint64_t i = 0; i < bytes; i++)
    if (!found->written[at + i]) {
      if (!missing++) first = at + i;
      ((uint8_t *)to)[i] = UNWRITTEN;
    }
  if (missing && out_report) {
    out_report->kind = PTX_UNINITIALISED;
    snprintf(out_report->text, sizeof out_report->text, "%s: %llu bytes were never written, the first is %llu", found->name,
             (unsigned long long)missing, (unsigned long long)first);
  }
  return true;
}

/* ---- global memory in a launch ---- */

ptx_allocation *ptx_global_range(ptx_warp *warp, uint64_t address, uint64_t bytes) {
  ptx_device *device = warp->state->module->device;
  if (device->latest < device->count) {
    ptx_allocation *again = device->list[device->latest];
    if (!again->freed && address >= again->base && address - again->base < again->bytes &&
        bytes <= again->bytes - (address - again->base))
      return again;
  }
  size_t low = 0, high = device->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (device->list[middle]->base <= address) low = middle + 1;
    else high = middle;
  }
  ptx_allocation *found = low ? device->list[low - 1] : NULL;
  if (!found)
    ptx_fail(warp, PTX_BOUNDS, "global address %#llx (%llu bytes) is in no allocation", (unsigned long long)address,
             (unsigned long long)bytes);
  uint64_t at = address - found->base;
  if (found->freed && at < found->bytes)
    ptx_fail(warp, PTX_BOUNDS, "%s: byte %llu of memory that was freed", found->name, (unsigned long long)at);
  if (at >= found->bytes || bytes > found->bytes - at)
    ptx_fail(warp, PTX_BOUNDS, "global address %#llx (%llu bytes) is in no allocation: byte %llu of %s, which has %llu",
             (unsigned long long)address, (unsigned long long)bytes, (unsigned long long)at, found->name,
             (unsigned long long)found->bytes);
  device->latest = low - 1;
  return found;
}

/* Units as small as the access. */
static void refine(ptx_warp *warp, ptx_allocation *allocation, unsigned shift) {
  size_t count = (allocation->bytes >> shift) + 1;
  unsigned finer = allocation->shift - shift;
  global_writer *writers = calloc(count, sizeof *writers);
  global_reader *readers = calloc(count, sizeof *readers);
  if (!writers || !readers) {
    free(writers), free(readers);
    ptx_fail(warp, PTX_MEMORY, "no memory left");
  }
  for (size_t i = 0; allocation->writers && i < count; i++) {
    writers[i] = allocation->writers[i >> finer];
    readers[i] = allocation->readers[i >> finer];
  }
  free(allocation->writers), free(allocation->readers);
  allocation->writers = writers;
  allocation->readers = readers;
  allocation->shift = (uint8_t)shift;
}

/* clock << 11 | warp << 6 | lane. A clock that has no room is told as an earlier one, which everybody knows of. */
enum { CLOCK_SHIFT = 11, CLOCK_MOST = (1 << 21) - 1 };
static uint32_t stamp_of(const ptx_warp *warp, unsigned lane) {
  uint32_t clock = warp->clock[warp->agent];
  return (clock < CLOCK_MOST ? clock : CLOCK_MOST) << CLOCK_SHIFT | warp->index << 6 | lane;
}
static uint32_t stamp_warp(uint32_t stamp) { return stamp >> 6 & 31; }

/* Whether `lane` comes after what another thread of the block did. */
static bool knows(const ptx_warp *warp, unsigned lane, uint32_t stamp) {
  uint32_t index = stamp_warp(stamp), clock = stamp >> CLOCK_SHIFT;
  if (index == warp->index) return ptx_lane_knows(warp, lane, stamp & 63, clock);
  return clock <= warp->clock[warp->agent - warp->index + index];
}

static _Noreturn void global_race(ptx_warp *warp, const ptx_allocation *allocation, uint64_t byte, bool is_write, bool was_write,
                                  unsigned lane, uint32_t stamp) {
  const char *now = is_write ? "writes" : "reads", *then = was_write ? "wrote" : "read";
  if (stamp_warp(stamp) != warp->index)
    ptx_fail(warp, PTX_RACE, "race: lane %u %s byte %llu of %s, which warp %u %s with no synchronisation between", lane, now,
             (unsigned long long)byte, allocation->name, stamp_warp(stamp), then);
  char who[32] = "other lanes";
  if ((stamp & 63) != MANY_LANES) snprintf(who, sizeof who, "lane %u", stamp & 63);
  ptx_fail(warp, PTX_RACE, "race: lane %u %s byte %llu of %s, which %s of its warp %s with no bar.warp.sync between", lane, now,
           (unsigned long long)byte, allocation->name, who, then);
}

static void note_global_read(const ptx_warp *warp, global_reader *reader, uint32_t mine, uint32_t stamp) {
  if (reader->block != mine) {
    bool others = reader->block >> 24 == mine >> 24;
    *reader = (global_reader){.block = others ? mine | MANY_BLOCKS : mine, .last = stamp};
    return;
  }
  if (stamp_warp(reader->last) != warp->index) reader->other = reader->last;
  else if ((reader->last ^ stamp) & 63 && !ptx_lane_knows(warp, stamp & 63, reader->last & 63, reader->last >> CLOCK_SHIFT))
    stamp |= MANY_LANES;
  reader->last = stamp;
}

void ptx_global_want(ptx_warp *warp, const ptx_allocation *allocation, uint64_t at, uint64_t bytes, bool is_write, unsigned lane) {
  if (!(warp->early >> lane & 1)) return;
  warp->state->module->counters.early_bytes += bytes;
  const ptx_launch *launch = warp->state->launch;
  uint32_t before =
      launch->before && !warp->state->module->device->hasty[launch->before] ? launch->before : 0; /* all others have ended */
  bool is_early = is_write || (launch->dependence == PTX_DEPENDENT_ON_ALL && !allocation->settled);
  for (uint64_t i = at >> allocation->shift; !is_early && allocation->writers && i <= (at + bytes - 1) >> allocation->shift; i++)
    is_early = allocation->writers[i].block && (!before || allocation->writers[i].block >> 24 == before);
  if (is_early)
    ptx_fail(warp, PTX_EARLY, "lane %u %s byte %llu of %s before its griddepcontrol.wait: the launch before may not have ended",
             lane, is_write ? "writes" : "reads", (unsigned long long)at, allocation->name);
}

void ptx_global_touch(ptx_warp *warp, ptx_allocation *allocation, uint64_t at, uint64_t bytes, bool is_write, unsigned lane,
                      const uint8_t *from) {
  if (warp->early) ptx_global_want(warp, allocation, at, bytes, is_write, lane);
  unsigned shift = allocation->shift;
  while (shift && ((at | bytes) & ((UINT64_C(1) << shift) - 1))) shift--;
  if (!allocation->writers || shift < allocation->shift) refine(warp, allocation, shift);
  uint32_t serial = warp->state->module->device->serial, mine = serial << 24 | (warp->cta->linear + 1),
           stamp = stamp_of(warp, lane);
  for (uint64_t i = at >> shift; i < (at + bytes) >> shift; i++) {
    global_writer *writer = &allocation->writers[i];
    global_reader *reader = &allocation->readers[i];
    if (!is_write && reader->last == stamp && reader->block == mine) continue;
    if (writer->block >> 24 == serial) {
      if (writer->block != mine)
        ptx_fail(warp, PTX_BLOCKS,
                 is_write ? "%s: byte %llu is written by two blocks (this and number %u) in one launch"
                          : "%s: byte %llu is read and another block (number %u of the launch) wrote it",
                 allocation->name, (unsigned long long)(i << shift), (writer->block & 0xffffff) - 1);
      bool same_value =
          is_write && from && !memcmp(allocation->data + (i << shift), from + ((i << shift) - at), (size_t)1 << shift);
      if (!same_value && !knows(warp, lane, writer->last))
        global_race(warp, allocation, i << shift, is_write, true, lane, writer->last);
    }
    if (!is_write) {
      note_global_read(warp, reader, mine, stamp);
      continue;
    }
    if (reader->block >> 24 == serial) {
      if (reader->block != mine)
        ptx_fail(warp, PTX_BLOCKS, "%s: byte %llu is written and another block read it in the same launch", allocation->name,
                 (unsigned long long)(i << shift));
      if (!knows(warp, lane, reader->last)) global_race(warp, allocation, i << shift, true, false, lane, reader->last);
      if (reader->other && !knows(warp, lane, reader->other))
        global_race(warp, allocation, i << shift, true, false, lane, reader->other);
    }
    *writer = (global_writer){.block = mine, .last = stamp};
    reader->block = 0;
  }
}

static void want_aligned(ptx_warp *warp, uint64_t address, unsigned bytes) {
  if (address & (bytes - 1))
    ptx_fail(warp, PTX_MISALIGNED, "%u bytes at %#llx are not aligned", bytes, (unsigned long long)address);
}

static void want_written(ptx_warp *warp, const ptx_allocation *allocation, uint64_t at, unsigned bytes) {
  static const uint8_t all[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  if (!memcmp(allocation->written + at, all, bytes)) return;
  while (allocation->written[at]) at++;
  ptx_fail(warp, PTX_UNINITIALISED, "%s: byte %llu was never written", allocation->name, (unsigned long long)at);
}

/* The range of a lane, whose neighbour's was in `last`. */
static inline ptx_allocation *range_after(ptx_warp *warp, ptx_allocation *last, uint64_t address, unsigned bytes) {
  want_aligned(warp, address, bytes);
  if (last && address >= last->base && address - last->base < last->bytes && bytes <= last->bytes - (address - last->base))
    return last;
  return ptx_global_range(warp, address, bytes);
}

static inline __attribute__((always_inline)) void read_lanes(ptx_warp *warp, const uint64_t *addresses, uint32_t active,
                                                             const unsigned bytes, uint8_t (*out)[16]) {
  ptx_allocation *allocation = NULL;
  EACH_ACTIVE(l, active) {
    allocation = range_after(warp, allocation, addresses[l], bytes);
    uint64_t at = addresses[l] - allocation->base;
    want_written(warp, allocation, at, bytes);
    ptx_global_touch(warp, allocation, at, bytes, false, l, NULL);
    memcpy(out[l], allocation->data + at, bytes);
  }
}

void ptx_global_read(ptx_warp *warp, const uint64_t *addresses, uint32_t active, unsigned bytes, uint8_t (*out)[16]) {
  switch (bytes) { /* of sizes that are known moving them is an instruction */
  case 1: read_lanes(warp, addresses, active, 1, out); break;
  case 2: read_lanes(warp, addresses, active, 2, out); break;
  case 4: read_lanes(warp, addresses, active, 4, out); break;
  case 8: read_lanes(warp, addresses, active, 8, out); break;
  default: read_lanes(warp, addresses, active, 16, out);
  }
  warp->state->module->counters.global_read_bytes += (uint64_t)bytes * (unsigned)__builtin_popcount(active);
}

void ptx_global_write(ptx_warp *warp, const uint64_t *addresses, uint32_t active, unsigned bytes, uint8_t (*from)[16]) {
  ptx_allocation *allocation = NULL;
  EACH_ACTIVE(l, active) {
    allocation = range_after(warp, allocation, addresses[l], bytes);
    uint64_t at = addresses[l] - allocation->base;
    ptx_global_touch(warp, allocation, at, bytes, true, l, from[l]);
    memcpy(allocation->data + at, from[l], bytes);
    memset(allocation->written + at, 1, bytes);
  }
  warp->state->module->counters.global_written_bytes += (uint64_t)bytes * (unsigned)__builtin_popcount(active);
}

/* ---- shared memory ---- */

void ptx_shared_create(ptx_launch_state *state, ptx_cta *cta) {
  ptx_shared *shared = &cta->shared;
  uint32_t warpgroups = (state->warps + 3) / 4;
  shared->bytes = state->shared_bytes;
  shared->words = (state->shared_bytes + 3) / 4;
  shared->data = ptx_state_allocate(state, (size_t)shared->words * 4 + 16);
  shared->cells = ptx_state_allocate(state, (size_t)shared->words * sizeof(shared_cell) + 16);
  for (uint32_t i = 0; i < shared->words; i++) shared->cells[i].writer = NONE;
  shared->reads = ptx_state_allocate(state, (size_t)shared->words * state->warps * state->cluster_size * sizeof(uint32_t) + 16);
  shared->wgmma = ptx_state_allocate(state, (size_t)shared->words * warpgroups * sizeof(uint32_t) + 16);
  shared->records = ptx_state_allocate(state, warpgroups * sizeof *shared->records);
  shared->record_count = ptx_state_allocate(state, warpgroups * sizeof *shared->record_count);
  shared->record_room = ptx_state_allocate(state, warpgroups * sizeof *shared->record_room);
}

/* Of a word or a byte: the first warp's, and how far apart those of two warps are. */
typedef struct unit_reads {
  uint32_t *first, step;
} unit_reads;
static unit_reads word_reads(const ptx_shared *shared, uint32_t word) { return (unit_reads){shared->reads + word, shared->words}; }
static unit_reads byte_reads(const ptx_shared *shared, uint32_t byte) {
  return (unit_reads){shared->fine_reads + byte, shared->words * 4};
}
static inline uint32_t *of_warp(unit_reads reads, uint32_t warp) { return reads.first + (size_t)warp * reads.step; }

static void not_in_flight(ptx_warp *warp, ptx_cta *cta, const shared_cell *cell, uint32_t word, bool is_write) {
  if (cell->state & CELL_IN_FLIGHT)
    ptx_fail(warp, PTX_IN_FLIGHT, "shared byte %#x is the destination of an asynchronous copy in flight", word * 4);
  if (!is_write) return;
  if (cell->storing) ptx_fail(warp, PTX_IN_FLIGHT, "shared byte %#x is the source of a bulk store in flight", word * 4);
  if (!(cell->state & CELL_WGMMA)) return;
  uint32_t warpgroups = (warp->state->warps + 3) / 4;
  for (uint32_t g = 0; g < warpgroups; g++) {
    uint32_t index = cta->shared.wgmma[(size_t)word * warpgroups + g];
    if (!index) continue;
    const wgmma_record *record = &cta->shared.records[g][index - 1];
    for (uint32_t i = 0; i < 4; i++)
      if (!record->seen[i] || warp->clock[cta->warps[4 * g + i].agent] < record->seen[i])
        ptx_fail(warp, PTX_IN_FLIGHT,
                 "shared byte %#x is written while a wgmma of warpgroup %u may still read it (warp %u has not waited for it, or "
                 "this warp can't know)",
                 word * 4, g, 4 * g + i);
  }
}

static const char *agent_name(const ptx_launch_state *state, int agent, char text[64]) {
  if (agent >= (int)(state->warps * state->cluster_size)) snprintf(text, 64, "an asynchronous copy");
  else if (state->cluster_size > 1)
    snprintf(text, 64, "warp %u of block %u of the cluster", (unsigned)agent % state->warps, (unsigned)agent / state->warps);
  else snprintf(text, 64, "warp %d", agent);
  return text;
}

/* "lane 3 writes", "lanes write": of MANY_LANES */
static const char *lanes_name(unsigned lane, const char *verb, char text[40]) {
  if (lane != MANY_LANES) snprintf(text, 40, "lane %u%s%s", lane, verb ? " " : "", verb ? verb : "");
  else snprintf(text, 40, "several lanes%s%.*s", verb ? " " : "", verb ? (int)strlen(verb) - 1 : 0, verb ? verb : "");
  return text;
}

static void ordered(ptx_warp *warp, const shared_cell *cell, unit_reads reads, uint32_t address, bool is_write, unsigned lane,
                    bool same_value) {
  char text[64], now[40], then[40];
  if (cell->writer >= 0) {
    if (cell->clock > warp->clock[cell->writer])
      ptx_fail(warp, PTX_RACE, "race: shared byte %#x was written by %s with no synchronisation between", address,
               agent_name(warp->state, cell->writer, text));
    if (cell->writer == (int)warp->agent && !(is_write && same_value) && !ptx_lane_knows(warp, lane, cell->lane, cell->clock))
      ptx_fail(warp, PTX_RACE, "race: %s shared byte %#x, which %s of its warp wrote with no bar.warp.sync between",
               lanes_name(lane, is_write ? "writes" : "reads", now), address, lanes_name(cell->lane, NULL, then));
  }
  if (!is_write || !(cell->state & CELL_READ)) return;
  uint32_t count = warp->state->warps * warp->state->cluster_size;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t stamp = *of_warp(reads, i), clock = stamp >> 6;
    if (i != warp->agent && clock > warp->clock[i])
      ptx_fail(warp, PTX_RACE, "race: shared byte %#x was read by %s with no synchronisation between", address,
               agent_name(warp->state, (int)i, text));
    if (i == warp->agent && clock && !same_value && !ptx_lane_knows(warp, lane, stamp & 63, clock))
      ptx_fail(warp, PTX_RACE, "race: %s shared byte %#x, which %s of its warp read with no bar.warp.sync between",
               lanes_name(lane, "writes", now), address, lanes_name(stamp & 63, NULL, then));
  }
}

static void forget_reads(ptx_warp *warp, shared_cell *cell, unit_reads reads) {
  for (uint32_t i = 0; cell->state & CELL_READ && i < warp->state->warps * warp->state->cluster_size; i++) *of_warp(reads, i) = 0;
  cell->state &= (uint8_t)~CELL_READ;
}

/* reads: the warp's own of the cell */
static inline void note_read(const ptx_warp *warp, shared_cell *cell, uint32_t *reads, unsigned lane) {
  uint32_t clock = warp->clock[warp->agent], old = *reads;
  if (old && (old & 63) != lane && !ptx_lane_knows(warp, lane, old & 63, old >> 6)) lane = MANY_LANES;
  *reads = clock << 6 | lane;
  cell->state |= CELL_READ;
}

/* Did the async proxy's read of what an ordinary write left have a fence between? The writer's own, which the reader knows of, or one of the reader's after
 * it knew of the write. */
static void fenced(ptx_warp *warp, const shared_cell *cell, uint32_t address) {
  if (!(cell->state & CELL_GENERIC) || cell->writer < 0 || cell->writer >= (int)(warp->state->warps * warp->state->cluster_size))
    return;
  if (warp->fence_clock[cell->writer] >= cell->clock) return;
  const ptx_warp *writer = warp->state->all[cell->writer];
  uint32_t low = 0, high = writer->fence_count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (writer->fences[middle] >= cell->clock) high = middle;
    else low = middle + 1;
  }
  uint32_t known = writer == warp ? UINT32_MAX : warp->clock[cell->writer];
  if (low == writer->fence_count || writer->fences[low] > known)
    ptx_fail(warp, PTX_PROXY, "shared byte %#x, written by warp %u, reaches the async proxy without fence.proxy.async", address,
             writer->index);
}

static void make_fine(ptx_warp *warp, ptx_cta *cta) {
  ptx_shared *shared = &cta->shared;
  if (shared->fine) return;
  shared->fine = ptx_state_allocate(warp->state, (size_t)shared->words * 4 * sizeof(shared_cell));
  shared->fine_reads = ptx_state_allocate(warp->state, (size_t)shared->words * 4 * warp->state->warps * warp->state->cluster_size *
                                                           sizeof(uint32_t));
}

static void split(ptx_warp *warp, ptx_cta *cta, uint32_t word) {
  make_fine(warp, cta);
  shared_cell *cell = &cta->shared.cells[word];
  if (cell->state & CELL_SPLIT) return;
  for (uint32_t b = 0; b < 4; b++)
    cta->shared.fine[word * 4 + b] = (shared_cell){.clock = cell->clock,
                                                   .writer = cell->writer,
                                                   .lane = cell->lane,
                                                   .state = cell->state & CELL_GENERIC,
                                                   .written = cell->written >> b & 1};
  cell->state |= CELL_SPLIT;
}

static void touch_bytes(ptx_warp *warp, ptx_cta *cta, uint32_t address, uint32_t bytes, bool is_write, unsigned lane,
                        const uint8_t *from) {
  ptx_shared *shared = &cta->shared;
  for (uint32_t i = address; i < address + bytes; i++) {
    uint32_t word = i / 4;
    split(warp, cta, word);
    shared_cell *cell = &shared->cells[word], *fine = &shared->fine[i];
    bool same_value = is_write && from && shared->data[i] == from[i - address] && (fine->written & 1);
    not_in_flight(warp, cta, cell, word, is_write);
    unit_reads reads = byte_reads(shared, i);
    ordered(warp, fine, reads, i, is_write, lane, same_value);
    if (is_write) { /* whole words may have been read */
      shared_cell of_word = {.writer = NONE, .state = cell->state};
      ordered(warp, &of_word, word_reads(shared, word), i, true, lane, same_value);
      forget_reads(warp, fine, reads);
      *fine = (shared_cell){.clock = warp->clock[warp->agent],
                            .writer = (int16_t)warp->agent,
                            .lane = (uint8_t)lane,
                            .state = CELL_GENERIC,
                            .written = 1};
      cell->written |= (uint8_t)(1u << (i & 3));
    } else {
      if (!(fine->written & 1)) ptx_fail(warp, PTX_UNINITIALISED, "shared byte %#x was never written", i);
      note_read(warp, fine, of_warp(reads, warp->agent), lane);
    }
  }
}

void ptx_shared_touch(ptx_warp *warp, ptx_cta *cta, uint32_t address, uint32_t bytes, access_mode mode, unsigned lane,
                      const uint8_t *from) {
  ptx_shared *shared = &cta->shared;
  if (address > shared->bytes || bytes > shared->bytes - address)
    ptx_fail(warp, PTX_BOUNDS, "shared address %#x (%u bytes) is past the %u bytes of the block", address, bytes, shared->bytes);
  bool is_write = mode == ACCESS_WRITE || mode == ACCESS_ASYNC_WRITE;
  if ((address | bytes) & 3) {
    touch_bytes(warp, cta, address, bytes, is_write, lane, from);
    return;
  }
  const shared_cell *last = NULL;
  for (uint32_t word = address / 4; word < (address + bytes) / 4; word++) {
    shared_cell *cell = &shared->cells[word];
    bool plain = !(cell->state & ~CELL_GENERIC) && !cell->storing && cell->written == 15;
    if (mode == ACCESS_ASYNC_READ && last && plain && cell->clock == last->clock && cell->writer == last->writer &&
        cell->state == last->state)
      continue; /* as its neighbour */
    last = plain ? cell : NULL;
    unit_reads reads = word_reads(shared, word);
    bool same_value =
        is_write && from && cell->written == 15 && !memcmp(shared->data + (size_t)word * 4, from + (word * 4 - address), 4);
    not_in_flight(warp, cta, cell, word, is_write);
    if (cell->state & CELL_SPLIT)
      for (uint32_t b = word * 4; b < word * 4 + 4; b++) {
        unit_reads fine_reads = byte_reads(shared, b);
        ordered(warp, &shared->fine[b], fine_reads, b, is_write, lane, same_value);
        if (mode == ACCESS_ASYNC_READ) fenced(warp, &shared->fine[b], b);
        if (is_write) forget_reads(warp, &shared->fine[b], fine_reads);
      }
    shared_cell checked = *cell;
    if (cell->state & CELL_SPLIT) checked.writer = NONE;
    ordered(warp, &checked, reads, word * 4, is_write, lane, same_value);
    if (!is_write) {
      if (cell->written != 15)
        ptx_fail(warp, PTX_UNINITIALISED, "shared byte %#x was never written",
                 word * 4 + (uint32_t)__builtin_ctz(~(unsigned)cell->written & 15u));
      if (mode == ACCESS_READ) note_read(warp, cell, of_warp(reads, warp->agent), lane);
      else fenced(warp, &checked, word * 4);
      continue;
    }
    forget_reads(warp, cell, reads);
    if (cell->state & CELL_WGMMA) {
      uint32_t warpgroups = (warp->state->warps + 3) / 4;
      memset(shared->wgmma + (size_t)word * warpgroups, 0, warpgroups * sizeof(uint32_t));
    }
    if (mode == ACCESS_WRITE)
      *cell = (shared_cell){.clock = warp->clock[warp->agent],
                            .writer = (int16_t)warp->agent,
                            .lane = (uint8_t)lane,
                            .state = CELL_GENERIC,
                            .written = 15};
    else cell->state = (uint8_t)((cell->state & ~(CELL_WGMMA | CELL_SPLIT)) | CELL_IN_FLIGHT);
  }
}

/* Whether a word was written as a whole, by somebody whom all lanes come after, and nothing else is to be known of it: as most are that are read. */
static inline bool is_settled(const ptx_warp *warp, const shared_cell *cell) {
  return cell->written == 15 && !(cell->state & (CELL_IN_FLIGHT | CELL_SPLIT)) && cell->writer >= 0 &&
         cell->clock <= warp->clock[cell->writer] && (cell->writer != (int)warp->agent || cell->clock < warp->met);
}

static inline __attribute__((always_inline)) void read_words(ptx_warp *warp, ptx_cta *cta, const uint32_t *places, uint32_t active,
                                                             const unsigned bytes, uint8_t (*out)[16]) {
  const ptx_shared *shared = &cta->shared;
  uint32_t *reads = of_warp(word_reads(shared, 0), warp->agent);
  EACH_ACTIVE(l, active) {
    uint32_t first = places[l] / 4;
    bool plain = places[l] <= shared->bytes && bytes <= shared->bytes - places[l];
    for (uint32_t word = first; plain && word < first + bytes / 4; word++) plain = is_settled(warp, &shared->cells[word]);
    if (!plain) ptx_shared_touch(warp, cta, places[l], bytes, ACCESS_READ, l, NULL);
    for (uint32_t word = first; plain && word < first + bytes / 4; word++) note_read(warp, &shared->cells[word], &reads[word], l);
    memcpy(out[l], shared->data + places[l], bytes);
  }
}

void ptx_shared_read(ptx_warp *warp, ptx_cta *cta, const uint32_t *places, uint32_t active, unsigned bytes, uint8_t (*out)[16]) {
  switch (bytes) { /* of sizes that are known moving them is an instruction */
  case 4: read_words(warp, cta, places, active, 4, out); break;
  case 8: read_words(warp, cta, places, active, 8, out); break;
  case 16: read_words(warp, cta, places, active, 16, out); break;
  default:
    EACH_ACTIVE(l, active) {
      ptx_shared_touch(warp, cta, places[l], bytes, ACCESS_READ, l, NULL);
      memcpy(out[l], cta->shared.data + places[l], bytes);
    }
  }
}

void ptx_shared_async_read(ptx_warp *warp, ptx_cta *cta, const uint32_t *pieces, uint32_t count, uint32_t warpgroup,
                           uint32_t record) {
  ptx_shared *shared = &cta->shared;
  uint32_t warpgroups = (warp->state->warps + 3) / 4;
  enum { TELLS = CELL_GENERIC | CELL_IN_FLIGHT | CELL_SPLIT };
  shared_cell last = {.written = 0};
  for (uint32_t i = 0; i < count; i++) {
    if (pieces[i] > shared->bytes || shared->bytes - pieces[i] < 16)
      ptx_fail(warp, PTX_BOUNDS, "shared address %#x (16 bytes) is past the %u bytes of the block", pieces[i], shared->bytes);
    for (uint32_t word = pieces[i] / 4; word < pieces[i] / 4 + 4; word++) {
      shared_cell *cell = &shared->cells[word];
      bool as_last = last.written == 15 && cell->written == 15 && cell->clock == last.clock && cell->writer == last.writer &&
                     !((cell->state ^ last.state) & TELLS);
      if (!as_last) {
        ptx_shared_touch(warp, cta, word * 4, 4, ACCESS_ASYNC_READ, MANY_LANES, NULL);
        last = *cell;
        if (cell->state & CELL_SPLIT) last.written = 0;
      }
      cell->state |= CELL_WGMMA;
      shared->wgmma[(size_t)word * warpgroups + warpgroup] = record;
    }
  }
}

/* An asynchronous write has come to its end: the bytes are `agent`'s as of `clock`. */
void ptx_shared_written(ptx_launch_state *state, ptx_cta *cta, uint32_t address, uint32_t bytes, int agent, uint32_t clock,
                        unsigned lane, bool generic) {
  (void)state;
  for (uint32_t word = address / 4; word < (address + bytes) / 4; word++)
    cta->shared.cells[word] = (shared_cell){
        .clock = clock, .writer = (int16_t)agent, .lane = (uint8_t)lane, .state = generic ? CELL_GENERIC : 0, .written = 15};
}

/* 32 banks of 4 bytes: lanes go together as far as 128 bytes reach; lanes that want one word get it together. */
void ptx_wavefronts(ptx_warp *warp, wavefront_kind kind, const uint32_t *addresses, uint32_t active, unsigned bytes) {
  uint32_t per = bytes <= 4 ? 32 : 128 / bytes;
  uint64_t least = 0, extra = 0;
  for (uint32_t begin = 0; begin < LANES; begin += per) {
    uint32_t words[LANES], used = 0, banks[32][LANES], most = 1;
    uint8_t in_bank[32] = {0};
    bool rising = true;
    EACH_ACTIVE(l, active & (per < 32 ? ((1u << per) - 1) << begin : ALL_LANES)) {
      for (uint32_t w = addresses[l] / 4; w < (addresses[l] + bytes + 3) / 4 && used < LANES; w++) {
        if (used && w == words[used - 1]) continue;
        if (used && w != words[used - 1] + 1) rising = false;
        words[used++] = w;
      }
    }
    if (!used) continue;
    least++;
    if (rising) continue; /* a run of at most 32 words meets each bank once */
    for (uint32_t i = 0; i < used; i++) {
      uint32_t bank = words[i] % 32, j = 0;
      while (j < in_bank[bank] && banks[bank][j] != words[i]) j++;
      if (j < in_bank[bank]) continue;
      banks[bank][in_bank[bank]++] = words[i];
      if (in_bank[bank] > most) most = in_bank[bank];
    }
    extra += most - 1;
  }
  ptx_counters *counters = &warp->state->module->counters;
  uint64_t *totals[] = {&counters->load_wavefronts, &counters->store_wavefronts, &counters->copy_wavefronts};
  uint64_t *conflicts[] = {&counters->load_conflicts, &counters->store_conflicts, &counters->copy_conflicts};
  *totals[kind] += least;
  *conflicts[kind] += extra;
}
