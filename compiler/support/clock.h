/* A monotonic clock. */
#ifndef HMOEC_SUPPORT_CLOCK_H
#define HMOEC_SUPPORT_CLOCK_H

/* Seconds since some point in the past, the same one for as long as the machine runs. */
double hmoec_clock_seconds(void);

#endif
