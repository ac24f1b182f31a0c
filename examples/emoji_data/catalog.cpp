// Parses emoji-test.txt and the CLDR annotation files; see catalog.h.
#include "catalog.h"

#include <cstdint>
#include <cstdio>
#include <pugixml.hpp>
#include <sstream>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"

namespace fusec::examples {
namespace {

constexpr char32_t kVariationSelector = 0xFE0F;

bool is_skin_tone(char32_t c) { return c >= 0x1F3FB && c <= 0x1F3FF; }

// Two people or hands in two tones are spelled as a sequence, in one tone or none as a single code
// point: both are tones of one emoji. Keys are sequences without tones and variation selectors.
struct SpelledPair {
  const char* spelled;
  const char* single;
};
constexpr SpelledPair kSpelledPairs[] = {
    {"1faf1-200d-1faf2", "1f91d"},                                   // handshake
    {"1f469-200d-1f91d-200d-1f469", "1f46d"},                        // women holding hands
    {"1f469-200d-1f91d-200d-1f468", "1f46b"},                        // woman and man holding hands
    {"1f468-200d-1f91d-200d-1f468", "1f46c"},                        // men holding hands
    {"1f9d1-200d-2764-200d-1f48b-200d-1f9d1", "1f48f"},              // kiss
    {"1f9d1-200d-2764-200d-1f9d1", "1f491"},                         // couple with heart
};

std::string hex_id(const std::u32string& sequence) {
  std::string id;
  for (char32_t c : sequence) {
    char digits[12];
    std::snprintf(digits, sizeof digits, "%s%04x", id.empty() ? "" : "-", static_cast<unsigned>(c));
    id += digits;
  }
  return id;
}

std::string trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// The value of a "# key: value" comment, or "".
std::string heading(const std::string& line, const std::string& key) {
  const std::string prefix = "# " + key + ": ";
  return line.rfind(prefix, 0) == 0 ? trim(line.substr(prefix.size())) : "";
}

void set_base(Emoji& emoji) {
  std::u32string base;
  for (char32_t c : emoji.sequence) {
    emoji.toned |= is_skin_tone(c);
    if (!is_skin_tone(c) && c != kVariationSelector) base += c;
  }
  emoji.base = hex_id(base);
  for (const SpelledPair& pair : kSpelledPairs)
    if (emoji.base == pair.spelled) emoji.base = pair.single;
}

std::string without_selectors(const std::u32string& sequence) {
  std::u32string kept;
  for (char32_t c : sequence)
    if (c != kVariationSelector) kept += c;
  return to_utf8(kept);
}

}  // namespace

std::vector<Emoji> parse_emoji_test(const std::string& text, const std::string& path) {
  std::vector<Emoji> list;
  std::string group, subgroup;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (trim(line).empty()) continue;
    if (line[0] == '#') {
      if (std::string value = heading(line, "group"); !value.empty()) group = value;
      if (std::string value = heading(line, "subgroup"); !value.empty()) subgroup = value;
      continue;
    }
    const std::string place = path + ":" + std::to_string(number) + ": ";
    const size_t semicolon = line.find(';'), hash = line.find('#');
    if (semicolon == std::string::npos || hash == std::string::npos || hash < semicolon)
      fail_user(place + "expected \"code points ; status # emoji E<version> name\"");
    if (trim(line.substr(semicolon + 1, hash - semicolon - 1)) != "fully-qualified") continue;

    Emoji emoji;
    std::istringstream points(line.substr(0, semicolon));
    for (uint32_t point; points >> std::hex >> point;) {
      if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
        fail_user(place + "a number that is not a code point");
      emoji.sequence += static_cast<char32_t>(point);
    }
    std::istringstream comment(line.substr(hash + 1));
    std::string drawn, version;
    comment >> drawn >> version;
    std::getline(comment, emoji.name);
    emoji.name = trim(emoji.name);
    if (emoji.sequence.empty() || !points.eof() || version.rfind('E', 0) != 0 ||
        emoji.name.empty() || group.empty()) {
      fail_user(place + "expected \"code points ; status # emoji E<version> name\" under a group");
    }
    emoji.id = hex_id(emoji.sequence);
    emoji.group = group;
    emoji.subgroup = subgroup;
    set_base(emoji);
    list.push_back(std::move(emoji));
  }
  if (list.empty()) fail_user(path + ": no fully-qualified emoji; expected an emoji-test.txt");
  return list;
}

void add_short_names(const std::string& xml, const std::string& path, ShortNames& names) {
  pugi::xml_document document;
  const pugi::xml_parse_result result = document.load_buffer(xml.data(), xml.size());
  if (!result) {
    fail_user(path + ": not XML at byte " + std::to_string(result.offset) + ": " +
              result.description());
  }
  const pugi::xml_node annotations = document.child("ldml").child("annotations");
  if (!annotations) fail_user(path + ": no <ldml><annotations>; expected a CLDR annotation file");
  for (pugi::xml_node node : annotations.children("annotation")) {
    if (std::string(node.attribute("type").value()) == "tts")
      names.emplace(node.attribute("cp").value(), trim(node.child_value()));
  }
}

const std::string* find_short_name(const ShortNames& names, const Emoji& emoji) {
  auto found = names.find(without_selectors(emoji.sequence));
  return found == names.end() || found->second.empty() ? nullptr : &found->second;
}

}  // namespace fusec::examples
