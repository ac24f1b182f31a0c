// Curves -> one PNG: a chart with a linear axis from zero and a legend of last values.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "canvas.h"
#include "fusec/base/error.h"
#include "picture.h"

namespace fusec::examples {
namespace {

// 1, 2 or 5 times a power of ten, so that about `count` steps cover `range`.
double tick_step(double range, int count) {
  const double raw = range / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power * 1.0001) return factor * power;
  return 10 * power;
}

std::string number(double value, double step) {
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value == 0 ? 0.0 : value);
  return text;
}

bool finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

struct Axes {
  double left, top, width, height;         // pixels
  double x_min, x_max, y_min, y_max;       // values
  double x(double value) const { return left + (value - x_min) / (x_max - x_min) * width; }
  double y(double value) const { return top + height - (value - y_min) / (y_max - y_min) * height; }
};

// y starts at 0 (a loss has a true zero) unless a value is negative; ends fall on ticks.
Axes fit_axes(const std::string& path, const std::vector<Curve>& curves) {
  double x_min = INFINITY, x_max = -INFINITY, y_min = 0, y_max = -INFINITY;
  for (const Curve& curve : curves) {
    for (const auto& point : curve.points) {
      if (!finite(point)) continue;
      x_min = std::min(x_min, point.first);
      x_max = std::max(x_max, point.first);
      y_min = std::min(y_min, point.second);
      y_max = std::max(y_max, point.second);
    }
  }
  if (!std::isfinite(x_min)) fail_user(path + ": no curve has a finite point to draw");
  if (x_max <= x_min) x_max = x_min + 1;
  if (y_max <= y_min) y_max = y_min + 1;
  const double step = tick_step(y_max - y_min, 6);
  return {72, 28, 780, 400, x_min, x_max, std::floor(y_min / step) * step,
          std::ceil(y_max / step) * step};
}

void draw_grid(Canvas& canvas, const Axes& axes) {
  cairo_t* cairo = canvas.cairo();
  canvas.rounded(axes.left, axes.top, axes.width, axes.height, 4);
  canvas.ink(kCard);
  cairo_fill(cairo);
  canvas.font(12);
  cairo_set_line_width(cairo, 1);
  const double y_step = tick_step(axes.y_max - axes.y_min, 6);
  for (int i = 0; axes.y_min + i * y_step <= axes.y_max + y_step / 2; ++i) {
    const double value = axes.y_min + i * y_step, y = std::round(axes.y(value)) + 0.5;
    canvas.ink(kGrid);
    cairo_move_to(cairo, axes.left, y);
    cairo_line_to(cairo, axes.left + axes.width, y);
    cairo_stroke(cairo);
    canvas.ink(kFaint);
    canvas.text(axes.left - 10, y + 4, number(value, y_step), 1);
  }
  const double x_step = tick_step(axes.x_max - axes.x_min, 8);
  for (double i = std::ceil(axes.x_min / x_step); i * x_step <= axes.x_max + x_step * 1e-6; ++i) {
    const double value = i * x_step, x = std::round(axes.x(value)) + 0.5;
    canvas.ink(kGrid);
    cairo_move_to(cairo, x, axes.top + axes.height);
    cairo_line_to(cairo, x, axes.top + axes.height + 5);
    cairo_stroke(cairo);
    canvas.ink(kFaint);
    canvas.text(x, axes.top + axes.height + 21, number(value, x_step), 0.5);
  }
  canvas.text(axes.left + axes.width / 2, axes.top + axes.height + 44, "step", 0.5);
  cairo_save(cairo);
  cairo_translate(cairo, 22, axes.top + axes.height / 2);
  cairo_rotate(cairo, -std::numbers::pi / 2);
  canvas.text(0, 0, "loss", 0.5);
  cairo_restore(cairo);
}

// Okabe and Ito's colours, which stay apart for colour-blind eyes.
constexpr std::array<Colour, 6> kCurveColours = {colour(0x0072b2), colour(0xd55e00),
                                                 colour(0x009e73), colour(0xcc79a7),
                                                 colour(0xe69f00), colour(0x56b4e9)};

void draw_curve(Canvas& canvas, const Axes& axes, const Curve& curve, const Colour& ink) {
  cairo_t* cairo = canvas.cairo();
  canvas.ink(ink);
  cairo_set_line_width(cairo, 2);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  bool pen_down = false;
  for (const auto& point : curve.points) {
    if (!finite(point)) {
      pen_down = false;
      continue;
    }
    const double x = axes.x(point.first), y = axes.y(point.second);
    if (pen_down) cairo_line_to(cairo, x, y);
    else cairo_move_to(cairo, x, y);
    pen_down = true;
  }
  cairo_stroke(cairo);
  if (curve.points.size() > 60) return;
  for (const auto& point : curve.points) {
    if (!finite(point)) continue;
    cairo_arc(cairo, axes.x(point.first), axes.y(point.second), 3, 0, 2 * std::numbers::pi);
    cairo_fill(cairo);
  }
}

// The last finite value of a curve, behind its name: what one looks for first.
std::string legend_text(const Curve& curve) {
  std::string text = printable(curve.name);
  for (auto point = curve.points.rbegin(); point != curve.points.rend(); ++point) {
    if (!finite(*point)) continue;
    char value[32];
    std::snprintf(value, sizeof value, "  %.3f", point->second);
    return text + value;
  }
  return text;
}

}  // namespace

void write_loss_curve(const std::string& path, const std::vector<Curve>& curves) {
  const Axes axes = fit_axes(path, curves);
  Canvas canvas(880, 496);
  draw_grid(canvas, axes);
  for (size_t i = 0; i < curves.size(); ++i)
    draw_curve(canvas, axes, curves[i], kCurveColours[i % kCurveColours.size()]);

  canvas.font(12.5);
  cairo_t* cairo = canvas.cairo();
  double widest = 0;
  for (const Curve& curve : curves)
    widest = std::max(widest, canvas.text_width(legend_text(curve)));
  const double box_width = widest + 50, box_x = axes.left + axes.width - box_width - 12;
  const double box_y = axes.top + 12;
  canvas.rounded(box_x, box_y, box_width, 22.0 * static_cast<double>(curves.size()) + 12, 5);
  cairo_set_source_rgba(cairo, 1, 1, 1, 0.88);
  cairo_fill_preserve(cairo);
  canvas.ink(kGrid);
  cairo_set_line_width(cairo, 1);
  cairo_stroke(cairo);
  for (size_t i = 0; i < curves.size(); ++i) {
    const double y = box_y + 22.0 * static_cast<double>(i) + 17;
    canvas.ink(kCurveColours[i % kCurveColours.size()]);
    cairo_set_line_width(cairo, 3);
    cairo_move_to(cairo, box_x + 12, y);
    cairo_line_to(cairo, box_x + 30, y);
    cairo_stroke(cairo);
    canvas.ink(kInk);
    canvas.text(box_x + 40, y + 4.5, legend_text(curves[i]));
  }
  canvas.save(path);
}

}  // namespace fusec::examples
