/* Stands between a program and the C library (LD_PRELOAD), and counts the calls that change files or folders, or read from
   files. Before the call of a number the process gets a signal, or the call fails instead of being made. What is asked for
   stands in the environment:

   RECOST_CALL_KIND   change, read
   RECOST_CALL_AT     the number of the call, from 1
   RECOST_CALL_SIGNAL the number of the signal
   RECOST_CALL_ERRNO  the number of the error
   RECOST_CALL_RENAME the path of a file that then takes the place of another
   RECOST_CALL_TO     the path of that other
   RECOST_CALL_COUNT  a file that the numbers of changes and reads are written to at the end
   RECOST_CLOCK       seconds by which the clock is wrong */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { CHANGE, READ };

static long counted[2];
static long at, fails, number, wrong;
static const char *from, *to;
static enum kind wanted;

static long of_environment(const char *name) {
    const char *value = getenv(name);
    return value ? atol(value) : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *kind = getenv("RECOST_CALL_KIND");
    wanted = kind && strcmp(kind, "read") == 0 ? READ : CHANGE;
    at = of_environment("RECOST_CALL_AT");
    number = of_environment("RECOST_CALL_SIGNAL");
    fails = of_environment("RECOST_CALL_ERRNO");
    wrong = of_environment("RECOST_CLOCK");
    from = getenv("RECOST_CALL_RENAME");
    to = getenv("RECOST_CALL_TO");
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("RECOST_CALL_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld %ld\n", counted[CHANGE], counted[READ]);
        fclose(file);
    }
}

/* Whether the call is to fail. */
static int call(enum kind kind) {
    long n = __atomic_add_fetch(&counted[kind], 1, __ATOMIC_SEQ_CST);
    if (n != at || kind != wanted)
        return 0;
    if (fails) {
        errno = (int)fails;
        return 1;
    }
    if (from && to) {
        renameat(AT_FDCWD, from, AT_FDCWD, to);
        return 0;
    }
    kill(getpid(), (int)number);
    /* SIGKILL takes effect before anything else is done. */
    while (number == SIGKILL)
        pause();
    return 0;
}

static int is_file(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
}

#define BETWEEN(result, name, parameters, arguments, kind, condition)                                                          \
    result name parameters {                                                                                                   \
        static result(*next) parameters;                                                                                       \
        if (!next)                                                                                                             \
            next = (result(*) parameters)dlsym(RTLD_NEXT, #name);                                                              \
        if ((condition) && call(kind))                                                                                         \
            return -1;                                                                                                         \
        return next arguments;                                                                                                 \
    }

/* Opening makes a change where it may make a file. */
static int opens(int (*next)(int, const char *, int, ...), int dir, const char *path, int flags, mode_t mode) {
    if ((flags & O_CREAT) && call(CHANGE))
        return -1;
    return next(dir, path, flags, mode);
}

#define OPENS(name, parameters, dir)                                                                                           \
    int name parameters {                                                                                                      \
        static int (*next)(int, const char *, int, ...);                                                                       \
        va_list more;                                                                                                          \
        mode_t mode = 0;                                                                                                       \
        if (!next)                                                                                                             \
            next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");                                         \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                                   \
            va_start(more, flags);                                                                                             \
            mode = va_arg(more, mode_t);                                                                                       \
            va_end(more);                                                                                                      \
        }                                                                                                                      \
        return opens(next, dir, path, flags, mode);                                                                            \
    }

OPENS(open, (const char *path, int flags, ...), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD)
OPENS(openat, (int dir, const char *path, int flags, ...), dir)
OPENS(openat64, (int dir, const char *path, int flags, ...), dir)

DIR *opendir(const char *path) {
    static DIR *(*next)(const char *);
    if (!next)
        next = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    return call(READ) ? NULL : next(path);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = next(clock, now);
    if (done == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += wrong;
    return done;
}

BETWEEN(int, rename, (const char *from, const char *to), (from, to), CHANGE, 1)
BETWEEN(int, link, (const char *from, const char *to), (from, to), CHANGE, 1)
BETWEEN(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), CHANGE, 1)
BETWEEN(int, symlink, (const char *target, const char *path), (target, path), CHANGE, 1)
BETWEEN(int, unlink, (const char *path), (path), CHANGE, 1)
BETWEEN(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), CHANGE, 1)
BETWEEN(int, mkdir, (const char *path, mode_t mode), (path, mode), CHANGE, 1)
BETWEEN(int, rmdir, (const char *path), (path), CHANGE, 1)
BETWEEN(int, fsync, (int fd), (fd), CHANGE, 1)
BETWEEN(int, fdatasync, (int fd), (fd), CHANGE, 1)
BETWEEN(ssize_t, write, (int fd, const void *bytes, size_t length), (fd, bytes, length), CHANGE, is_file(fd))
BETWEEN(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), CHANGE, is_file(fd))
BETWEEN(ssize_t, read, (int fd, void *bytes, size_t length), (fd, bytes, length), READ, is_file(fd))
BETWEEN(ssize_t, pread64, (int fd, void *bytes, size_t length, off64_t from), (fd, bytes, length, from), READ, is_file(fd))
