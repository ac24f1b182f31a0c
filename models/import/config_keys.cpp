// Keys of a JSON object to checked values; see config_keys.h.
#include "config_keys.h"

#include <cmath>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::models {

using nlohmann::json;

ConfigKeys::ConfigKeys(const json& object, std::string name, std::string prefix)
    : object_(object), name_(std::move(name)), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    fail_user(name_ + ": " + (prefix_.empty() ? "" : "\"" + prefix_ + "\" ") + "is " +
              io::describe(object) + ", expected an object");
  }
  if (!prefix_.empty()) prefix_ += ".";
}

const json* ConfigKeys::find(const std::string& key) {
  asked_.insert(key);
  auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool ConfigKeys::has(const std::string& key) { return find(key) != nullptr; }

const json& ConfigKeys::at(const std::string& key) {
  if (const json* value = find(key)) return *value;
  fail_user(name_ + ": no key \"" + prefix_ + key + "\"");
}

void ConfigKeys::wrong(const std::string& key, const std::string& expected) {
  fail_user(name_ + ": \"" + prefix_ + key + "\" is " + io::excerpt(at(key).dump()) +
            ", expected " + expected);
}

int64_t ConfigKeys::integer(const std::string& key) {
  const json& value = at(key);
  const bool fits =
      value.is_number_unsigned() ? value.get<uint64_t>() <= INT64_MAX : value.is_number_integer();
  if (!fits) wrong(key, "a whole number");
  return value.get<int64_t>();
}

int64_t ConfigKeys::integer(const std::string& key, int64_t fallback) {
  return has(key) ? integer(key) : fallback;
}

double ConfigKeys::number(const std::string& key) {
  if (!at(key).is_number()) wrong(key, "a number");
  const double value = at(key).get<double>();
  if (!std::isfinite(value)) wrong(key, "a finite number");
  return value;
}

double ConfigKeys::number(const std::string& key, double fallback) {
  return has(key) ? number(key) : fallback;
}

bool ConfigKeys::flag(const std::string& key, bool fallback) {
  if (!has(key)) return fallback;
  if (!at(key).is_boolean()) wrong(key, "true or false");
  return at(key).get<bool>();
}

std::string ConfigKeys::text(const std::string& key) {
  if (!at(key).is_string()) wrong(key, "a string");
  return at(key).get<std::string>();
}

std::string ConfigKeys::text(const std::string& key, const std::string& fallback) {
  return has(key) ? text(key) : fallback;
}

ConfigKeys ConfigKeys::object(const std::string& key) {
  return ConfigKeys(at(key), name_, prefix_ + key);
}

void ConfigKeys::refuse(const std::string& key, const std::string& expected) {
  fail_unsupported(name_ + ": \"" + prefix_ + key + "\" is " + io::excerpt(at(key).dump()) +
                   ", which is not computed here; expected " + expected);
}

void ConfigKeys::refuse_if_on(const std::string& key, const std::string& expected) {
  if (flag(key, false)) refuse(key, expected);
}

void ConfigKeys::harmless(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (key.ends_with('*'))
      beginnings_.push_back(key.substr(0, key.size() - 1));
    else
      asked_.insert(key);
  }
}

void ConfigKeys::finish() const {
  std::string unknown;
  for (const auto& [key, value] : object_.items()) {
    bool known = asked_.count(key) > 0 || value.is_null();
    for (const std::string& beginning : beginnings_) known |= key.starts_with(beginning);
    if (known) continue;
    const std::string near = nearest(key, {asked_.begin(), asked_.end()});
    unknown += "\n  \"" + prefix_ + io::excerpt(key) + "\": " + io::excerpt(value.dump());
    if (!near.empty()) unknown += " (did you mean \"" + near + "\"?)";
  }
  if (unknown.empty()) return;
  fail_unsupported(name_ + ": keys that are not known, and might change what the model computes:" +
                   unknown + "\nRemove those that only describe the model.");
}

}  // namespace fusec::models
