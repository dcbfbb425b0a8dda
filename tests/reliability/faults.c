/* Faults at the border between a process and its files, by LD_PRELOAD: the n-th call that changes anything below a
 * folder ends the process before it is made (a write: when half is written), or brings another signal, or fails, as do
 * all later ones. Nothing in the product knows of it.
 *
 * The process itself says when: faults_arm() through ctypes. Until then all calls pass. If it names a file too, each
 * call that succeeds is written into that, a line each: its name and the files, between tabs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* What happens: 0 nothing, the calls are counted; the errno with which calls fail; or minus a signal's number.
 * Minus SIGSTOP stops the process at each call from that one on, as SIGKILL would end it: amid the data of a write. */

static char below[PATH_MAX];
static size_t below_length;
static long calls, last;
static int how, no_exchange, log_file = -1;

void faults_arm(const char *folder, long call, int what, int without_exchange, const char *log) {
  below_length = strlen(strncpy(below, folder, sizeof below - 1));
  calls = 0;
  last = call;
  how = what;
  no_exchange = without_exchange;
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  if (*log) log_file = real(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

long faults_calls(void) { return calls; }

/* The whole path of one that is relative to an open folder, or of an open file where path is NULL; NULL if none. */
static const char *whole_path(int folder, const char *path, char *whole) {
  if (path && (path[0] == '/' || folder == AT_FDCWD)) return path;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t length = readlink(link, whole, PATH_MAX - 1);
  if (length < 0) return NULL;
  whole[length] = 0;
  if (path) snprintf(whole + length, PATH_MAX - length, "/%s", path);
  return whole;
}

static int concerns(int folder, const char *path) {
  char whole[PATH_MAX];
  if (!below_length) return 0;
  path = whole_path(folder, path, whole);
  return path && !strncmp(path, below, below_length);
}

/* Logs a call that has succeeded; gives back its result. */
static long done(long result, const char *name, int folder, const char *path, const char *to) {
  char whole[PATH_MAX], line[3 * PATH_MAX];
  if (result < 0 || log_file < 0 || !concerns(folder, path)) return result;
  int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", name, whole_path(folder, path, whole), to);
  ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
  if (real(log_file, line, length) < 0) perror("faults");
  return result;
}

/* Counts a call; 1 if it must fail. Calls that only remove never fail: a full disk lets one delete. */
static int fails(int concerned, int removes, int fd, const void *data, size_t size) {
  if (!concerned) return 0;
  ++calls;
  if (!last || calls < last || how == 0) return 0;
  if (how > 0) {
    if (removes) return 0;
    errno = how;
    return 1;
  }
  if (how != -SIGKILL && how != -SIGSTOP) {
    if (calls == last) raise(-how);
    return 0;
  }
  if (data) { /* a write stops amid */
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (real(fd, data, size / 2) < 0) perror("faults");
  }
  kill(getpid(), -how);
  if (how == -SIGSTOP) return 0;
  for (;;) pause();
}

/* Bytes of a write that `fails` has written already. */
static size_t begun(int concerned, size_t size) {
  return concerned && how == -SIGSTOP && last && calls >= last ? size / 2 : 0;
}

static int concerns_fd(int fd) { return concerns(fd, NULL); }

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)
#define OPEN(name)                                                                                  \
  int name(const char *path, int flags, ...) {                                                      \
    va_list more;                                                                                   \
    va_start(more, flags);                                                                          \
    mode_t mode = va_arg(more, mode_t);                                                             \
    va_end(more);                                                                                   \
    int writes = (flags & (O_CREAT | O_TRUNC)) != 0;                                                \
    if (fails(writes && concerns(AT_FDCWD, path), 0, -1, NULL, 0)) return -1;                       \
    int made = (flags & O_CREAT) && access(path, F_OK);                                             \
    int fd = REAL(name, path, flags, mode);                                                         \
    if (made) done(fd, "create", AT_FDCWD, path, "");                                               \
    return flags & O_TRUNC ? done(fd, "write", AT_FDCWD, path, "") : fd;                            \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) {
  int concerned = concerns_fd(fd);
  if (fails(concerned, 0, fd, data, size)) return -1;
  size_t first = begun(concerned, size);
  ssize_t rest = REAL(write, fd, (const char *)data + first, size - first);
  return done(rest < 0 ? rest : (ssize_t)first + rest, "write", fd, NULL, "");
}
int fsync(int fd) {
  if (fails(concerns_fd(fd), 0, -1, NULL, 0)) return -1;
  return done(REAL(fsync, fd), "fsync", fd, NULL, "");
}
int ftruncate64(int fd, off64_t size) {
  if (fails(concerns_fd(fd), 1, -1, NULL, 0)) return -1;
  return done(REAL(ftruncate64, fd, size), "write", fd, NULL, "");
}
int rename(const char *from, const char *to) {
  if (fails(concerns(AT_FDCWD, to), 0, -1, NULL, 0)) return -1;
  return done(REAL(rename, from, to), "rename", AT_FDCWD, from, to);
}
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  if (no_exchange && flags) {
    errno = EINVAL;
    return -1;
  }
  if (fails(concerns(to_folder, to), 0, -1, NULL, 0)) return -1;
  long result = REAL(renameat2, from_folder, from, to_folder, to, flags);
  return done(result, flags ? "exchange" : "rename", from_folder, from, to);
}
int mkdir(const char *path, mode_t mode) {
  if (fails(concerns(AT_FDCWD, path), 0, -1, NULL, 0)) return -1;
  return done(REAL(mkdir, path, mode), "create", AT_FDCWD, path, "");
}
int rmdir(const char *path) {
  if (fails(concerns(AT_FDCWD, path), 1, -1, NULL, 0)) return -1;
  return REAL(rmdir, path);
}
int unlink(const char *path) {
  if (fails(concerns(AT_FDCWD, path), 1, -1, NULL, 0)) return -1;
  return REAL(unlink, path);
}
int unlinkat(int folder, const char *path, int flags) {
  if (fails(concerns(folder, path), 1, -1, NULL, 0)) return -1;
  return REAL(unlinkat, folder, path, flags);
}
