// The keys of a config.json, each asked for once, so that what nobody asked for can be refused:
// a key this project does not know may change the arithmetic, and then a model imports without a
// word and talks nonsense.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fusec::models {

// A key whose value is null is as one that is not there. Wrong kinds of values are user Errors.
class ConfigKeys {
 public:
  // `name` begins the messages; `prefix` stands before keys in them. The object must outlive this.
  ConfigKeys(const nlohmann::json& object, std::string name, std::string prefix = "");

  bool has(const std::string& key);
  int64_t integer(const std::string& key);
  int64_t integer(const std::string& key, int64_t fallback);
  double number(const std::string& key);
  double number(const std::string& key, double fallback);
  bool flag(const std::string& key, bool fallback);
  std::string text(const std::string& key);
  std::string text(const std::string& key, const std::string& fallback);
  // The value itself; null if it is not there.
  const nlohmann::json* find(const std::string& key);
  // The object under `key`, which must be there.
  ConfigKeys object(const std::string& key);

  // An Error of kind unsupported about the value of a key: what is computed instead, or what to do.
  [[noreturn]] void refuse(const std::string& key, const std::string& expected);
  // The same unless the key is missing or its flag is off.
  void refuse_if_on(const std::string& key, const std::string& expected);
  // Keys that change nothing; one that ends in '*' is the beginning of keys.
  void harmless(const std::vector<std::string>& keys);
  // An Error of kind unsupported with every key that was not asked for.
  void finish() const;

  const std::string& name() const { return name_; }

 private:
  const nlohmann::json& at(const std::string& key);
  [[noreturn]] void wrong(const std::string& key, const std::string& expected);

  const nlohmann::json& object_;
  std::string name_, prefix_;
  std::set<std::string> asked_;
  std::vector<std::string> beginnings_;
};

}  // namespace fusec::models
