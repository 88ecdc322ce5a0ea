/* Of measured values. */
#ifndef HMOEC_SUPPORT_STATISTICS_H
#define HMOEC_SUPPORT_STATISTICS_H

#include <stddef.h>

/* Ascending. */
void hmoec_sort(double *values, size_t count);
/* Of values that are sorted, one or more: the middle one, or what lies between the two in the middle. */
double hmoec_median(const double *sorted, size_t count);

#endif
