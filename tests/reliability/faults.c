/* Faults at the border between a process and its files, by LD_PRELOAD: the n-th call that changes anything below a
 * folder ends the process before it is made (a write: when half is written), or brings another signal, or fails, as do
 * all later ones. Nothing in the product knows of it.
 *
 * The process itself says when: faults_arm() through ctypes. Until then all calls pass. */
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

/* What happens: 0 nothing, the calls are counted; the errno with which calls fail; or minus a signal's number. */

static char below[PATH_MAX];
static size_t below_length;
static long calls, last;
static int how, no_exchange;

void faults_arm(const char *folder, long call, int what, int without_exchange) {
  below_length = strlen(strncpy(below, folder, sizeof below - 1));
  calls = 0;
  last = call;
  how = what;
  no_exchange = without_exchange;
}

long faults_calls(void) { return calls; }

static int concerns(int folder, const char *path) {
  char whole[PATH_MAX];
  if (!below_length || !path) return 0;
  if (path[0] != '/' && folder != AT_FDCWD) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, sizeof whole - 1);
    if (length < 0) return 0;
    whole[length] = 0;
    path = whole;
  }
  return !strncmp(path, below, below_length);
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
  if (how != -SIGKILL) {
    if (calls == last) raise(-how);
    return 0;
  }
  if (data) { /* a write stops amid */
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (real(fd, data, size / 2) < 0) perror("faults");
  }
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static int concerns_fd(int fd) { return below_length && concerns(fd, "."); }

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)
#define OPEN(name)                                                                                  \
  int name(const char *path, int flags, ...) {                                                      \
    va_list more;                                                                                   \
    va_start(more, flags);                                                                          \
    mode_t mode = va_arg(more, mode_t);                                                             \
    va_end(more);                                                                                   \
    int writes = (flags & (O_CREAT | O_TRUNC)) != 0;                                                \
    if (fails(writes && concerns(AT_FDCWD, path), 0, -1, NULL, 0)) return -1;                       \
    return REAL(name, path, flags, mode);                                                           \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) {
  if (fails(concerns_fd(fd), 0, fd, data, size)) return -1;
  return REAL(write, fd, data, size);
}
int fsync(int fd) {
  if (fails(concerns_fd(fd), 0, -1, NULL, 0)) return -1;
  return REAL(fsync, fd);
}
int ftruncate64(int fd, off64_t size) {
  if (fails(concerns_fd(fd), 1, -1, NULL, 0)) return -1;
  return REAL(ftruncate64, fd, size);
}
int rename(const char *from, const char *to) {
  if (fails(concerns(AT_FDCWD, to), 0, -1, NULL, 0)) return -1;
  return REAL(rename, from, to);
}
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  if (no_exchange && flags) {
    errno = EINVAL;
    return -1;
  }
  if (fails(concerns(to_folder, to), 0, -1, NULL, 0)) return -1;
  return REAL(renameat2, from_folder, from, to_folder, to, flags);
}
int mkdir(const char *path, mode_t mode) {
  if (fails(concerns(AT_FDCWD, path), 0, -1, NULL, 0)) return -1;
  return REAL(mkdir, path, mode);
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
