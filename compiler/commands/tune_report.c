/* The report of hmoec tune: a page with a table and pictures, for people. */
#include "commands/tune.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plain_text.h"
#include "support/output_file.h"
#include "support/paths.h"

static const int WIDTH = 720, LEFT = 90, ROW = 44, TOP = 40, PLOT = 570;

__attribute__((format(printf, 2, 3))) static void put(hmoec_output_file *file, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(text, sizeof text, format, arguments);
  va_end(arguments);
  hmoec_output_file_write(file, text, strlen(text));
}

static bool is_measured(const tune_bucket *b) { return b->default_seconds > 0; }

static void begin_picture(hmoec_output_file *f, const char *title, size_t rows) {
  int height = TOP + (int)rows * ROW + 30;
  put(f,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
      "font-size=\"13\">\n",
      WIDTH, height, WIDTH, height);
  put(f, "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"20\" font-size=\"15\">%s</text>\n", LEFT,
      title);
}

static void label(hmoec_output_file *f, size_t row, int64_t tokens) {
  put(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%lld tokens</text>\n", LEFT - 8, TOP + (int)row * ROW + 24,
      (long long)tokens);
}

static void bar(hmoec_output_file *f, size_t row, int offset, double from, double to, const char *color) {
  double x = from < to ? from : to, width = fabs(to - from);
  put(f, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"12\" fill=\"%s\"/>\n", x, TOP + (int)row * ROW + offset,
      width < 1 ? 1 : width, color);
}

/* Times on a logarithmic scale. */
typedef struct scale {
  double least, most;
} scale;
static double at(const scale *s, double seconds) {
  double range = log(s->most / s->least);
  return LEFT + (range > 0 ? log(seconds / s->least) / range : 0.5) * PLOT;
}

static void widen(scale *s, double seconds) {
  if (!(seconds > 0)) return;
  if (!(s->least > 0) || seconds < s->least) s->least = seconds;
  if (seconds > s->most) s->most = seconds;
}

static void times_picture(hmoec_output_file *f, const tune_result *r) {
  scale s = {0, 0};
  begin_picture(f, "time of a run: as otherwise (grey), tuned (blue); the line is what was predicted", r->bucket_count);
  for (size_t b = 0; b < r->bucket_count; b++) {
    widen(&s, r->buckets[b].default_seconds);
    widen(&s, r->buckets[b].tuned_seconds);
    widen(&s, r->buckets[b].predicted_seconds);
  }
  s.least *= 0.5;
  s.most *= 1.1;
  for (size_t b = 0; b < r->bucket_count; b++) {
    const tune_bucket *k = &r->buckets[b];
    label(f, b, k->tokens);
    if (!is_measured(k)) continue;
    bar(f, b, 8, LEFT, at(&s, k->default_seconds), "#aaaaaa");
    bar(f, b, 22, LEFT, at(&s, k->tuned_seconds), "#3377bb");
    put(f, "<text x=\"%.1f\" y=\"%d\">%.4g ms</text>\n", at(&s, k->default_seconds) + 4, TOP + (int)b * ROW + 19,
        1e3 * k->default_seconds);
    if (k->predicted_seconds > 0)
      put(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#cc4400\" stroke-width=\"2\"/>\n",
          at(&s, k->predicted_seconds), at(&s, k->predicted_seconds), TOP + (int)b * ROW + 4, TOP + (int)b * ROW + 38);
  }
  put(f, "</svg>\n");
}

static void gains_picture(hmoec_output_file *f, const tune_result *r) {
  double most = 1.02;
  begin_picture(f, "gain (blue, with its interval), and the default against itself (grey)", r->bucket_count);
  for (size_t b = 0; b < r->bucket_count; b++) {
    if (r->buckets[b].gain.high > most) most = r->buckets[b].gain.high;
    if (r->buckets[b].self.high > most) most = r->buckets[b].self.high;
  }
  double least = 2 - most < 0.9 ? 0.9 : 2 - most, unit = PLOT / (most - least), one = LEFT + (1 - least) * unit;
  put(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"black\"/>\n", one, one, TOP, TOP + (int)r->bucket_count * ROW);
  for (size_t b = 0; b < r->bucket_count; b++) {
    const tune_bucket *k = &r->buckets[b];
    label(f, b, k->tokens);
    if (!is_measured(k)) continue;
    double self_low = k->self.low > least ? k->self.low : least;
    bar(f, b, 22, LEFT + (self_low - least) * unit, LEFT + (k->self.high - least) * unit, "#cccccc");
    if (k->found) bar(f, b, 8, LEFT + (k->gain.low - least) * unit, LEFT + (k->gain.high - least) * unit, "#3377bb");
    put(f, "<text x=\"%.1f\" y=\"%d\">%.3f</text>\n", LEFT + PLOT + 8.0, TOP + (int)b * ROW + 24, k->gain.median);
  }
  put(f, "</svg>\n");
}

