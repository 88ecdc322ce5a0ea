/* weight_embedding: expert embeddings computed from the experts' weights by a small convolution network. */
#include <stdlib.h>

#include "interpreter/evaluate.h"

/* channels x height x width */
typedef struct image {
  size_t channels, height, width;
  double *data;
} image;

/* Each replaces an image by the next one and frees it; data is NULL when memory is short, and stays so. */

static image image_create(size_t channels, size_t height, size_t width) {
  return (image){.channels = channels, .height = height, .width = width, .data = calloc(channels * height * width, sizeof(double))};
}

/* Channel c of the result is the window sum of channel c weighted by filter[c] (NULL: the mean); stride = window, no padding. */
static image windows(image in, size_t window_height, size_t window_width, const double *filter) {
  image out = image_create(in.channels, in.height / window_height, in.width / window_width);
  double mean = 1.0 / (double)(window_height * window_width);
  for (size_t c = 0; in.data && out.data && c < in.channels; c++)
    for (size_t y = 0; y < out.height; y++)
      for (size_t x = 0; x < out.width; x++) {
        double sum = 0;
        for (size_t v = 0; v < window_height; v++)
          for (size_t u = 0; u < window_width; u++) {
            double weight = filter ? filter[(c * window_height + v) * window_width + u] : mean;
            sum += weight * in.data[(c * in.height + y * window_height + v) * in.width + x * window_width + u];
          }
        out.data[(c * out.height + y) * out.width + x] = sum;
      }
  if (!in.data) free(out.data), out.data = NULL;
  free(in.data);
  return out;
}

/* out[c] = sum_i weights[c][i] in[i], pixel by pixel. */
static image pointwise(image in, size_t channels, const double *weights) {
  image out = image_create(channels, in.height, in.width);
  size_t pixels = in.height * in.width;
  for (size_t c = 0; in.data && out.data && c < channels; c++)
    for (size_t i = 0; i < in.channels; i++)
      for (size_t p = 0; p < pixels; p++) out.data[c * pixels + p] += weights[c * in.channels + i] * in.data[i * pixels + p];
  if (!in.data) free(out.data), out.data = NULL;
  free(in.data);
  return out;
}

bool hmoec_evaluate_weight_embedding(hmoec_evaluation *e) {
  size_t n = hmoec_evaluation_dim(e, 0, 0), f = hmoec_evaluation_dim(e, 0, 1), h = hmoec_evaluation_dim(e, 0, 2);
  size_t channels = hmoec_evaluation_dim(e, 3, 0), width = hmoec_evaluation_dim(e, 5, 0);
  for (size_t expert = 0; expert < n; expert++) {
    image picture = image_create(2, f, h);
    for (size_t i = 0; picture.data && i < f; i++)
      for (size_t j = 0; j < h; j++) {
        picture.data[i * h + j] = e->operands[0][(expert * f + i) * h + j];
        picture.data[(f + i) * h + j] = e->operands[1][(expert * h + j) * f + i];
      }
    picture = windows(picture, 5, 5, e->operands[2]);
    picture = pointwise(picture, channels, e->operands[3]);
    picture = windows(picture, 16, 6, NULL);
    picture = windows(picture, 3, 3, e->operands[4]);
    picture = pointwise(picture, width, e->operands[5]);
    picture = windows(picture, 8, 8, NULL);
    if (!picture.data) return false;
    for (size_t c = 0; c < width; c++) e->results[0].data[expert * width + c] = picture.data[c];
    free(picture.data);
  }
  return true;
}
