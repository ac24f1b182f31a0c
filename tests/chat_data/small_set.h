// A folder as emoji_data writes it, with few pictures: each of its own colours, and of a name that
// is part of no other text.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "fusec/io/documents.h"
#include "fusec/io/image.h"
#include "pictures.h"
#include "scratch.h"

namespace fusec::tests {

using examples::ChatSubset;
using examples::kChatSubsets;
using examples::Picture;
using examples::PictureSets;

inline io::Document captioned(const std::string& id, const std::string& name,
                              const std::string& group, const std::string& subset) {
  using Type = io::Part::Type;
  return {{{"user", {{Type::image, "images/" + id + ".png"}, {Type::text, "What is this?"}}},
           {"assistant", {{Type::text, name}}}},
          id,
          group,
          subset};
}

// `count` pictures of the subset; two colours each, in shares of 3 to 1, or 1 to 1 for every
// fourth.
inline void write_pictures(const Scratch& scratch, ChatSubset subset, int count) {
  static const std::array<std::array<uint8_t, 3>, 6> colours = {
      {{220, 20, 20}, {30, 90, 220}, {250, 210, 40}, {20, 160, 60}, {150, 60, 200}, {20, 20, 20}}};
  static const std::array<const char*, 4> groups = {"Food & Drink", "Objects", "Flags",
                                                    "Animals & Nature"};
  std::filesystem::create_directories(scratch / "images");
  std::vector<io::Document> documents;
  for (int i = 0; i < count; ++i) {
    const int number = static_cast<int>(subset) * 1000 + i;
    const std::string id = "1f" + std::to_string(300 + static_cast<int>(subset) * 100 + i % 100) +
                           (i < 100 ? "" : "-" + std::to_string(2000 + i));
    io::Image image = io::solid(8, 8, 255, 255, 255);
    // White rows above; the number in the last row tells equal colours apart.
    for (int y = 2; y < 7; ++y) {
      for (int x = 0; x < 8; ++x) {
        const bool second = i % 4 == 0 ? x >= 4 : x >= 6;
        const auto& colour = colours[static_cast<size_t>(second ? number / 6 + 1 : number) % 6];
        std::copy(colour.begin(), colour.end(), image.rgb.begin() + 3 * (8 * y + x));
      }
    }
    for (int bit = 0; bit < 8; ++bit)
      if (number >> bit & 1) image.rgb[static_cast<size_t>(3 * (8 * 7 + bit))] = 250;
    io::write_png(scratch / ("images/" + id + ".png"), image);
    documents.push_back(captioned(id, "zork" + std::to_string(number) + "x",
                                  groups[static_cast<size_t>(number) % 4], name_of(subset)));
  }
  io::write_documents(scratch / (std::string(name_of(subset)) + ".jsonl"), documents);
}

inline PictureSets small_set(const Scratch& scratch) {
  write_pictures(scratch, ChatSubset::train, 150);
  write_pictures(scratch, ChatSubset::val_tones, 30);
  write_pictures(scratch, ChatSubset::val_unseen, 25);
  return examples::load_pictures(scratch / "");
}

}  // namespace fusec::tests
