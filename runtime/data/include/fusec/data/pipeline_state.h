// Where a pipeline stands and what it has counted: plain data, and its text for checkpoints.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/data/jsonl.h"
#include "fusec/data/packer.h"

namespace fusec::data {

struct DropCount {
  int64_t documents = 0, tokens = 0;
  bool operator==(const DropCount&) const = default;
};

// Counted in the order of the stream, up to the last document that went to the packer: the same
// numbers for any number of workers. Documents are the lines that could be read; their tokens are
// those of the packer and of `dropped`, and the packer's are given, dropped there, or wait.
struct FUSEC_API PipelineStatistics {
  int64_t documents = 0, tokens = 0;
  std::map<std::string, DropCount> dropped;  // before the packer, by reason
  std::string first_dropped;                 // the first of them, with its place
  JsonlStatistics lines;                     // with what was dropped before that
  PackStatistics packs;                      // with what was dropped after it
  // Of batches given.
  int64_t batches = 0, supervised = 0, images = 0;
  bool operator==(const PipelineStatistics&) const = default;

  int64_t documents_dropped() const;  // anywhere
  int64_t tokens_dropped() const;
  // The packer's line, and what was dropped elsewhere by reason.
  std::string text() const;
};

// A piece that waits in the packer's buffer: what is needed to make it again.
struct WaitingPiece {
  uint64_t id = 0;  // of its document
  JsonlPosition position;
  int64_t begin = 0, tokens = 0;
  uint64_t digest = 0;  // of all tokens and targets of the document
  bool operator==(const WaitingPiece&) const = default;
};

// Between two batches. All of it is small: documents that wait are read and rendered again.
struct PipelineState {
  std::string options;  // those that decide what batches hold, as text
  JsonlState stream;
  PackerOptions packer;
  std::vector<WaitingPiece> waiting;  // in the order in which they arrived
  bool finished = false;              // the packer gives what waits, and the epoch ends
  int64_t epoch_documents = 0;        // of the stream's epoch that went into packs or wait
  PipelineStatistics statistics;
  bool operator==(const PipelineState&) const = default;
};

// One JSON object.
FUSEC_API std::string pipeline_state_text(const PipelineState& state);
// User Error, which begins with `name`, unless every key is there, none is unknown, and each value
// is of its kind. Whether the state fits a pipeline is set_state()'s matter.
FUSEC_API PipelineState parse_pipeline_state(std::string_view json, const std::string& name);

}  // namespace fusec::data
