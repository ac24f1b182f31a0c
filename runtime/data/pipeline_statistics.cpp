// Counters of a pipeline -> sums and one line of text.
#include <numeric>

#include "fusec/data/pipeline_state.h"

namespace fusec::data {

int64_t PipelineStatistics::documents_dropped() const {
  int64_t count = packs.documents_dropped();
  for (int64_t lines_dropped : lines.dropped) count += lines_dropped;
  for (const auto& [reason, drop] : dropped) count += drop.documents;
  return count;
}

int64_t PipelineStatistics::tokens_dropped() const {
  int64_t count = packs.tokens_dropped();
  for (const auto& [reason, drop] : dropped) count += drop.tokens;
  return count;
}

std::string PipelineStatistics::text() const {
  constexpr const char* kLines[kJsonlDrops] = {"not UTF-8", "not JSON", "line too long"};
  std::string reasons;
  int64_t documents_out = 0, tokens_out = 0;
  auto add = [&](const std::string& reason, int64_t documents, int64_t tokens) {
    if (documents == 0) return;
    reasons += (reasons.empty() ? "" : ", ") + reason + " " + std::to_string(documents);
    documents_out += documents;
    tokens_out += tokens;
  };
  for (size_t i = 0; i < kJsonlDrops; ++i) add(kLines[i], lines.dropped[i], 0);
  for (const auto& [reason, drop] : dropped) add(reason, drop.documents, drop.tokens);
  const std::string line = packs.text();
  if (reasons.empty()) return line;
  return line + "; left out " + std::to_string(documents_out) + " documents, " +
         std::to_string(tokens_out) + " tokens (" + reasons + ")";
}

}  // namespace fusec::data
