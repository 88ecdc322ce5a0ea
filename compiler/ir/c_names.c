#include "ir/c_names.h"

#include <string.h>

#include "plain_text.h"

/* Lists are words between single spaces. */
static const char keywords[] =
    " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await "
    "co_return"
    " co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do double dynamic_cast"
    " else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq"
    " nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return short signed sizeof"
    " static static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename typeof"
    " typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq ";

/* Macros that are there in every program, or as soon as it includes anything. */
static const char macros[] =
    " BUFSIZ EDOM EILSEQ EOF ERANGE EXIT_FAILURE EXIT_SUCCESS HUGE_VAL I INFINITY NAN NULL RAND_MAX SEEK_CUR"
    " SEEK_END SEEK_SET errno i386 linux stderr stdin stdout unix ";

/* Types of the fields. */
static const char field_types[] = " int32_t int64_t ";

/* NAME.h would be found in place of these, which the runtime's headers and programs include. */
static const char headers[] = " aio alloca assert complex cpio ctype dirent dlfcn elf endian err errno fcntl features fenv float"
                              " fnmatch ftw getopt glob grp iconv inttypes iso646 langinfo libgen limits link locale malloc math"
                              " memory monetary mqueue ndbm netdb nl_types poll pthread pwd regex sched search semaphore setjmp"
                              " signal spawn stab stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string"
                              " strings stropts syslog tar termios tgmath threads time uchar ucontext ulimit unistd utime utmpx"
                              " values wait wchar wctype wordexp ";

/* Functions, types and variables of the C library, less those that no model is called; sem, mq and shm have an open of their own. */
static const char library[] =
    " FILE abort abs accept access acct acos acosh alarm asctime asin asinh atan atan2 atanh atexit atof atoi atol atoll basename "
    "bcmp"
    " bcopy bind brk bsearch bzero cabs calloc carg cbrt ceil chdir chmod chown chroot clearerr clock close conj connect copysign "
    "cos"
    " cosh creat creal crypt ctime daemon difftime dirname div double_t drem dup dup2 environ erf erfc execl execv exit exp exp10 "
    "exp2"
    " expm1 fabs fclose fdim feof ferror fflush ffs fgetc fgetpos fgets fileno finite float_t floor flock fma fmax fmin fmod fopen "
    "fork"
    " fpos_t fprintf fputc fputs fread free freopen frexp fscanf fseek fsetpos fsync ftell ftime fwrite gamma getc getchar getcwd"
    " getenv getline getopt getpid getppid gets getuid gmtime htonl hypot ilogb imag index insque ioctl isalnum isalpha isatty "
    "iscntrl"
    " isdigit isfinite isgraph isinf islower isnan isnormal isprint ispunct isspace isupper isxdigit j0 j1 jmp_buf jn kill labs "
    "lchown"
    " ldexp ldiv lfind lgamma link listen llabs lldiv llrint llround localtime lockf log log10 log1p log2 logb longjmp lrint lround"
    " lsearch lseek lstat main malloc max_align_t mblen memccpy memchr memcmp memcpy memmove memset mkdir mkfifo mknod mkstemp "
    "mktemp"
    " mktime mmap modf mount mq nan nearbyint nextafter nice ntohl off_t open optarg opterr optind optopt pause pclose perror pid_t"
    " pipe poll popen pow printf psignal ptrdiff_t putc putchar putenv puts pwrite qsort raise rand random read readdir readlink"
    " readv real realloc reboot recv regcomp regex_t remainder remove remque remquo rename rewind rindex rint rmdir round sbrk "
    "scalb"
    " scalbln scalbn scanf select sem send setbuf setenv setjmp setkey setsid setvbuf shm shutdown sigaction signal signbit signgam"
    " significand sigset_t sin sinh size_t sleep snprintf socket sprintf sqrt srand srandom sscanf ssize_t stat stpcpy strcat "
    "strchr"
    " strcmp strcoll strcpy strcspn strdup strerror strfry strftime strlen strncat strncmp strncpy strndup strpbrk strrchr strsep"
    " strspn strstr strtod strtof strtok strtol strtoll strtoul strxfrm swab symlink sync syscall sysconf system tan tanh tempnam"
    " tgamma time time_t timegm times timezone tmpfile tmpnam tolower toupper trunc truncate ttyname tzname tzset umask uname "
    "ungetc"
    " unlink usleep utime valloc va_list vfork vfprintf vprintf vsnprintf vsprintf wait waitpid write writev y0 y1 yn ";

static bool has_word(const char *list, MlirStringRef name) {
  if (!name.length || memchr(name.data, ' ', name.length)) return false;
  for (const char *at = list + 1; *at;) {
    size_t length = strcspn(at, " ");
    if (length == name.length && memcmp(at, name.data, length) == 0) return true;
    at += length + 1;
  }
  return false;
}

/* An underscore and a capital or another underscore; C++ reserves two underscores anywhere. */
static bool is_reserved(MlirStringRef name) {
  for (size_t i = 0; i + 1 < name.length; i++)
    if (name.data[i] == '_' && (name.data[i + 1] == '_' || (i == 0 && hmoe_plain_is_upper(name.data[1])))) return true;
  return false;
}

/* hmoe, hmoec and what begins so and with an underscore, in any case: include guards are in capitals. */
static bool is_ours(MlirStringRef name) {
  static const char stem[] = "HMOEC";
  size_t same = 0;
  while (same < sizeof stem - 1 && same < name.length && hmoe_plain_upper(name.data[same]) == stem[same]) same++;
  return same >= 4 && (same == name.length || name.data[same] == '_');
}

const char *hmoec_name_taken(MlirStringRef name, bool model) {
  if (has_word(keywords, name)) return "a keyword of C or C++";
  if (has_word(macros, name)) return "a macro of C";
  if (is_reserved(name)) return "a name that C or C++ reserves";
  if (!model) return has_word(field_types, name) ? "a type of C" : NULL;
  if (is_ours(name)) return "a name of the runtime's";
  if (has_word(headers, name)) return "a header of C";
  return has_word(library, name) ? "a name of the C library" : NULL;
}
