// Texts of flags to answers; see flags.h.
#include "flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>

#include "fusec/base/nearest.h"

namespace fusec::examples {
namespace {

// Does `text` hold one number of T and nothing else?
template <class T>
bool holds(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && at == end;
}

// One spelling for each number: "1e-3" and "0.001" are the same setting.
std::string canonical(const std::string& text) {
  int64_t whole = 0;
  uint64_t large = 0;
  double real = 0;
  if (holds(text, whole)) return std::to_string(whole);
  if (holds(text, large)) return std::to_string(large);
  if (holds(text, real)) return fmt::format("{}", real);
  return text;
}

std::string quoted(const std::string& word) {
  const bool plain = word.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789-_=./,:+@%") == std::string::npos;
  if (plain && !word.empty()) return word;
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

CLI::Validator between(double low, double high) {
  std::string range =
      high == kMany ? fmt::format("{} or more", low) : fmt::format("{} to {}", low, high);
  auto check = [=](std::string& text) -> std::string {
    double value = 0;
    if (!CLI::detail::lexical_cast(text, value)) {
      return fmt::format("\"{}\" is not a number; expected {}", text, range);
    }
    if (value >= low && value <= high) return "";
    return fmt::format("{} is out of range, expected {} (nearest: {})", text, range,
                       std::clamp(value, low, high));
  };
  return CLI::Validator(check, "(" + range + ")", "between");
}

CLI::Validator one_of(std::vector<std::string> names) {
  std::string list = fmt::format("{}", fmt::join(names, "|"));
  auto check = [names = std::move(names)](std::string& text) -> std::string {
    if (std::find(names.begin(), names.end(), text) != names.end()) return "";
    return fmt::format("unknown value \"{}\"{}", text, suggest(text, names));
  };
  return CLI::Validator(check, list, "one_of");
}

CLI::Validator device() {
  auto check = [](std::string& text) -> std::string {
    const std::string number = text.starts_with("cuda:") ? text.substr(5) : "0";
    const bool digits =
        !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
    if (digits && (text == "auto" || text == "cpu" || text.starts_with("cuda"))) {
      if (text.size() <= 4 || text.starts_with("cuda:")) return "";
    }
    return fmt::format("unknown value \"{}\"{}", text,
                       suggest(text, {"auto", "cpu", "cuda", "cuda:0"}));
  };
  return CLI::Validator(check, "auto|cpu|cuda|cuda:N", "device");
}

std::string value_of(const CLI::Option& option) {
  if (option.get_expected_max() == 0) {  // a flag
    return option.count() > 0 && CLI::detail::to_flag_value(option.results().back()) > 0 ? "on"
                                                                                         : "off";
  }
  return canonical(option.count() > 0 ? option.results().back() : option.get_default_str());
}

std::string resume_command(int argc, char** argv, const std::string& resume) {
  std::string command;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.compare(0, 9, "--resume=") == 0) continue;
    if (word == "--resume") {
      if (!resume.empty() && i + 1 < argc && argv[i + 1] == resume) ++i;
      continue;
    }
    command += quoted(word) + " ";
  }
  return command + "--resume";
}

}  // namespace fusec::examples
