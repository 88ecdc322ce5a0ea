/* What a file is, told by its bytes: people hand over downloads that are pointers, pages and archives, checkpoints of other frameworks,
 * and good files under other names. Here are the kinds that are met, what they are called, and what to do about each; readers ask when a
 * file is not what they read. The bytes may come from anywhere. */
#include "content.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "plain_text.h"

#define TO_SAFETENSORS "convert it in Python, where the model loads, with model.save_pretrained(DIR, safe_serialization=True)"

typedef struct content_row {
  hmoe_content content;
  const char *magic;
  uint32_t at, bytes;
  const char *what, *advice;
} content_row;

#define MAGIC(text) text, 0, sizeof(text) - 1
#define MAGIC_AT(at, text) text, at, sizeof(text) - 1

/* In this order, after what is told by more than a magic number. */
static const content_row rows[] = {
    {HMOE_CONTENT_OTHER, MAGIC("version https://git-lfs"), "a pointer of Git LFS, not the file itself",
     "run `git lfs install` and `git lfs pull` in the repository that it is from"},
    {HMOE_CONTENT_PACKED, MAGIC("HMOEWTS"), "packed weights (.hmw)", NULL},
    {HMOE_CONTENT_NPY, MAGIC("\x93NUMPY"), "a .npy array", NULL},
    {HMOE_CONTENT_OTHER, MAGIC("GGUF"), "a GGUF file", "get the original checkpoint of the model, as safetensors"},
    {HMOE_CONTENT_OTHER, MAGIC("lmgg"), "a GGML file", "get the original checkpoint of the model, as safetensors"},
    {HMOE_CONTENT_OTHER, MAGIC("tjgg"), "a GGML file", "get the original checkpoint of the model, as safetensors"},
    {HMOE_CONTENT_OTHER, MAGIC("\x89HDF\r\n\x1a\n"), "an HDF5 file, as TensorFlow and Keras write",
     "convert it in Python with from_pretrained(DIR, from_tf=True) and save_pretrained(DIR, safe_serialization=True)"},
    {HMOE_CONTENT_OTHER, MAGIC_AT(4, "TFL3"), "a TensorFlow Lite file", "get the original checkpoint of the model, as safetensors"},
    {HMOE_CONTENT_OTHER, MAGIC("\x1f\x8b"), "a gzip archive", "unpack it first"},
    {HMOE_CONTENT_OTHER,
     MAGIC("\xfd"
           "7zXZ"),
     "an xz archive", "unpack it first"},
    {HMOE_CONTENT_OTHER, MAGIC("\x28\xb5\x2f\xfd"), "a zstd archive", "unpack it first"},
    {HMOE_CONTENT_OTHER, MAGIC("BZh"), "a bzip2 archive", "unpack it first"},
    {HMOE_CONTENT_OTHER, MAGIC("7z\xbc\xaf\x27\x1c"), "a 7z archive", "unpack it first"},
    {HMOE_CONTENT_OTHER, MAGIC("Rar!\x1a\x07"), "a rar archive", "unpack it first"},
    {HMOE_CONTENT_OTHER, MAGIC_AT(257, "ustar"), "a tar archive", "unpack it first"},
    {HMOE_CONTENT_OTHER,
     MAGIC("\x7f"
           "ELF"),
     "an ELF object or program", NULL},
    {HMOE_CONTENT_OTHER, MAGIC("!<arch>\n"), "a static library", NULL},
    {HMOE_CONTENT_OTHER, MAGIC("BC\xc0\xde"), "LLVM bitcode", NULL},
    {HMOE_CONTENT_OTHER, MAGIC("ML\xefR"), "MLIR bytecode", "write it as text, with mlir-opt"},
    {HMOE_CONTENT_OTHER, MAGIC("%PDF-"), "a PDF document", NULL},
    {HMOE_CONTENT_OTHER, MAGIC("\x89PNG\r\n"), "a PNG picture", NULL},
    {HMOE_CONTENT_OTHER, MAGIC("\xff\xfe"), "text in UTF-16", "save it as UTF-8"},
    {HMOE_CONTENT_OTHER, MAGIC("\xfe\xff"), "text in UTF-16", "save it as UTF-8"},
};

