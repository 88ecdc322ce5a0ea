/* The activations that the compiler has built in, as one writes them in C: once in float, once with the literals and functions of double
 * that are often left in float functions. bench/activations.py times them against the built-in ones. */
#include <math.h>

float relu(float x) { return x > 0 ? x : 0; }
float relu_fmax(float x) { return fmaxf(x, 0); }
float relu_double(float x) { return x > 0.0 ? x : 0.0; }

float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
float gelu_double(float x) { return 0.5 * x * (1.0 + erff(x / sqrtf(2.0))); }

float gelu_new(float x) { return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x))); }
float gelu_new_powf(float x) { return 0.5f * x * (1.0f + tanhf(sqrtf(2.0f / (float)M_PI) * (x + 0.044715f * powf(x, 3.0f)))); }
float gelu_new_double(float x) { return 0.5 * x * (1.0 + tanhf(0.79788456 * (x + 0.044715 * x * x * x))); }

float silu(float x) { return x / (1.0f + expf(-x)); }
float silu_double(float x) { return x / (1.0 + expf(-x)); }

float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
float sigmoid_double(float x) { return 1.0 / (1.0 + expf(-x)); }
