// A picture -> the names of its colours, by the eleven basic colour terms of English (Berlin and
// Kay, "Basic Color Terms", 1969) and beige, which light skin would else be called orange for.
#pragma once

#include <string>
#include <vector>

#include "fusec/io/image.h"

namespace fusec::examples {

struct ColourShare {
  std::string name;
  double share = 0;  // of the pixels that are not white
};

// The name of one colour.
const char* colour_name(int red, int green, int blue);

// Of all pixels that are not white, as the background is; the most frequent first, equal shares by
// name. Empty if the picture is white.
std::vector<ColourShare> colour_shares(const io::Image& image);

struct PictureColours {
  std::string main;  // "" if no colour clearly leads: half of the pixels, and twice the next
  std::vector<std::string> clear;  // those of a fifth or more; empty if one is nearly so
};
PictureColours colours_of(const io::Image& image);

}  // namespace fusec::examples
