/* Stands between a program and the C library (LD_PRELOAD), and counts the calls that change files or folders, or read from
   files. Before the call of a number the process gets a signal, or the call fails instead of being made. What is asked for
   stands in the environment:

   RECOST_CALL_KIND   change, read
   RECOST_CALL_AT     the number of the call, from 1
   RECOST_CALL_SIGNAL the number of the signal
   RECOST_CALL_ERRNO  the number of the error
   RECOST_CALL_COUNT  a file that the numbers of changes and reads are written to at the end */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CHANGE, READ };

static long counted[2];
static long at, fails, number;
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
