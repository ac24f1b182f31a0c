// A cairo canvas with the few shapes and texts that our pictures use; it ends as a PNG file. Text
// is laid out here, in words, because cairo's own text calls draw one line.
#pragma once

#include <cairo.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fusec/io/image.h"

namespace fusec::examples {

struct Colour {
  double r, g, b;  // 0..1
};
constexpr Colour colour(uint32_t hex) {
  return {(hex >> 16 & 255) / 255.0, (hex >> 8 & 255) / 255.0, (hex & 255) / 255.0};
}
inline constexpr Colour kPaper = colour(0xf4f5f7), kCard = colour(0xffffff),
                        kInk = colour(0x1f2933), kFaint = colour(0x6b7785),
                        kGrid = colour(0xe3e7eb);

// `text` with control characters and bytes that are not UTF-8 replaced by U+FFFD: cairo stops
// drawing at such text, and a model's guess may hold any bytes.
std::string printable(const std::string& text);

class Canvas {
 public:
  // All kPaper. A size in pixels that cairo cannot hold is a user Error.
  Canvas(int width, int height);
  ~Canvas();
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  cairo_t* cairo() { return cairo_; }  // owned by the canvas

  void ink(const Colour& colour);              // of what is drawn next
  void font(double size, bool bold = false);   // of what is written next; size in pixels

  // Texts below must be printable().
  double text_width(const std::string& text);
  // `align` 0: x is the left end, 0.5: the middle, 1: the right end. y is the baseline.
  void text(double x, double y, const std::string& text, double align = 0);
  // Breaks at spaces into at most `limit` lines of `width` pixels; what does not fit ends in an
  // ellipsis.
  std::vector<std::string> wrap(std::string text, double width, size_t limit);

  // Adds a rectangle with round corners to the path.
  void rounded(double x, double y, double width, double height, double radius);
  // Centred in the square at (x, y); enlarged by repeating pixels, reduced by filtering.
  void image(const io::Image& image, double x, double y, double side);

  void save(const std::string& path);

 private:
  std::string with_ellipsis(std::string text, double width);
  void release();

  int width_, height_;
  cairo_surface_t* surface_;
  cairo_t* cairo_;
};

}  // namespace fusec::examples
