#include "fusec/data/sample.h"

#include "fusec/base/error.h"

namespace fusec::data {

std::vector<int32_t> next_token_targets(const std::vector<int32_t>& tokens,
                                        const std::vector<uint8_t>& supervised) {
  if (tokens.size() != supervised.size()) {
    fail_user("a sample of " + std::to_string(tokens.size()) + " tokens says of " +
              std::to_string(supervised.size()) +
              " whether they are supervised; expected one entry a token");
  }
  std::vector<int32_t> targets(tokens.size(), -1);
  for (size_t i = 1; i < tokens.size(); ++i)
    if (supervised[i]) targets[i - 1] = tokens[i];
  return targets;
}

}  // namespace fusec::data