static const content_row empty = {.content = HMOE_CONTENT_EMPTY, .what = "an empty file", .advice = "download or write it again"},
                         json = {.content = HMOE_CONTENT_JSON, .what = "JSON"},
                         text = {.content = HMOE_CONTENT_TEXT, .what = "text"},
                         unknown = {.content = HMOE_CONTENT_UNKNOWN, .what = "bytes of no known kind"},
                         safetensors = {.content = HMOE_CONTENT_SAFETENSORS, .what = "a safetensors file"},
                         page = {.what = "a page of a web server",
                                 .advice = "it came in place of a download; see what it says and download the file again"},
                         source = {.content = HMOE_CONTENT_TEXT, .what = "a C source or header"},
                         torch = {.what = "a PyTorch pickle", .advice = TO_SAFETENSORS},
                         pickle = {.what = "a Python pickle", .advice = TO_SAFETENSORS},
                         flax = {.what = "msgpack data, as Flax writes",
                                 .advice =
                                     "convert it in Python with from_pretrained(DIR, from_flax=True) and save_pretrained(DIR, "
                                     "safe_serialization=True)"},
                         npz = {.what = "a .npz archive of arrays", .advice = "write the one array with numpy.save"},
                         zip = {.what = "a zip archive", .advice = "unpack it first"},
                         onnx = {.what = "an ONNX model", .advice = "get the checkpoint that it was exported from, as safetensors"},
                         saved_model = {.what = "a SavedModel of TensorFlow", .advice = TO_SAFETENSORS};

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bool begins(const uint8_t *data, uint64_t bytes, uint64_t at, const char *magic, size_t length) {
  return bytes >= at + length && memcmp(data + at, magic, length) == 0;
}

/* A header's length that a file may have, and an object behind it. */
static bool is_safetensors(const uint8_t *data, uint64_t bytes) {
  return bytes >= 10 && data[8] == '{' && !data[7] && !data[6] && !data[5] && !data[4] && (data[0] > 1 || data[1] || data[2]);
}

static bool is_printable(uint8_t c) { return c >= 0x20 && c < 0x7f; }

static bool has(const uint8_t *data, size_t bytes, const char *word) { return memmem(data, bytes, word, strlen(word)) != NULL; }

/* By the name of its first member. */
static const content_row *zip_kind(const uint8_t *data, uint64_t bytes) {
  enum { NAME = 30 };
  if (bytes < NAME) return &zip;
  size_t length = least(data[26] | (size_t)data[27] << 8, bytes - NAME);
  const uint8_t *name = data + NAME;
  if (length > 4 && memcmp(name + length - 4, ".npy", 4) == 0) return &npz;
  return has(name, length, "/data.pkl") || has(name, length, "/version") || has(name, length, "/byteorder") ||
                 has(name, length, "/data/")
             ? &torch
             : &zip;
}

