/* Activations and scores that the tests of the command line name. */
#include <math.h>

#ifndef SLOPE
#define SLOPE 0.25f
#endif

float squared_relu(float x) {
  float y = x > 0 ? x : 0;
  return y * y;
}
float leaky(float x) { return x > 0 ? x : SLOPE * x; }
float swish(float x) { return x / (1.0f + expf(-x)); }
float relu(float x) { return x > 0 ? x : 0; }

/* Not finite where the rows that fill a block are. */
float reciprocal(float x) { return 1 / x; }
float hole(float x) { return x == 0 ? INFINITY : x > 0 ? x : 0; }

/* Named as the model and as an entry of its object. */
float moe_layer(float x) { return x > 0 ? x : 0.5f * x; }
float run(float x) { return fabsf(x); }

/* What the C library computes, in double. */
float library(float x) { return (float)(sinh(x > 3 ? 3 : x < -3 ? -3 : x) * 0.25 + atan(x) + cbrt(x) * 0.1); }

/* What is an instruction on some CPUs, and on others several. */
float rounding(float x) {
  double y = x;
  return truncf(x) + floorf(x) * 0.5f + ceilf(x) * 0.25f + roundf(x) * 0.125f + rintf(x) * 0.0625f + fmaf(x, x, 1) +
         (float)(trunc(y) + floor(y) + ceil(y) + round(y) + rint(y));
}

float swiglu(float gate, float up) {
  const float alpha = 1.702f, limit = 1.0f;
  gate = fminf(gate, limit);
  up = fmaxf(fminf(up, limit), -limit);
  return gate / (1.0f + expf(-alpha * gate)) * (up + 1);
}

float score(float logit) { return sqrtf(log1pf(expf(logit))); }
float saturating(float logit) { return logit > 0.2f ? 1 : logit < -0.2f ? 0 : 0.5f + 2.5f * logit; }
float not_finite(float logit) { return logit > 0 ? -0.0f : logit < -0.5f ? NAN : 0; }
