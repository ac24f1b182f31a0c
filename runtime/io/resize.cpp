// Area average of 8-bit RGB pixels: down the columns first, a whole row at a time, then across.
// Sums down are integers in floats, below 2^22, sums across are integers in doubles, below 2^36, so
// that everything but the last division is exact, and that one is made exact (see below). In
// floating point because every instruction set has vectors of it, which it has not of long
// products.
#include <algorithm>

#include "image_checks.h"

namespace fusec::io {
namespace {

// How much of a source pixel lies under each target pixel along one axis, in units of
// 1 / target pixels: the weights of one target pixel sum to `source`.
struct Span {
  int first = 0, count = 0;
  size_t weights = 0;  // where they begin
};

struct Spans {
  std::vector<Span> of;  // by target pixel
  std::vector<int32_t> weights;
};

Spans area_spans(int source, int target) {
  Spans spans;
  spans.of.resize(static_cast<size_t>(target));
  for (int64_t t = 0; t < target; ++t) {
    const int64_t begin = t * source, end = begin + source;
    Span& span = spans.of[static_cast<size_t>(t)];
    span.first = static_cast<int>(begin / target);
    span.weights = spans.weights.size();
    for (int64_t s = begin / target; s * target < end; ++s) {
      spans.weights.push_back(
          static_cast<int32_t>(std::min(end, (s + 1) * target) - std::max(begin, s * target)));
      ++span.count;
    }
  }
  return spans;
}

void sum_down(const Image& image, const Spans& rows, const Span& span, float* out) {
  const size_t size = size_t{3} * image.width;
  for (int j = 0; j < span.count; ++j) {
    const uint8_t* row = &image.rgb[size * static_cast<size_t>(span.first + j)];
    const auto weight = static_cast<float>(rows.weights[span.weights + static_cast<size_t>(j)]);
    if (j == 0) {
      for (size_t i = 0; i < size; ++i) out[i] = weight * row[i];
    } else {
      for (size_t i = 0; i < size; ++i) out[i] += weight * row[i];
    }
  }
}

}  // namespace

Image resize(const Image& image, int width, int height) {
  check_image(image, "resize");
  check_size(width, height, "resize");
  if (width == image.width && height == image.height) return image;
  const Spans columns = area_spans(image.width, width);
  const Spans rows = area_spans(image.height, height);
  const double total = static_cast<double>(int64_t{image.width} * image.height);
  const double share = 1 / (2 * total);

  Image result{width, height, std::vector<uint8_t>(size_t{3} * width * height)};
  const size_t size = size_t{3} * width;
  std::vector<float> down(size_t{3} * image.width);
  std::vector<double> sums(size);
  for (int y = 0; y < height; ++y) {
    sum_down(image, rows, rows.of[static_cast<size_t>(y)], down.data());
    double* sum = sums.data();
    for (const Span& span : columns.of) {
      const float* pixel = &down[size_t{3} * span.first];
      const int32_t* weights = &columns.weights[span.weights];
      double r = 0, g = 0, b = 0;
      for (int i = 0; i < span.count; ++i, pixel += 3) {
        const double weight = weights[i];
        r += weight * pixel[0];
        g += weight * pixel[1];
        b += weight * pixel[2];
      }
      sum[0] = r;
      sum[1] = g;
      sum[2] = b;
      sum += 3;
    }
    // (2 sum + total) / (2 total), rounded down. The half keeps the quotient 2^-29 or more away
    // from the next whole number, and rounding moves it by less than 2^-43.
    uint8_t* target = &result.rgb[size * static_cast<size_t>(y)];
    for (size_t i = 0; i < size; ++i)
      target[i] = static_cast<uint8_t>(static_cast<int>((2 * sums[i] + total + 0.5) * share));
  }
  return result;
}

}  // namespace fusec::io
