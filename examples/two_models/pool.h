/* A small thread pool of the application's own, to show how hmoe runs on threads that it does not make. */
#ifndef POOL_H
#define POOL_H

#include <hmoe/runtime.h>

typedef struct pool pool;

/* `threads` counts the calling thread: threads - 1 are made. NULL when memory or threads are short. */
pool *pool_create(size_t threads);
/* No loop may be running. NULL is allowed. */
void pool_destroy(pool *pool);
/* The pool as hmoe takes it; valid until pool_destroy. */
hmoe_executor pool_executor(pool *pool);

#endif
