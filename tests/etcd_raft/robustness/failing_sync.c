/* Preloaded into a member: as long as the file that FAIL_SYNC names is there, nothing can be synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int sick(void)
{
    const char *flag = getenv("FAIL_SYNC");
    return flag != NULL && access(flag, F_OK) == 0;
}

#define FAILING(name, parameters, arguments)                                   \
    int name parameters                                                        \
    {                                                                          \
        static int (*real) parameters;                                         \
        if (sick()) {                                                          \
            errno = EIO;                                                       \
            return -1;                                                         \
        }                                                                      \
        if (real == NULL)                                                      \
            real = (int (*) parameters)dlsym(RTLD_NEXT, #name);                \
        return real arguments;                                                 \
    }

FAILING(fsync, (int fd), (fd))
FAILING(fdatasync, (int fd), (fd))
FAILING(msync, (void *address, size_t length, int flags), (address, length, flags))
