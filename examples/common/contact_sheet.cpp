// Tiles -> one PNG: each a card, green with a tick or red with a cross.
#include <algorithm>
#include <numbers>

#include "canvas.h"
#include "fusec/base/error.h"
#include "picture.h"

namespace fusec::examples {
namespace {

constexpr Colour kRight = colour(0x1a7f4b), kWrong = colour(0xc2352b);
constexpr Colour kRightTint = colour(0xe3f4ea), kWrongTint = colour(0xfbe6e4);

void draw_mark(Canvas& canvas, double x, double y, bool right) {
  cairo_t* cairo = canvas.cairo();
  canvas.ink(right ? kRight : kWrong);
  cairo_arc(cairo, x, y, 10, 0, 2 * std::numbers::pi);
  cairo_fill(cairo);
  canvas.ink(kCard);
  cairo_set_line_width(cairo, 2.4);
  cairo_set_line_cap(cairo, CAIRO_LINE_CAP_ROUND);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  if (right) {
    cairo_move_to(cairo, x - 4.5, y + 0.5);
    cairo_line_to(cairo, x - 1.2, y + 4);
    cairo_line_to(cairo, x + 4.8, y - 3.8);
  } else {
    cairo_move_to(cairo, x - 3.7, y - 3.7);
    cairo_line_to(cairo, x + 3.7, y + 3.7);
    cairo_move_to(cairo, x + 3.7, y - 3.7);
    cairo_line_to(cairo, x - 3.7, y + 3.7);
  }
  cairo_stroke(cairo);
}

constexpr int kTileWidth = 184, kTileHeight = 252, kGap = 12, kImageSide = 128;
constexpr double kLineHeight = 16;

void draw_tile(Canvas& canvas, const Tile& tile, double x, double y) {
  cairo_t* cairo = canvas.cairo();
  canvas.rounded(x, y, kTileWidth, kTileHeight, 8);
  canvas.ink(tile.right ? kRightTint : kWrongTint);
  cairo_fill_preserve(cairo);
  canvas.ink(tile.right ? kRight : kWrong);
  cairo_set_line_width(cairo, 1.5);
  cairo_stroke(cairo);

  const double picture_x = x + (kTileWidth - kImageSide) / 2.0, picture_y = y + 14;
  canvas.rounded(picture_x - 6, picture_y - 6, kImageSide + 12, kImageSide + 12, 6);
  canvas.ink(kCard);
  cairo_fill(cairo);
  canvas.image(tile.image, picture_x, picture_y, kImageSide);
  draw_mark(canvas, x + kTileWidth - 18, y + 18, tile.right);

  // Five lines fit; a wrong guess takes at most three, so the truth has two at least.
  size_t lines_left = 5;
  double baseline = picture_y + kImageSide + 24;
  auto paragraph = [&](const std::string& text, const Colour& ink, bool bold, size_t limit) {
    canvas.font(12, bold);
    canvas.ink(ink);
    for (const std::string& line : canvas.wrap(printable(text), kTileWidth - 20, limit)) {
      canvas.text(x + kTileWidth / 2.0, baseline, line, 0.5);
      baseline += kLineHeight;
      --lines_left;
    }
  };
  paragraph(tile.guess.empty() ? "(nothing)" : tile.guess, tile.right ? kRight : kWrong, true,
            tile.right ? lines_left : 3);
  if (!tile.right) {
    baseline += 4;
    paragraph("is: " + tile.truth, kFaint, false, lines_left);
  }
}

}  // namespace

void write_contact_sheet(const std::string& path, const std::vector<Tile>& tiles, int columns) {
  if (columns < 1 || tiles.empty()) {
    fail_user(path + ": a sheet of " + std::to_string(tiles.size()) + " tiles in " +
              std::to_string(columns) + " columns; expected at least one of each");
  }
  const int across = std::min<int>(columns, static_cast<int>(tiles.size()));
  const int rows = (static_cast<int>(tiles.size()) + across - 1) / across;
  Canvas canvas(across * (kTileWidth + kGap) + kGap, rows * (kTileHeight + kGap) + kGap);
  for (size_t i = 0; i < tiles.size(); ++i) {
    const int column = static_cast<int>(i) % across, row = static_cast<int>(i) / across;
    draw_tile(canvas, tiles[i], kGap + column * (kTileWidth + kGap),
              kGap + row * (kTileHeight + kGap));
  }
  canvas.save(path);
}

}  // namespace fusec::examples