static const content_row *pickle_kind(const uint8_t *data, uint64_t bytes) {
  static const char torch_magic[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  if (begins(data, bytes, 2, torch_magic, sizeof torch_magic - 1)) return &torch;
  return has(data, least(bytes, 256), "torch") ? &torch : &pickle;
}

/* ONNX: ir_version, then the producer's name; a SavedModel: schema 1, then a graph. */
static const content_row *protobuf_kind(const uint8_t *data, uint64_t bytes) {
  if (bytes < 8 || data[0] != 0x08 || data[1] < 1 || data[1] > 32 || data[2] != 0x12) return NULL;
  size_t length = data[3];
  bool named = length > 0 && length < 64 && bytes >= 4 + length;
  for (size_t i = 0; named && i < length; i++) named = is_printable(data[4 + i]);
  return named ? &onnx : data[1] == 1 ? &saved_model : NULL;
}

/* A map whose first key is a short text. */
static bool is_msgpack(const uint8_t *data, uint64_t bytes) {
  size_t at = data[0] == 0xde ? 3 : data[0] == 0xdf ? 5 : data[0] > 0x80 && data[0] <= 0x8f ? 1 : 0;
  if (!at || bytes < at + 3) return false;
  uint8_t key = data[at];
  return ((key > 0xa0 && key <= 0xbf) && is_printable(data[at + 1])) || (key == 0xd9 && is_printable(data[at + 2]));
}

/* UTF-8 without control characters but those of lines and terminals. */
static bool is_text(const uint8_t *data, uint64_t bytes) {
  uint64_t end = least(bytes, HMOE_CONTENT_BYTES);
  for (uint64_t i = 0; i < end; i++) {
    uint8_t c = data[i];
    if (c == 0x7f || (c < 0x20 && (!c || !strchr("\t\n\v\f\r\x1b", c)))) return false;
    if (c < 0x80) continue;
    if (c < 0xc2 || c > 0xf4) return false;
    for (uint64_t last = i + (c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3); i < last && i + 1 < end; i++)
      if ((data[i + 1] & 0xc0) != 0x80) return false;
  }
  return true;
}

static bool begins_in_any_case(const uint8_t *data, uint64_t bytes, uint64_t at, const char *word) {
  size_t length = strlen(word), i = 0;
  while (i < length && at + i < bytes && hmoe_plain_upper((char)data[at + i]) == hmoe_plain_upper(word[i])) i++;
  return i == length;
}

static const content_row *text_kind(const uint8_t *data, uint64_t bytes) {
  static const char *const pages[] = {"<!doctype", "<html", "<head", "<?xml"}, *const sources[] = {"/*", "#ifndef ", "#include ",
                                                                                                   "#pragma "};
  uint64_t at = begins(data, bytes, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
  while (at < bytes && hmoe_plain_is_space((char)data[at])) at++;
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    if (begins_in_any_case(data, bytes, at, pages[i])) return &page;
  for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
    if (begins(data, bytes, at, sources[i], strlen(sources[i]))) return &source;
  return at < bytes && (data[at] == '{' || data[at] == '[') ? &json : &text;
}

static const content_row *find(const uint8_t *data, uint64_t bytes) {
  if (!bytes) return &empty;
  if (is_safetensors(data, bytes)) return &safetensors;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (begins(data, bytes, rows[i].at, rows[i].magic, rows[i].bytes)) return &rows[i];
  if (begins(data, bytes, 0, "PK\3\4", 4)) return zip_kind(data, bytes);
  if (bytes > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5) return pickle_kind(data, bytes);
  if (is_msgpack(data, bytes)) return &flax;
  const content_row *protobuf = protobuf_kind(data, bytes);
  return protobuf ? protobuf : is_text(data, bytes) ? text_kind(data, bytes) : &unknown;
}

hmoe_content hmoe_content_find(const uint8_t *data, uint64_t bytes) { return find(data, bytes)->content; }

const char *hmoe_content_string(const uint8_t *data, uint64_t bytes, char out[HMOE_CONTENT_CHARS]) {
  enum { SHOWN = 40 };
  const content_row *row = find(data, bytes);
  if (row == &text) {
    uint64_t begin = 0, end;
    while (begin < bytes && hmoe_plain_is_space((char)data[begin])) begin++;
    for (end = begin; end < bytes && end < begin + SHOWN && data[end] >= 0x20 && data[end] != 0x7f;) end++;
    while (end > begin && end < bytes && (data[end] & 0xc0) == 0x80) end--; /* not inside a character */
    if (begin == bytes) snprintf(out, HMOE_CONTENT_CHARS, "blank text");
    else snprintf(out, HMOE_CONTENT_CHARS, "text that begins \"%.*s\"", (int)(end - begin), (const char *)data + begin);
  } else {
    snprintf(out, HMOE_CONTENT_CHARS, "%s%s%s", row->what, row->advice ? ": " : "", row->advice ? row->advice : "");
  }
  return out;
}

/* OWNER/NAME, or NAME without a dot: letters, digits, and . _ - between. */
static bool is_hub_name(const char *path) {
  size_t length = strlen(path), slashes = 0;
  for (size_t i = 0; i < length; i++) {
    slashes += path[i] == '/';
    bool inner = i > 0 && i + 1 < length && strchr("._-/", path[i]) && !strchr("./", path[i - 1]);
    if (!hmoe_plain_is_alnum(path[i]) && !inner) return false;
  }
  return length && (slashes == 1 || (slashes == 0 && !strchr(path, '.')));
}

bool hmoe_path_exists(const char *path) {
  struct stat info;
  return lstat(path, &info) == 0 || errno != ENOENT;
}

const char *hmoe_path_hint(const char *path) {
  struct stat info;
  if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) return "; it is a link, and what it points to is not there";
  size_t scheme = strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
  if (scheme > 1 && strncmp(path + scheme, "://", 3) == 0) return "; this is an address, not a file: download it first";
  static const char *const suffixes[] = {".spec", ".mlir", ".safetensors", ".hmw", ".npy", ".json", ".bin"};
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    size_t length = strlen(path), suffix = strlen(suffixes[i]);
    if (length > suffix && strcmp(path + length - suffix, suffixes[i]) == 0) return "";
  }
  return is_hub_name(path) ? "; a model of the Hugging Face Hub is downloaded first, with `hf download NAME --local-dir DIR`" : "";
}
