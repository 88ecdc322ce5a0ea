/* Whether the test runs under the address sanitizer, which sees what makes code and not the code that is made: numbers of that, and more than one
 * version of it, are then the other builds'. */
#ifndef HMOEC_TESTS_SANITIZED_H
#define HMOEC_TESTS_SANITIZED_H

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif
