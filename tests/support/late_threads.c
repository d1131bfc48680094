/* Preloaded into a server: threads that are woken go on late, and the process goes on for a while
 * after its libraries were unloaded. Whatever thread is left of an unloaded library then runs code
 * that is gone, as it does once in a while on a busy machine, and the server ends by SIGSEGV. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int (*real_wait)(pthread_cond_t*, pthread_mutex_t*);

static void pause_ms(long ms) {
  const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
  nanosleep(&time, NULL);
}

static void stay(void) {
  pause_ms(1500);
}

__attribute__((constructor)) static void begin(void) {
  /* glibc has an older one of the same name on x86-64, which dlsym() may find. */
  real_wait = dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2");
  if (real_wait == NULL) real_wait = dlsym(RTLD_NEXT, "pthread_cond_wait");
  /* The wrapper's shell, and what it runs, need not wait. */
  if (strcmp(program_invocation_short_name, "nbdkit") == 0) atexit(stay);
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  const int result = real_wait(condition, mutex);
  if (getpid() != gettid()) {
    pthread_mutex_unlock(mutex);
    pause_ms(400);
    pthread_mutex_lock(mutex);
  }
  return result;
}
