// Captions and pictures to token, target, slot and pixel arrays; see batch.h.
#include "fusec/models/batch.h"

#include "fusec/base/error.h"

namespace fusec::models {
namespace {

// 8-bit interleaved RGB to planes of (byte / 255 - mean) / std. In bytes, where the default mean
// and std are whole numbers and nothing is rounded; 0.0 is added so that no result is -0.
void write_pixels(const io::Image& image, const VitConfig& vision, float* out) {
  const int64_t side = vision.image;
  if (image.width != side || image.height != side) {
    fail_user("picture of " + std::to_string(image.width) + " x " + std::to_string(image.height) +
              " pixels, expected " + std::to_string(side) + " x " + std::to_string(side) +
              ": load the data with the model's image size");
  }
  int64_t plane = side * side;
  for (int64_t i = 0; i < plane; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      double distance = image.rgb[3 * i + c] - 255 * vision.pixel_mean[c];
      out[c * plane + i] = static_cast<float>(distance / (255 * vision.pixel_std[c]) + 0.0);
    }
  }
}

CaptionBatch empty_batch(int64_t items, int64_t rows, const WordTokenizer& tokenizer,
                         const VisionGptConfig& config) {
  if (items > rows) {
    fail_user("batch of " + std::to_string(rows) + " rows, found " + std::to_string(items) +
              " items");
  }
  CaptionBatch batch;
  if (!config.text_only())
    batch.images.assign(rows * 3 * config.vision.image * config.vision.image, 0.0f);
  batch.tokens.assign(rows * config.sequence, tokenizer.pad());
  batch.targets.assign(rows * config.sequence, -1);
  batch.slots.assign(rows * config.resampler.queries, -1);
  return batch;
}

// <bos>, slots and pixels of one row; returns the position after them.
int64_t write_prompt(CaptionBatch& batch, int64_t row, const io::Image& image,
                     const WordTokenizer& tokenizer, const VisionGptConfig& config) {
  int64_t side = config.vision.image, count = config.resampler.queries;
  if (count > 0) write_pixels(image, config.vision, batch.images.data() + row * 3 * side * side);
  int64_t base = row * config.sequence;
  batch.tokens[base] = tokenizer.bos();
  for (int64_t i = 0; i < count; ++i) {
    batch.tokens[base + 1 + i] = tokenizer.image();
    batch.slots[row * count + i] = static_cast<int32_t>(base + 1 + i);
  }
  batch.filled += 1 + count;
  return 1 + count;
}

}  // namespace

int64_t tokens_in_row(const std::string& caption, const WordTokenizer& tokenizer,
                      const VisionGptConfig& config) {
  return 2 + config.resampler.queries + static_cast<int64_t>(tokenizer.encode(caption).size());
}

CaptionBatch pack_captions(const std::vector<const data::CaptionedImage*>& items, int64_t rows,
                           const WordTokenizer& tokenizer, const VisionGptConfig& config) {
  int64_t count = static_cast<int64_t>(items.size());
  CaptionBatch batch = empty_batch(count, rows, tokenizer, config);
  for (int64_t row = 0; row < count; ++row) {
    int64_t at = write_prompt(batch, row, items[row]->image, tokenizer, config);
    std::vector<int32_t> words = tokenizer.encode(items[row]->caption);
    words.push_back(tokenizer.eos());
    if (at + static_cast<int64_t>(words.size()) > config.sequence) {
      fail_user("caption \"" + items[row]->caption + "\" takes " +
                std::to_string(at + words.size()) + " tokens, the row holds " +
                std::to_string(config.sequence) + ": raise the sequence length or drop it");
    }
    for (int32_t word : words) {
      int64_t base = row * config.sequence;
      batch.targets[base + at - 1] = word;
      batch.tokens[base + at] = word;
      ++at;
    }
    batch.supervised += static_cast<int64_t>(words.size());
    batch.filled += static_cast<int64_t>(words.size());
  }
  return batch;
}

CaptionBatch pack_prompts(const std::vector<const io::Image*>& images, int64_t rows,
                          const WordTokenizer& tokenizer, const VisionGptConfig& config) {
  int64_t count = static_cast<int64_t>(images.size());
  CaptionBatch batch = empty_batch(count, rows, tokenizer, config);
  for (int64_t row = 0; row < count; ++row) {
    write_prompt(batch, row, *images[row], tokenizer, config);
  }
  return batch;
}

}  // namespace fusec::models
