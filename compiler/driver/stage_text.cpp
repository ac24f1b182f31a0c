#include "stage_text.h"

namespace fusec::driver {
namespace {

constexpr std::string_view kStageLine = "// stage: ";
constexpr std::string_view kSection = "=== ";

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

}  // namespace

std::string ir_stage_text(Stage stage, const std::string& ir) {
  return std::string(kStageLine) + stage_names()[static_cast<int>(stage)] + "\n" + ir;
}

std::string join_stage_text(Stage stage, const Plan& plan,
                            const std::vector<std::string>& kernels) {
  std::string out =
      std::string(kSection) + stage_names()[static_cast<int>(stage)] + "\n" + print(plan);
  for (size_t i = 0; i < kernels.size(); ++i)
    out += std::string(kSection) + "kernel " + plan.kernels[i].name + "\n" + kernels[i];
  return out;
}

Stage stage_of_text(std::string_view text) {
  std::string_view line = first_line(text);
  if (line.starts_with(kStageLine)) return parse_stage(line.substr(kStageLine.size()));
  if (line.starts_with(kSection)) return parse_stage(line.substr(kSection.size()));
  size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos && text.substr(start).starts_with("plan")) return Stage::plan;
  return Stage::graph;
}

StageText split_stage_text(std::string_view text, const std::string& name) {
  StageText out;
  Stage stage = stage_of_text(text);
  if (stage == Stage::plan) {
    out.plan = std::string(text);
    return out;
  }
  std::string* section = nullptr;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    std::string_view line = text.substr(at, end == std::string_view::npos ? end : end + 1 - at);
    at += line.size();
    if (line.starts_with("=== kernel "))
      section = &out.kernels.emplace_back();
    else if (line.starts_with(kSection))
      section = &out.plan;
    else if (section)
      section->append(line);
    else
      fail_user(name + ": expected a line \"=== source\" first");
  }
  return out;
}

std::string hex_text(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto b = static_cast<unsigned char>(bytes[i]);
    out += digits[b >> 4];
    out += digits[b & 15];
    if (i % 40 == 39) out += '\n';
  }
  return out + "\n";
}

std::vector<char> bytes_of_hex(std::string_view text) {
  std::vector<char> out;
  int high = -1;
  for (char c : text) {
    if (c == '\n' || c == '\r') continue;
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0)
      fail_user(std::string("binary stage: expected hexadecimal digits, found '") + c + "'");
    if (high < 0)
      high = digit;
    else
      out.push_back(static_cast<char>(high * 16 + digit)), high = -1;
  }
  if (high >= 0) fail_user("binary stage: expected an even number of hexadecimal digits");
  return out;
}

}  // namespace fusec::driver
