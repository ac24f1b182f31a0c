// Names, shapes and types of two sides to matches, or to one list of differences; see the header.
#include "match_tensors.h"

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

constexpr size_t kListed = 10;
// Comparing each of many names with each of many would take minutes.
constexpr size_t kHinted = 4096;

bool is_convertible(DType type) { return type == f32 || type == bf16 || type == f16; }

std::string hint(const std::string& name, const std::vector<std::string>& known) {
  if (known.size() > kHinted) return "";
  const std::string near = nearest(name, known);
  return near.empty() ? "" : " (did you mean \"" + io::excerpt(near) + "\"?)";
}

// "\n  2 missing: a (did you mean "b"?), c"; nothing for no names.
std::string listing(const std::string& kind, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string text = "\n  " + std::to_string(items.size()) + " " + kind + ":";
  for (size_t i = 0; i < items.size() && i < kListed; ++i) text += "\n    " + items[i];
  if (items.size() > kListed) {
    text += "\n    and " + std::to_string(items.size() - kListed) + " more";
  }
  return text;
}

float to_float(const char* bytes, DType type) {
  if (type == f32) {
    float value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  if (type == f8e4m3) return float_from_f8e4m3(static_cast<uint8_t>(*bytes));
  uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof bits);
  return type == bf16 ? float_from_bf16(bits) : float_from_f16(bits);
}

void from_float(float value, DType type, char* bytes) {
  if (type == f32) {
    std::memcpy(bytes, &value, sizeof value);
    return;
  }
  if (type == f8e4m3) {
    *bytes = static_cast<char>(f8e4m3_from_float(value));
    return;
  }
  const uint16_t bits = type == bf16 ? bf16_from_float(value) : f16_from_float(value);
  std::memcpy(bytes, &bits, sizeof bits);
}

}  // namespace

std::vector<TensorMatch> match_tensors(const io::SafetensorsReader& file,
                                       const std::vector<WantedTensor>& wanted,
                                       Conversion conversion, const std::string& ignored) {
  return match_tensors(
      file.path(), file.header().tensors, wanted, conversion,
      [&](const std::string& name) { return !ignored.empty() && name.starts_with(ignored); });
}

std::vector<TensorMatch> match_tensors(const std::string& path,
                                       const std::vector<io::TensorEntry>& tensors,
                                       const std::vector<WantedTensor>& wanted,
                                       Conversion conversion,
                                       const std::function<bool(const std::string&)>& ignored) {
  std::map<std::string, const io::TensorEntry*> found;
  for (const io::TensorEntry& t : tensors) {
    if (!ignored || !ignored(t.name)) found[t.name] = &t;
  }
  std::set<std::string> names;
  for (const WantedTensor& t : wanted) names.insert(t.name);

  // Hints name what the other side lacks, too: a renamed tensor is on both lists.
  std::vector<std::string> unmatched, unmet;
  for (const auto& [name, entry] : found) {
    if (!names.count(name)) unmatched.push_back(name);
  }
  for (const std::string& name : names) {
    if (!found.count(name)) unmet.push_back(name);
  }
  std::vector<std::string> missing, unexpected, shapes, types;
  for (const std::string& name : unmet) {
    missing.push_back(name + (missing.size() < kListed ? hint(name, unmatched) : ""));
  }
  for (const std::string& name : unmatched) {
    unexpected.push_back(io::excerpt(name) +
                         (unexpected.size() < kListed ? hint(name, unmet) : ""));
  }
  std::vector<TensorMatch> matches;
  for (const WantedTensor& target : wanted) {
    auto it = found.find(target.name);
    if (it == found.end()) continue;
    const io::TensorEntry& source = *it->second;
    if (source.type.shape != target.type.shape) {
      shapes.push_back(target.name + " is " + io::excerpt(str(source.type.shape)) + ", expected " +
                       str(target.type.shape));
    }
    const bool converts = conversion == Conversion::floats && is_convertible(source.type.dtype) &&
                          is_convertible(target.type.dtype);
    if (source.type.dtype != target.type.dtype && !converts) {
      types.push_back(target.name + " is " + std::string(name_of(source.type.dtype)) +
                      ", expected " + std::string(name_of(target.type.dtype)) +
                      (conversion == Conversion::floats ? " (or f32, bf16, f16)" : ""));
    }
    matches.push_back({target, &source});
  }
  const std::string differences = listing("missing", missing) + listing("unexpected", unexpected) +
                                  listing("of another shape", shapes) +
                                  listing("of another type", types);
  if (!differences.empty()) {
    fail_user(path + " does not fit the model:" + differences +
              "\nRename or convert the tensors, or choose the sizes of the model that wrote them.");
  }
  return matches;
}

std::string convert_floats(std::string bytes, DType from, DType to) {
  if (from == to) return bytes;
  const size_t in = static_cast<size_t>(size_of(from)), out = static_cast<size_t>(size_of(to));
  const size_t count = bytes.size() / in;
  std::string result(count * out, '\0');
  for (size_t i = 0; i < count; ++i) {
    from_float(to_float(&bytes[i * in], from), to, &result[i * out]);
  }
  return result;
}

bool all_finite(std::string_view bytes, DType type) {
  if (!holds_floats(type)) return true;
  const size_t size = static_cast<size_t>(size_of(type));
  for (size_t at = 0; at < bytes.size(); at += size) {
    double value = 0;
    if (type == f64) {
      std::memcpy(&value, &bytes[at], sizeof value);
    } else {
      value = to_float(&bytes[at], type);
    }
    if (!std::isfinite(value)) return false;
  }
  return true;
}

}  // namespace fusec::models
