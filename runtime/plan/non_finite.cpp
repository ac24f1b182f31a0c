#include "fusec/plan/non_finite.h"

#include <cmath>

namespace fusec {

std::string NonFinite::str() const {
  std::string out = tensor + " holds " +
                    (std::isnan(value) ? "nan"
                     : value > 0       ? "inf"
                                       : "-inf") +
                    " at element " + std::to_string(index);
  if (step < 0) return origin.empty() ? out : out + "; recorded as " + origin;
  if (!origin.empty()) out += ", made by " + origin;
  out += " in step " + std::to_string(step) + " (" + kernel + "); ";
  if (inputs.empty()) return out + "its inputs were finite";
  out += "not finite among its inputs: ";
  for (size_t i = 0; i < inputs.size(); ++i) out += (i ? ", " : "") + inputs[i];
  return out;
}

}  // namespace fusec
