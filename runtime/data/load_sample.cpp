#include "load_sample.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/hash.h"

namespace fusec::data {
namespace {

namespace fs = std::filesystem;

// The Error with the record's place, if it does not name it yet.
[[noreturn]] void rethrow_at(Error error, const std::string& place) {
  if (error.message().find(place) == std::string::npos) error.add_note("in " + place);
  throw error;
}

std::string message_at(const Error& error, const std::string& place) {
  const bool named = error.message().find(place) != std::string::npos;
  return named ? error.message() : place + ": " + error.message();
}

void check(const Sample& sample, const std::string& place, const PipelineImages& options) {
  if (sample.targets.size() != sample.tokens.size()) {
    fail_user(place + ": rendered as " + std::to_string(sample.tokens.size()) + " tokens with " +
              std::to_string(sample.targets.size()) + " targets; expected one a token");
  }
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    if (sample.tokens[i] >= 0 && sample.targets[i] >= -1) continue;
    fail_user(place + ": rendered with token " + std::to_string(sample.tokens[i]) + " and target " +
              std::to_string(sample.targets[i]) + " at " + std::to_string(i) +
              "; expected tokens of 0 or more, targets of -1 or more");
  }
  if (!sample.images.empty() && options.side == 0) {
    fail_user(place + ": has " + std::to_string(sample.images.size()) +
              " images, but the model takes none; drop such documents, or set an image size");
  }
  int64_t end = 0;
  for (size_t i = 0; i < sample.images.size(); ++i) {
    const SampleImage& image = sample.images[i];
    const auto tokens = static_cast<int64_t>(sample.tokens.size());
    if (image.length == options.tokens && image.begin >= end && image.begin <= tokens &&
        image.length <= tokens - image.begin) {
      end = image.begin + image.length;
      continue;
    }
    fail_user(place + ": rendered with image " + std::to_string(i) + " at " +
              std::to_string(image.begin) + ", " + std::to_string(image.length) + " of " +
              std::to_string(tokens) + " tokens; expected " + std::to_string(options.tokens) +
              " tokens behind the image before it (which ends at " + std::to_string(end) +
              ") and inside the document");
  }
}

uint64_t digest_of(const Sample& sample) {
  uint64_t digest = hash_mix(sample.tokens.size());
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    const uint64_t both = static_cast<uint64_t>(static_cast<uint32_t>(sample.tokens[i])) << 32 |
                          static_cast<uint32_t>(sample.targets[i]);
    digest = (digest ^ both) * 0x9e3779b97f4a7c15ULL;
    digest ^= digest >> 32;
  }
  return digest;
}

}  // namespace

Loaded load_sample(const JsonlRecord& record, const std::string& file, const Render& render,
                   const PipelineOptions& options, ImageCache& cache) {
  Sample sample;
  try {
    Rendered rendered = render(record);
    if (auto* drop = std::get_if<SampleDrop>(&rendered)) {
      std::string message = record.place + ": " + drop->reason;
      if (!drop->message.empty()) message = std::move(drop->message);
      return LoadedDrop{std::move(drop->reason), std::move(message), drop->tokens};
    }
    sample = std::get<Sample>(std::move(rendered));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::user || options.bad_documents == OnBad::error)
      rethrow_at(error, record.place);
    return LoadedDrop{"bad document", message_at(error, record.place), 0};
  } catch (const std::exception& error) {
    fail_internal(record.place + ": rendering this document failed: " + error.what());
  }
  check(sample, record.place, options.images);
  const auto tokens = static_cast<int64_t>(sample.tokens.size());
  const bool supervised = std::any_of(sample.targets.begin(), sample.targets.end(),
                                      [](int32_t target) { return target >= 0; });
  // The packer counts documents that are empty.
  if (tokens > 0 && !supervised) {
    return LoadedDrop{"no supervised token", record.place + ": no supervised token", tokens};
  }
  auto loaded = std::make_shared<LoadedSample>();
  loaded->position = record.position;
  loaded->digest = digest_of(sample);
  const PipelineImages& images = options.images;
  io::DecodeOptions decode = io::decode_options(images.fit, images.side);
  decode.max_pixels = images.max_pixels;
  for (const SampleImage& image : sample.images) {
    const fs::path root =
        images.root.empty() ? fs::path(file).parent_path() : fs::path(images.root);
    const std::string path = (root / image.path).string();
    try {
      std::shared_ptr<const io::Image> square = cache.find(path);
      if (!square) {
        square = std::make_shared<const io::Image>(
            io::square(io::read_image(path, decode), images.fit, images.side));
        cache.keep(path, square);
      }
      loaded->images.push_back(std::move(square));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::user || options.bad_images == OnBad::error)
        rethrow_at(error, record.place);
      std::error_code none;
      return LoadedDrop{fs::exists(path, none) ? "bad image" : "missing image",
                        message_at(error, record.place), tokens};
    }
    loaded->spans.push_back({image.begin, image.length});
  }
  loaded->tokens = std::move(sample.tokens);
  loaded->targets = std::move(sample.targets);
  return std::shared_ptr<const LoadedSample>(std::move(loaded));
}

}  // namespace fusec::data
