// Plain structs <-> flat JSON objects, strictly: every field has one key, and a key that is
// missing, unknown or of the wrong kind is a user Error. A struct lists its fields once, in a
// function template that a writer and a reader visit:
//
//   template <class Struct, class Visit> void fields(Struct& s, Visit visit) { visit("rows",
//   s.rows); }
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::models {

// Keys in the order of the visits. Doubles come back bit for bit; they must be finite.
class FieldWriter {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    if constexpr (std::is_same_v<T, double>) {
      if (!std::isfinite(value)) fail_internal(std::string("field ") + key + " is not finite");
    }
    json_[key] = value;
  }
  void operator()(const char* key, const std::optional<double>& value) {
    if (value)
      (*this)(key, *value);
    else
      json_[key] = nullptr;
  }
  // An enum by the name at its place in `names`.
  template <class Enum>
  void choice(const char* key, Enum value, const std::vector<std::string>& names) {
    (*this)(key, names.at(static_cast<size_t>(value)));
  }
  std::string text() const { return json_.dump(); }

 private:
  nlohmann::ordered_json json_ = nlohmann::ordered_json::object();
};

class FieldReader {
 public:
  // `name` begins the messages: the file, and what the text is in it.
  FieldReader(std::string_view text, std::string name)
      : name_(std::move(name)), json_(io::parse_json(text, name_, 1)) {
    if (!json_.is_object()) {
      fail_user(name_ + ": is " + io::describe(json_) + ", expected an object");
    }
  }

  void operator()(const char* key, int64_t& value) {
    const auto& json = at(key);
    // Above INT64_MAX nlohmann-json holds an unsigned number.
    const bool fits = json.is_number_unsigned() ? json.template get<uint64_t>() <= INT64_MAX
                                                : json.is_number_integer();
    if (!fits) wrong(key, "a whole number");
    value = json.template get<int64_t>();
  }
  void operator()(const char* key, uint64_t& value) {
    if (!at(key).is_number_unsigned()) wrong(key, "a whole number of 0 or more");
    value = at(key).get<uint64_t>();
  }
  void operator()(const char* key, double& value) {
    if (!at(key).is_number()) wrong(key, "a number");
    value = at(key).get<double>();
  }
  void operator()(const char* key, bool& value) {
    if (!at(key).is_boolean()) wrong(key, "true or false");
    value = at(key).get<bool>();
  }
  void operator()(const char* key, std::string& value) {
    if (!at(key).is_string()) wrong(key, "a string");
    value = at(key).get<std::string>();
  }
  void operator()(const char* key, std::optional<double>& value) {
    value.reset();
    if (at(key).is_null()) return;
    double number = 0;
    (*this)(key, number);
    value = number;
  }

  template <class Enum>
  void choice(const char* key, Enum& value, const std::vector<std::string>& names) {
    std::string text;
    (*this)(key, text);
    const auto it = std::find(names.begin(), names.end(), text);
    if (it == names.end()) {
      const std::string shown = io::excerpt(text);
      fail_user(name_ + ": \"" + key + "\" is \"" + shown + "\"" + suggest(shown, names));
    }
    value = static_cast<Enum>(it - names.begin());
  }

  // After the last visit: every key was visited.
  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      bool known = false;
      for (const std::string& visited : visited_) known |= visited == key;
      const std::string shown = io::excerpt(key);
      if (!known) fail_user(name_ + ": unknown key \"" + shown + "\"" + suggest(shown, visited_));
    }
  }

 private:
  const nlohmann::json& at(const char* key) {
    if (visited_.empty() || visited_.back() != key) visited_.push_back(key);
    auto it = json_.find(key);
    if (it == json_.end()) fail_user(name_ + ": no key \"" + key + "\"");
    return *it;
  }
  [[noreturn]] void wrong(const char* key, const char* expected) {
    fail_user(name_ + ": \"" + key + "\" is " + io::excerpt(at(key).dump()) + ", expected " +
              expected);
  }

  std::string name_;
  nlohmann::json json_;
  std::vector<std::string> visited_;
};

}  // namespace fusec::models
