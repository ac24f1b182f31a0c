// Contact sheets and loss curves: they are PNG files of the size and colours that they promise.
#include "picture.h"

#include <cmath>

#include "scratch.h"

using namespace fusec;
using namespace fusec::examples;
using tests::contains;
using tests::user_error;

// Asked by LeakSanitizer: fontconfig keeps its font list until the process ends.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions() {
  return "leak:libfontconfig";
}

namespace {

int pixels_of(const io::Image& image, int r, int g, int b) {
  int count = 0;
  for (size_t i = 0; i < image.rgb.size(); i += 3)
    count += image.rgb[i] == r && image.rgb[i + 1] == g && image.rgb[i + 2] == b;
  return count;
}

}  // namespace

TEST_CASE("contact sheet: every image is there, right and wrong in their colours") {
  tests::Scratch scratch;
  const io::Image teal = io::solid(32, 32, 0, 128, 129), pink = io::solid(8, 4, 250, 10, 200);
  // Texts that a model may well produce: nothing, broken UTF-8, one endless word.
  write_contact_sheet(scratch / "s.png",
                      {{teal, "a hat", "a hat", true},
                       {pink, "two words and more of them until the line is full", "", false},
                       {teal, "x", "\xff\xc3 bad\n", false},
                       {teal, std::string(300, 'w'), std::string(300, 'w'), false}},
                      3);
  const io::Image sheet = io::read_png(scratch / "s.png");
  // Images are drawn 128 pixels wide; the sheet has no other use of these colours.
  CHECK(pixels_of(sheet, 0, 128, 129) > 3 * 128 * 120);  // the mark covers a corner at most
  CHECK(pixels_of(sheet, 250, 10, 200) == 128 * 64);
  CHECK(pixels_of(sheet, 0xe3, 0xf4, 0xea) > 1000);      // the green card
  CHECK(pixels_of(sheet, 0xfb, 0xe6, 0xe4) > 3000);      // three red ones
  CHECK(contains(user_error([&] { write_contact_sheet(scratch / "s.png", {}, 3); }), "0 tiles"));
  const std::vector<Tile> one = {{teal, "", "", true}};
  CHECK(contains(user_error([&] { write_contact_sheet(scratch / "no/s.png", one, 1); }), "folder"));
}

TEST_CASE("loss curve: drawn, with gaps for what is not finite") {
  tests::Scratch scratch;
  Curve curve{"train", {}}, broken{"a very bad run", {}};
  for (int i = 0; i < 200; ++i) {
    curve.points.emplace_back(i, 5 * std::exp(-i / 50.0));
    broken.points.emplace_back(i, i % 2 ? NAN : INFINITY);
  }
  write_loss_curve(scratch / "c.png", {curve, broken});
  const io::Image chart = io::read_png(scratch / "c.png");
  CHECK(pixels_of(chart, 0x00, 0x72, 0xb2) > 300);  // the first curve's own blue
  CHECK(contains(user_error([&] { write_loss_curve(scratch / "c.png", {broken}); }), "no curve"));
  write_loss_curve(scratch / "one.png", {{"one point", {{3, 0}}}});
  CHECK(pixels_of(io::read_png(scratch / "one.png"), 0x00, 0x72, 0xb2) > 10);
}