static void bound_picture(hmoec_output_file *f, const tune_result *r) {
  begin_picture(f, "percent of the bound that the machine's arithmetic and memory set: as otherwise (grey), tuned (blue)",
                r->bucket_count);
  for (size_t b = 0; b < r->bucket_count; b++) {
    const tune_bucket *k = &r->buckets[b];
    label(f, b, k->tokens);
    if (!is_measured(k) || !(k->bound_seconds > 0)) continue;
    double before = k->bound_seconds / k->default_seconds, after = k->bound_seconds / k->tuned_seconds;
    bar(f, b, 8, LEFT, LEFT + (before < 1 ? before : 1) * PLOT, "#aaaaaa");
    bar(f, b, 22, LEFT, LEFT + (after < 1 ? after : 1) * PLOT, "#3377bb");
    put(f, "<text x=\"%.1f\" y=\"%d\">%.0f %%</text>\n", LEFT + PLOT + 8.0, TOP + (int)b * ROW + 24, 100 * after);
  }
  put(f, "</svg>\n");
}

static void page(hmoec_output_file *f, const tune_result *r) {
  const tune_model *m = &r->model;
  put(f, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>hmoec "
         "tune</title>\n<style>body{font-family:sans-serif;max-width:60em;margin:2em auto}"
         "td,th{padding:.2em .8em;text-align:right}</style>\n<h1>hmoec tune</h1>\n");
  put(f, "<p>%s code of target %s, products in %s, %lld threads; turns at %s priority.</p>\n<table>\n", m->version, m->target,
      m->format, (long long)m->threads, m->realtime ? "real-time" : "normal");
  put(f, "<tr><th>tokens<th>taken from, to<th>default, ms<th>tuned, ms<th>gain<th>interval<th>default against itself<th>tried\n");
  for (size_t b = 0; b < r->bucket_count; b++) {
    const tune_bucket *k = &r->buckets[b];
    char last[32] = "any";
    if (k->last < HMOEC_TUNING_MOST) snprintf(last, sizeof last, "%lld", (long long)k->last);
    put(f, "<tr><td>%lld<td>%lld, %s", (long long)k->tokens, (long long)k->first, last);
    if (!is_measured(k)) {
      put(f, "<td colspan=\"6\">not measured: the time was over\n");
      continue;
    }
    put(f, "<td>%.4f<td>%.4f<td>%.3f", 1e3 * k->default_seconds, 1e3 * k->tuned_seconds, k->gain.median);
    if (k->found) put(f, "<td>%.3f to %.3f", k->gain.low, k->gain.high);
    else put(f, "<td>nothing better found");
    put(f, "<td>%.3f to %.3f<td>%zu%s\n", k->self.low, k->self.high, k->tried, k->complete ? "" : ", not all");
  }
  put(f, "</table>\n<p><img src=\"times.svg\" alt=\"times\"></p>\n<p><img src=\"gains.svg\" alt=\"gains\"></p>\n"
         "<p><img src=\"bound.svg\" alt=\"percent of the bound\"></p>\n");
}

bool tune_report(const tune_result *result, const char *directory, hmoec_diagnostics *diagnostics) {
  static const struct {
    const char *name;
    void (*draw)(hmoec_output_file *, const tune_result *);
  } parts[] = {{"times.svg", times_picture}, {"gains.svg", gains_picture}, {"bound.svg", bound_picture}, {"index.html", page}};
  enum { PARTS = sizeof parts / sizeof *parts };
  hmoec_output_file files[PARTS] = {{.path = NULL}};
  bool ok = hmoec_make_directory(directory, diagnostics);
  for (size_t i = 0; ok && i < PARTS; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, parts[i].name);
    ok = hmoec_output_file_open(path, diagnostics, &files[i]);
    if (ok) parts[i].draw(&files[i], result);
  }
  ok = ok && hmoec_output_files_commit(files, PARTS);
  for (size_t i = 0; i < PARTS; i++) hmoec_output_file_abandon(&files[i]);
  return ok;
}
