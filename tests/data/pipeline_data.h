// A data set of little documents with pictures, and how tests render it: a token a byte, and four
// for each picture.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/data/pipeline.h"
#include "jpeg_file.h"
#include "scratch.h"

namespace fusec::tests {

constexpr int kSide = 6, kImageTokens = 4;
constexpr const char* kPictures[] = {"a.png", "b.jpg", "c.png"};

// {"text": ...}: "#0" to "#2" are pictures; text that begins with "!" has no supervised token, with
// "?" render() drops it, with "*" render() refuses it. Every other character predicts the next.
inline data::Rendered render_text(const data::JsonlRecord& record) {
  const auto text = record.value.at("text").get<std::string>();
  if (text.starts_with("?")) return data::SampleDrop{"unknown role", int64_t(text.size()), ""};
  if (text.starts_with("*")) fail_user(record.place + ": a document with a star");
  data::Sample sample;
  std::vector<uint8_t> supervised;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '#') {
      sample.tokens.push_back(static_cast<unsigned char>(text[i]));
      supervised.push_back(text[0] != '!');
      continue;
    }
    sample.images.push_back({int64_t(sample.tokens.size()), kImageTokens,
                             kPictures[static_cast<size_t>(text[++i] - '0')]});
    sample.tokens.insert(sample.tokens.end(), kImageTokens, 1000);
    supervised.insert(supervised.end(), kImageTokens, 0);
  }
  sample.targets.assign(sample.tokens.size(), -1);
  for (size_t i = 1; i < sample.tokens.size(); ++i)
    if (supervised[i]) sample.targets[i - 1] = sample.tokens[i];
  return sample;
}

struct TextSet {
  // `documents` of random texts over two shards, of up to `most` characters and 3 pictures.
  explicit TextSet(int documents, uint32_t most = 30, uint64_t seed = 1) {
    io::write_png(folder / "a.png", picture(9, 7));
    folder.file("b.jpg", jpeg_bytes(picture(33, 20)));
    io::write_png(folder / "c.png", picture(6, 6));
    std::string shards[2];
    for (int i = 0; i < documents; ++i) {
      const PhiloxBlock r = philox(seed, static_cast<uint64_t>(i));
      // The number makes each document's tokens its own.
      std::string text = std::to_string(i) + ":" + std::string(r[0] % (most + 1), 'x');
      for (uint32_t k = 0; k < r[1] % 4; ++k)
        text.insert(r[2] % 2 ? text.size() : 0, "#" + std::to_string((r[3] + k) % 3));
      texts.push_back(text);
      shards[i % 2] += "{\"text\": \"" + text + "\"}\n";
    }
    for (int i = 0; i < 2; ++i) folder.file(std::to_string(i) + ".jsonl", shards[i]);
  }

  std::vector<std::string> paths() const { return {folder / ""}; }

  Scratch folder;
  std::vector<std::string> texts;
};

inline data::PipelineOptions small_options() {
  data::PipelineOptions options;
  options.packer = {.capacity = 64, .max_documents = 5, .max_spans = 4, .buffer_documents = 9};
  options.packs = 2;
  options.images = {.side = kSide, .tokens = kImageTokens};
  options.pad_token = 7;
  return options;
}

// A batch that outlives its lease.
struct Copied {
  explicit Copied(const data::PackedBatch& b)
      : tokens(b.tokens.begin(), b.tokens.end()),
        positions(b.positions.begin(), b.positions.end()),
        targets(b.targets.begin(), b.targets.end()),
        cu_seqlens(b.cu_seqlens.begin(), b.cu_seqlens.end()),
        slots(b.slots.begin(), b.slots.end()),
        images(b.images.begin(), b.images.end()),
        counts{b.filled,      b.supervised,      b.documents,
               b.image_count, int64_t(b.number), int64_t(b.epoch)} {
    for (const data::BatchPiece& p : b.pieces) {
      for (int64_t value : {int64_t(p.id), p.position.file, p.position.offset, p.position.line,
                            p.begin, p.tokens, p.at, p.image, p.images, int64_t(p.last)})
        pieces.push_back(value);
    }
  }
  bool operator==(const Copied&) const = default;

  std::vector<int32_t> tokens, positions, targets, cu_seqlens, slots;
  std::vector<float> images;
  std::vector<int64_t> counts, pieces;
};

inline std::vector<Copied> take(data::BatchPipeline& pipeline, int count) {
  std::vector<Copied> batches;
  for (int i = 0; i < count; ++i) {
    data::BatchPipeline::Lease lease = pipeline.next();
    REQUIRE(lease);
    batches.emplace_back(*lease);
  }
  return batches;
}

// The rest of an epoch.
inline std::vector<Copied> take_epoch(data::BatchPipeline& pipeline) {
  std::vector<Copied> batches;
  while (data::BatchPipeline::Lease lease = pipeline.next()) batches.emplace_back(*lease);
  return batches;
}

}  // namespace fusec::tests
