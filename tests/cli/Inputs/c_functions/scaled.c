#include "scale.h"

float scaled(float x) { return SCALE * TWICE * (x > 0 ? x : 0); }
