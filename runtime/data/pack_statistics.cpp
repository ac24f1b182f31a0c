// Counters of a packer -> shares of padding and one line of text.
#include <cstdio>
#include <numeric>

#include "fusec/data/packer.h"

namespace fusec::data {
namespace {

constexpr const char* kReasons[kPackDrops] = {"empty", "too long", "too many spans",
                                              "span too long"};

double share_of_padding(int64_t tokens, int64_t padded) {
  return padded == 0 ? 0 : 1 - static_cast<double>(tokens) / static_cast<double>(padded);
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * share);
  return text;
}

}  // namespace

int64_t PackStatistics::documents_dropped() const {
  return std::accumulate(dropped_documents.begin(), dropped_documents.end(), int64_t{0});
}

int64_t PackStatistics::tokens_dropped() const {
  return std::accumulate(dropped_tokens.begin(), dropped_tokens.end(), int64_t{0});
}

double PackStatistics::compression() const {
  return packs == 0 ? 0 : static_cast<double>(pieces_out) / static_cast<double>(packs);
}

double PackStatistics::waste() const { return share_of_padding(tokens_out, padded_out); }

double PackStatistics::waste_padded_to_longest() const {
  return share_of_padding(tokens_out, pieces_out * longest);
}

double PackStatistics::waste_padded_to_capacity() const {
  return share_of_padding(tokens_out, pieces_out * capacity);
}

std::string PackStatistics::text() const {
  char ratio[32];
  std::snprintf(ratio, sizeof ratio, "%.2f", compression());
  std::string line = std::to_string(pieces_out) + " sequences -> " + std::to_string(packs) +
                     " packs of " + std::to_string(capacity) + " tokens (" + ratio +
                     " a pack); padding " + percent(waste_padded_to_capacity()) + " (rows of " +
                     std::to_string(capacity) + "; " + percent(waste_padded_to_longest()) +
                     " padded to the longest, " + std::to_string(longest) + ") -> " +
                     percent(waste());
  if (documents_split > 0) line += "; split " + std::to_string(documents_split) + " documents";
  if (documents_dropped() == 0) return line;
  line += "; dropped " + std::to_string(documents_dropped()) + " documents, " +
          std::to_string(tokens_dropped()) + " tokens (";
  const char* between = "";
  for (size_t i = 0; i < kPackDrops; ++i) {
    if (dropped_documents[i] == 0) continue;
    line += between + std::string(kReasons[i]) + " " + std::to_string(dropped_documents[i]);
    between = ", ";
  }
  return line + ")";
}

}  // namespace fusec::data
