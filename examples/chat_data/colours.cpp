// Hue, saturation and value in integers, then ranges; see colours.h.
#include "colours.h"

#include <algorithm>
#include <map>

namespace fusec::examples {
namespace {

// Degrees, 0 to 359; red is 0. Requires a pixel that is not grey.
int hue_of(int red, int green, int blue, int most, int range) {
  const int degrees = most == red     ? 60 * (green - blue) / range
                      : most == green ? 120 + 60 * (blue - red) / range
                                      : 240 + 60 * (red - green) / range;
  return (degrees + 360) % 360;
}

}  // namespace

const char* colour_name(int red, int green, int blue) {
  const int most = std::max({red, green, blue}), least = std::min({red, green, blue});
  const int range = most - least;
  if (most < 56) return "black";
  const int saturation = 100 * range / most;
  if (saturation < 14) return most >= 225 ? "white" : most < 80 ? "black" : "grey";
  const int hue = hue_of(red, green, blue, most, range);
  if (hue < 12 || hue >= 342) return most > 180 && saturation < 55 ? "pink" : "red";
  if (hue < 50 && saturation < 36 && most > 190) return "beige";
  if (hue < 46 && most < 200) return "brown";
  if (hue < 38) return "orange";
  if (hue < 66) return "yellow";
  if (hue < 168) return "green";
  if (hue < 256) return "blue";
  if (hue < 296) return "purple";
  return "pink";
}

std::vector<ColourShare> colour_shares(const io::Image& image) {
  std::map<std::string, int> counts;
  int total = 0;
  for (size_t i = 0; i + 2 < image.rgb.size(); i += 3) {
    const int red = image.rgb[i], green = image.rgb[i + 1], blue = image.rgb[i + 2];
    const std::string name = colour_name(red, green, blue);
    // The background is white, and nothing tells a picture's own white from it.
    if (name == "white") continue;
    ++counts[name];
    ++total;
  }
  std::vector<ColourShare> shares;
  for (const auto& [name, count] : counts)
    shares.push_back({name, static_cast<double>(count) / total});
  std::stable_sort(shares.begin(), shares.end(),
                   [](const ColourShare& a, const ColourShare& b) { return a.share > b.share; });
  return shares;
}

PictureColours colours_of(const io::Image& image) {
  const std::vector<ColourShare> shares = colour_shares(image);
  PictureColours colours;
  if (shares.empty()) return colours;
  const double second = shares.size() > 1 ? shares[1].share : 0;
  if (shares[0].share >= 0.5 && shares[0].share >= 2 * second) colours.main = shares[0].name;
  for (const ColourShare& share : shares) {
    if (share.share >= 0.2)
      colours.clear.push_back(share.name);
    else if (share.share >= 0.15)
      return {colours.main, {}};
  }
  return colours;
}

}  // namespace fusec::examples
