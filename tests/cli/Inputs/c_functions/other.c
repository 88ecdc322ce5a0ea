/* A function of a name that another file has too. */
float leaky(float x) { return x > 0 ? x : 0.125f * x; }
