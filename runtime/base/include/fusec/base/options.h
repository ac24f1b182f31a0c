// Every environment variable that Fusec reads, in one table.
#pragma once

#include <string>
#include <vector>

#include "fusec/base/export.h"

namespace fusec {

struct EnvOption {
  const char* name;
  const char* meaning;
};

FUSEC_API const std::vector<EnvOption>& env_options();

// Value of a variable of the table; "" if unset. An unlisted name is an internal Error.
FUSEC_API std::string env(const std::string& name);

}  // namespace fusec
