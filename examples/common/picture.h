// Pictures of what a training run did: a sheet of images with true and guessed captions, and loss
// curves. Both are PNG files drawn with cairo.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fusec/io/image.h"

namespace fusec::examples {

struct Tile {
  io::Image image;
  std::string truth, guess;
  bool right = false;
};

// Tiles row by row, `columns` a row (>= 1). Under each image: a tick and the caption in green if
// right; else a cross and the guess in red, with the truth below it in grey. Long captions wrap and
// then end in an ellipsis. No tiles or an unwritable path is a user Error.
void write_contact_sheet(const std::string& path, const std::vector<Tile>& tiles, int columns);

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (step, loss), steps ascending
};

// One chart with a legend of the last values. Points that are not finite are left out (a gap in the
// line). At least one curve must have a finite point, else a user Error.
void write_loss_curve(const std::string& path, const std::vector<Curve>& curves);

}  // namespace fusec::examples
