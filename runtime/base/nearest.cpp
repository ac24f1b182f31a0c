#include "fusec/base/nearest.h"

#include <algorithm>

namespace fusec {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  size_t best = std::max<size_t>(2, name.size() / 2) + 1;
  std::string found;
  for (const std::string& c : candidates) {
    size_t d = edit_distance(name, c);
    if (d < best) best = d, found = c;
  }
  return found;
}

std::string suggest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string near = nearest(name, candidates);
  if (!near.empty()) return " (did you mean \"" + near + "\"?)";
  std::string all;
  for (size_t i = 0; i < candidates.size() && i < 12; ++i) all += (i ? ", " : "") + candidates[i];
  if (candidates.size() > 12) all += ", ...";
  return " (known: " + all + ")";
}

}  // namespace fusec
