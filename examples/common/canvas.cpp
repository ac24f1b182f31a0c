// Shapes and texts -> cairo calls -> a PNG file; see canvas.h.
#include "canvas.h"

#include <algorithm>
#include <numbers>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"

namespace fusec::examples {

std::string printable(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    const bool control = static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f;
    result += length == 0 || control ? "\xef\xbf\xbd" : text.substr(i, length);
    i += std::max<size_t>(length, 1);
  }
  return result;
}

Canvas::Canvas(int width, int height)
    : width_(width),
      height_(height),
      surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height)),
      cairo_(cairo_create(surface_)) {
  if (cairo_status(cairo_) != CAIRO_STATUS_SUCCESS) {
    const std::string reason = cairo_status_to_string(cairo_status(cairo_));
    release();
    fail_user("cannot draw a picture of " + std::to_string(width) + " x " +
              std::to_string(height) + " pixels: " + reason);
  }
  ink(kPaper);
  cairo_paint(cairo_);
}

Canvas::~Canvas() { release(); }

void Canvas::release() {
  cairo_destroy(cairo_);
  cairo_surface_destroy(surface_);
}

void Canvas::ink(const Colour& colour) {
  cairo_set_source_rgb(cairo_, colour.r, colour.g, colour.b);
}

void Canvas::font(double size, bool bold) {
  cairo_select_font_face(cairo_, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo_, size);
}

double Canvas::text_width(const std::string& text) {
  cairo_text_extents_t extents;
  cairo_text_extents(cairo_, text.c_str(), &extents);
  return extents.x_advance;
}

void Canvas::text(double x, double y, const std::string& text, double align) {
  cairo_move_to(cairo_, x - align * text_width(text), y);
  cairo_show_text(cairo_, text.c_str());
}

std::string Canvas::with_ellipsis(std::string text, double width) {
  while (!text.empty() && text_width(text + "…") > width) {
    while (text.size() > 1 && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80)
      text.pop_back();
    text.pop_back();
    while (!text.empty() && text.back() == ' ') text.pop_back();
  }
  return text + "…";
}

std::vector<std::string> Canvas::wrap(std::string text, double width, size_t limit) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < limit) {
    if (text_width(text) <= width) {
      lines.push_back(text);
      break;
    }
    size_t fitting = 0;
    for (size_t space = text.find(' '); space != std::string::npos;
         space = text.find(' ', space + 1)) {
      if (text_width(text.substr(0, space)) <= width) fitting = space;
    }
    if (fitting == 0 || lines.size() + 1 == limit) {
      lines.push_back(with_ellipsis(text, width));
      break;
    }
    lines.push_back(text.substr(0, fitting));
    text.erase(0, fitting + 1);
  }
  return lines;
}

void Canvas::rounded(double x, double y, double width, double height, double radius) {
  const double quarter = std::numbers::pi / 2;
  cairo_new_sub_path(cairo_);
  cairo_arc(cairo_, x + width - radius, y + radius, radius, -quarter, 0);
  cairo_arc(cairo_, x + width - radius, y + height - radius, radius, 0, quarter);
  cairo_arc(cairo_, x + radius, y + height - radius, radius, quarter, 2 * quarter);
  cairo_arc(cairo_, x + radius, y + radius, radius, 2 * quarter, 3 * quarter);
  cairo_close_path(cairo_);
}

void Canvas::image(const io::Image& image, double x, double y, double side) {
  if (image.width < 1 || image.height < 1) return;
  const int stride = cairo_format_stride_for_width(CAIRO_FORMAT_RGB24, image.width);
  std::vector<unsigned char> pixels(static_cast<size_t>(stride) * image.height);
  for (int row = 0; row < image.height; ++row) {
    auto* target = reinterpret_cast<uint32_t*>(&pixels[static_cast<size_t>(stride) * row]);
    const uint8_t* source = &image.rgb[size_t{3} * image.width * row];
    for (int i = 0; i < image.width; ++i, source += 3)
      target[i] = uint32_t{source[0]} << 16 | uint32_t{source[1]} << 8 | source[2];
  }
  cairo_surface_t* surface = cairo_image_surface_create_for_data(
      pixels.data(), CAIRO_FORMAT_RGB24, image.width, image.height, stride);
  const double scale = side / std::max(image.width, image.height);
  cairo_save(cairo_);
  cairo_translate(cairo_, x + (side - scale * image.width) / 2,
                  y + (side - scale * image.height) / 2);
  cairo_scale(cairo_, scale, scale);
  cairo_set_source_surface(cairo_, surface, 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cairo_),
                           scale >= 1 ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD);
  cairo_paint(cairo_);
  cairo_restore(cairo_);
  cairo_surface_destroy(surface);
}

void Canvas::save(const std::string& path) {
  cairo_surface_flush(surface_);
  if (cairo_status(cairo_) != CAIRO_STATUS_SUCCESS) {
    fail_internal(path + ": drawing failed: " + cairo_status_to_string(cairo_status(cairo_)));
  }
  io::Image image = io::solid(width_, height_, 0, 0, 0);
  const unsigned char* data = cairo_image_surface_get_data(surface_);
  const int stride = cairo_image_surface_get_stride(surface_);
  for (int y = 0; y < height_; ++y) {
    const auto* row = reinterpret_cast<const uint32_t*>(data + static_cast<ptrdiff_t>(y) * stride);
    uint8_t* target = &image.rgb[size_t{3} * width_ * y];
    for (int x = 0; x < width_; ++x, target += 3) {
      target[0] = static_cast<uint8_t>(row[x] >> 16);
      target[1] = static_cast<uint8_t>(row[x] >> 8);
      target[2] = static_cast<uint8_t>(row[x]);
    }
  }
  io::write_png(path, image);
}

}  // namespace fusec::examples
