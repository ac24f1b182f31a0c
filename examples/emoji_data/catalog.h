// Unicode's and CLDR's data files -> the list of emoji with names, groups and skin tones.
//   "1F44B 1F3FD ; fully-qualified # ... waving hand: medium skin tone", group "People & Body"
//   -> {id "1f44b-1f3fd", base "1f44b", caption "waving hand: medium skin tone", toned}
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

namespace fusec::examples {

struct Emoji {
  std::u32string sequence;  // fully-qualified
  std::string id;           // its code points in lower-case hex, joined with '-'
  // The id of the emoji without skin tones and variation selectors. All skin tones of one emoji
  // share it, the pairs of people in two tones included.
  std::string base;
  bool toned = false;
  std::string name;  // English, from emoji-test.txt
  std::string group, subgroup;
};

// Parses the text of emoji-test.txt (format: UTS #51) and keeps the fully-qualified sequences, in
// file order. `path` is for messages; a line of another form is a user Error with path:line.
std::vector<Emoji> parse_emoji_test(const std::string& text, const std::string& path);

// CLDR short names: sequence without U+FE0F, as UTF-8 -> name.
using ShortNames = std::unordered_map<std::string, std::string>;

// Adds the type="tts" annotations of one CLDR file; names already there stay. A file that is not
// such XML is a user Error.
void add_short_names(const std::string& xml, const std::string& path, ShortNames& names);

// The CLDR name of an emoji, or nullptr.
const std::string* find_short_name(const ShortNames& names, const Emoji& emoji);

}  // namespace fusec::examples
