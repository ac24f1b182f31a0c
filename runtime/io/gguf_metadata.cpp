// Queries of a GGUF file's metadata, with errors that name key, value and file.
#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/gguf.h"
#include "fusec/io/json.h"

namespace fusec::io {
namespace {

std::string array_of(size_t count, const char* of) {
  if (count == 0) return "an empty array";
  return "an array of " + std::to_string(count) + " " + of + (count == 1 ? "" : "s");
}

struct Describe {
  std::string operator()(bool value) const { return value ? "the flag true" : "the flag false"; }
  std::string operator()(uint64_t value) const { return "the integer " + std::to_string(value); }
  std::string operator()(int64_t value) const { return "the integer " + std::to_string(value); }
  std::string operator()(double value) const { return "the float " + std::to_string(value); }
  std::string operator()(const std::string&) const { return "a string"; }
  std::string operator()(const std::vector<bool>& v) const { return array_of(v.size(), "flag"); }
  std::string operator()(const std::vector<uint64_t>& v) const {
    return array_of(v.size(), "integer");
  }
  std::string operator()(const std::vector<int64_t>& v) const {
    return array_of(v.size(), "integer");
  }
  std::string operator()(const std::vector<double>& v) const { return array_of(v.size(), "float"); }
  std::string operator()(const std::vector<std::string>& v) const {
    return array_of(v.size(), "string");
  }
  std::string operator()(const std::vector<GgufValue>& v) const {
    return array_of(v.size(), "array");
  }
};

}  // namespace

std::string describe(const GgufValue& value) { return std::visit(Describe(), value.data); }

const GgufValue& GgufMetadata::at(const std::string& key) const {
  auto it = values_.find(key);
  if (it != values_.end()) return it->second;
  std::vector<std::string> keys;
  for (const auto& [known, value] : values_) keys.push_back(known);
  const std::string near = nearest(key, keys);
  fail_user(file_ + ": no metadata \"" + key + "\"" +
            (near.empty() ? " among its " + std::to_string(keys.size()) + " keys"
                          : "; did you mean \"" + excerpt(near) + "\"?"));
}

void GgufMetadata::mismatch(const std::string& key, const char* expected) const {
  fail_user(file_ + ": metadata \"" + key + "\" is " + describe(at(key)) + ", expected " +
            expected);
}

template <class T>
const T& GgufMetadata::get(const std::string& key, const char* expected) const {
  if (const T* value = std::get_if<T>(&at(key).data)) return *value;
  mismatch(key, expected);
}

bool GgufMetadata::flag(const std::string& key) const { return get<bool>(key, "true or false"); }

int64_t GgufMetadata::integer(const std::string& key) const {
  constexpr const char* expected = "an integer of 64 bits with a sign";
  const auto* natural = std::get_if<uint64_t>(&at(key).data);
  if (natural == nullptr) return get<int64_t>(key, expected);
  if (*natural > uint64_t{INT64_MAX}) mismatch(key, expected);
  return static_cast<int64_t>(*natural);
}

double GgufMetadata::number(const std::string& key) const {
  const GgufValue& value = at(key);
  if (const auto* natural = std::get_if<uint64_t>(&value.data))
    return static_cast<double>(*natural);
  if (const auto* integer = std::get_if<int64_t>(&value.data)) return static_cast<double>(*integer);
  return get<double>(key, "a number");
}

const std::string& GgufMetadata::text(const std::string& key) const {
  return get<std::string>(key, "a string");
}

std::vector<int64_t> GgufMetadata::integers(const std::string& key) const {
  constexpr const char* expected = "an array of integers of 64 bits with a sign";
  const auto* naturals = std::get_if<std::vector<uint64_t>>(&at(key).data);
  if (naturals == nullptr) return get<std::vector<int64_t>>(key, expected);
  for (uint64_t n : *naturals)
    if (n > uint64_t{INT64_MAX}) mismatch(key, expected);
  return {naturals->begin(), naturals->end()};
}

std::vector<double> GgufMetadata::numbers(const std::string& key) const {
  const GgufValue& value = at(key);
  if (const auto* naturals = std::get_if<std::vector<uint64_t>>(&value.data))
    return {naturals->begin(), naturals->end()};
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&value.data))
    return {integers->begin(), integers->end()};
  return get<std::vector<double>>(key, "an array of numbers");
}

const std::vector<std::string>& GgufMetadata::texts(const std::string& key) const {
  return get<std::vector<std::string>>(key, "an array of strings");
}

}  // namespace fusec::io
