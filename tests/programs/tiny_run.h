// A picture set of a dozen 8 x 8 images, and the flags of the smallest model that trains on it.
#pragma once

#include <string>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/io/documents.h"
#include "fusec/io/image.h"
#include "program.h"

namespace fusec::tests {

using Flags = std::vector<std::string>;

inline io::Document captioned(const std::string& id, const std::string& caption) {
  using Type = io::Part::Type;
  return {{{"user", {{Type::image, "images/" + id + ".png"}, {Type::text, "What is this?"}}},
           {"assistant", {{Type::text, caption}}}},
          id,
          "shapes",
          ""};
}

// Writes the set to scratch/data: 8 pictures to train on, 2 in each held-out set.
inline void write_tiny_data(const Scratch& scratch, const std::string& extra_word = "") {
  std::filesystem::create_directories(scratch / "data/images");
  const char* captions[] = {"red box", "blue box", "red",  "blue",    "box blue", "box",
                            "box red", "red blue", "blue", "red box", "box",      "blue box"};
  std::vector<io::Document> sets[3];
  for (uint64_t i = 0; i < 12; ++i) {
    io::Image image = io::solid(8, 8, 0, 0, 0);
    for (size_t k = 0; k < image.rgb.size(); ++k) {
      image.rgb[k] = static_cast<uint8_t>(philox(i, k)[0]);
    }
    const std::string id = "p" + std::to_string(i);
    io::write_png(scratch / ("data/images/" + id + ".png"), image);
    sets[i < 8 ? 0 : i < 10 ? 1 : 2].push_back(captioned(id, captions[i] + extra_word));
  }
  io::write_documents(scratch / "data/train.jsonl", sets[0]);
  io::write_documents(scratch / "data/val_tones.jsonl", sets[1]);
  io::write_documents(scratch / "data/val_unseen.jsonl", sets[2]);
}

inline Flags tiny_flags(const Scratch& scratch, const std::string& out, const Flags& more = {}) {
  Flags flags = {"--data",          scratch / "data",
                 "--out",           scratch / out,
                 "--image",         "8",
                 "--patch",         "4",
                 "--vision-width",  "8",
                 "--vision-layers", "1",
                 "--vision-heads",  "1",
                 "--queries",       "2",
                 "--width",         "8",
                 "--layers",        "1",
                 "--heads",         "2",
                 "--kv-heads",      "1",
                 "--head-dim",      "4",
                 "--intermediate",  "8",
                 "--batch",         "3",
                 "--seed",          "5",
                 "--samples",       "0"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

inline Ended pretrain(const Scratch& scratch, const std::string& out, const Flags& more = {},
                      rlim_t file_limit = 0) {
  return run_program(scratch, "vision_pretrain", tiny_flags(scratch, out, more), file_limit);
}

}  // namespace fusec::tests
