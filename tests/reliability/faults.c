/* Counts the calls that change files below a folder, and at one of them kills the process or lets the call fail.
 *
 * It is loaded before the C library (LD_PRELOAD). faults_arm starts to count; every call is a line of the log.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAKES = 1, MOVES = 2, REMOVES = 4, FLUSHES = 8 };

static char below[PATH_MAX];
static long at, calls;
static int number, lasting, log_to = -1;

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

/* at_call 0 only counts. An error of 0 kills. Kinds in lasting go on failing after at_call. */
void faults_arm(const char *folder, long at_call, int error, int kinds, int log_descriptor) {
  snprintf(below, sizeof below, "%s/", folder);
  at = at_call; number = error; lasting = kinds; log_to = log_descriptor;
  __atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
}

static void named(int folder, const char *path, char *full) {
  char link[64], base[PATH_MAX] = "";
  if (path && path[0] == '/') { snprintf(full, PATH_MAX, "%s", path); return; }
  if (folder == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
  else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, base, sizeof base - 1);
    base[size < 0 ? 0 : size] = 0;
  }
  if (path) { size_t used = strlen(base); snprintf(full, PATH_MAX, "%s/%.*s", base, (int)(PATH_MAX - used - 2), path); }
  else snprintf(full, PATH_MAX, "%s", base);
}

/* Whether this call fails; *torn is set instead if half of a write is to be done before the process is killed. */
static int fails(const char *call, int kind, int folder, const char *path, int *torn) {
  char full[PATH_MAX], line[PATH_MAX + 64];
  if (log_to < 0) return 0;
  named(folder, path, full);
  if (strncmp(full, below, strlen(below)) != 0) return 0;
  long this = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  static ssize_t (*write_real)(int, const void *, size_t);
  if (!write_real) write_real = dlsym(RTLD_NEXT, "write");
  int size = snprintf(line, sizeof line, "%s %s\n", call, full + strlen(below));
  if (write_real(log_to, line, size) < 0) return 0;
  if (at == 0 || this < at) return 0;
  if (number == 0) { if (torn) { *torn = 1; return 0; } kill(getpid(), SIGKILL); for (;;) pause(); }
  if (this > at && !(kind & lasting)) return 0;
  errno = number;
  return 1;
}

int fsync(int fd) { REAL(int, "fsync", int); return fails("fsync", FLUSHES, fd, 0, 0) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return fails("fdatasync", FLUSHES, fd, 0, 0) ? -1 : real(fd); }
int rename(const char *a, const char *b) {
  REAL(int, "rename", const char *, const char *);
  return fails("rename", MOVES, AT_FDCWD, b, 0) ? -1 : real(a, b);
}
int renameat(int f, const char *a, int g, const char *b) {
  REAL(int, "renameat", int, const char *, int, const char *);
  return fails("rename", MOVES, g, b, 0) ? -1 : real(f, a, g, b);
}
int link(const char *a, const char *b) {
  REAL(int, "link", const char *, const char *);
  return fails("link", MAKES, AT_FDCWD, b, 0) ? -1 : real(a, b);
}
int linkat(int f, const char *a, int g, const char *b, int flags) {
  REAL(int, "linkat", int, const char *, int, const char *, int);
  return fails("link", MAKES, g, b, 0) ? -1 : real(f, a, g, b, flags);
}
int symlink(const char *a, const char *b) {
  REAL(int, "symlink", const char *, const char *);
  return fails("symlink", MAKES, AT_FDCWD, b, 0) ? -1 : real(a, b);
}
int unlink(const char *a) {
  REAL(int, "unlink", const char *);
  return fails("unlink", REMOVES, AT_FDCWD, a, 0) ? -1 : real(a);
}
int unlinkat(int f, const char *a, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  return fails(flags & AT_REMOVEDIR ? "rmdir" : "unlink", REMOVES, f, a, 0) ? -1 : real(f, a, flags);
}
int rmdir(const char *a) {
  REAL(int, "rmdir", const char *);
  return fails("rmdir", REMOVES, AT_FDCWD, a, 0) ? -1 : real(a);
}
int mkdir(const char *a, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  return fails("mkdir", MAKES, AT_FDCWD, a, 0) ? -1 : real(a, mode);
}
int mkdirat(int f, const char *a, mode_t mode) {
  REAL(int, "mkdirat", int, const char *, mode_t);
  return fails("mkdir", MAKES, f, a, 0) ? -1 : real(f, a, mode);
}
ssize_t write(int fd, const void *data, size_t size) {
  int torn = 0;
  REAL(ssize_t, "write", int, const void *, size_t);
  if (fails("write", MAKES, fd, 0, &torn)) return -1;
  if (torn) { if (real(fd, data, size / 2) < 0) {} kill(getpid(), SIGKILL); for (;;) pause(); }
  return real(fd, data, size);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
  int torn = 0;
  REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t);
  if (fails("sendfile", MAKES, out, 0, &torn)) return -1;
  if (torn) { if (real(out, in, offset, 100) < 0) {} kill(getpid(), SIGKILL); for (;;) pause(); }
  return real(out, in, offset, size);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
  REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
  return fails("copy", MAKES, out, 0, 0) ? -1 : real(in, from, out, to, size, flags);
}
static int makes(int flags) { return flags & (O_CREAT | O_TRUNC); }
static mode_t mode_of(int flags, va_list rest) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}
#define OPEN(name)                                                                                \
  int name(const char *path, int flags, ...) {                                                    \
    va_list rest; va_start(rest, flags); mode_t mode = mode_of(flags, rest); va_end(rest);         \
    REAL(int, #name, const char *, int, ...);                                                      \
    return makes(flags) && fails("open", MAKES, AT_FDCWD, path, 0) ? -1 : real(path, flags, mode); \
  }
#define OPENAT(name)                                                                              \
  int name(int folder, const char *path, int flags, ...) {                                        \
    va_list rest; va_start(rest, flags); mode_t mode = mode_of(flags, rest); va_end(rest);         \
    REAL(int, #name, int, const char *, int, ...);                                                 \
    return makes(flags) && fails("open", MAKES, folder, path, 0) ? -1 : real(folder, path, flags, mode); \
  }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)
