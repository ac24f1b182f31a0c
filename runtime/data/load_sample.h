// A record -> what the packer takes: rendered, checked, its images decoded to squares. The work of
// one worker; it depends on the record alone.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "fusec/data/pipeline.h"
#include "image_cache.h"

namespace fusec::data {

// Payload of the packer's documents.
struct LoadedSample {
  JsonlPosition position;
  std::vector<int32_t> tokens, targets;
  std::vector<PackSpan> spans;                           // of images
  std::vector<std::shared_ptr<const io::Image>> images;  // side x side pixels
  uint64_t digest = 0;                                   // of tokens and targets
};

struct LoadedDrop {
  std::string reason, message;
  int64_t tokens = 0;
};

using Loaded = std::variant<std::shared_ptr<const LoadedSample>, LoadedDrop>;

// Errors name the record's place. What the options say to drop is not thrown.
Loaded load_sample(const JsonlRecord& record, const std::string& file, const Render& render,
                   const PipelineOptions& options, ImageCache& cache);

}  // namespace fusec::data
