// What a document is before it is packed: tokens, what each position is to predict, and images in
// their places. The caller renders documents, so that nothing here knows a tokenizer or a template.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "fusec/data/jsonl.h"

namespace fusec::data {

// Tokens [begin, begin + length) stand for the picture in the file.
struct SampleImage {
  int64_t begin = 0, length = 0;
  std::string path;  // relative to the folder of the document's file, or absolute
  bool operator==(const SampleImage&) const = default;
};

struct Sample {
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;     // as many: the token to predict there (the next), -1: none
  std::vector<SampleImage> images;  // ascending, without overlap
};

// A document that render() leaves out: counted by `reason`, which names a kind ("unknown role"),
// not a document.
struct SampleDrop {
  std::string reason;
  int64_t tokens = 0;   // it would have had, if known
  std::string message;  // for people, with its place; empty: the place and the reason
};

using Rendered = std::variant<Sample, SampleDrop>;

// Called from several threads at once; must depend on the record alone. A user Error is the
// document's: the run's end or a counted drop, as PipelineOptions says.
using Render = std::function<Rendered(const JsonlRecord&)>;

}  // namespace fusec::data
