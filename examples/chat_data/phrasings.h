// What is asked and what is answered: a table of kinds of turns, each with many phrasings. A
// question decides the form of its answer, so that an answer can be learned, and judged, exactly.
//
//   "Which of these is {name}?"  ->  "The {place} one."
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace fusec::examples {

// What a turn is about.
enum class Kind : uint8_t {
  // one picture
  name,
  group,
  main_colour,
  clear_colours,
  is_name,
  is_not_name,
  is_group,
  is_not_group,
  // the picture that was shown last, and one before it
  same_group_before,
  other_group_before,
  recall,
  // all pictures of one message: two of them
  same_group,
  other_group,
  same_colour,
  other_colour,
  difference,
  // two or more
  count,
  count_group,
  count_colour,
  which_name,
  which_group,
  list,
  // none
  group_of_name,
  name_of_emoji,
  emoji_of_name,
  add,
  subtract,
  small_talk,
  ask_tool,
};
inline constexpr size_t kKinds = static_cast<size_t>(Kind::ask_tool) + 1;

// "main_colour".
const char* name_of(Kind kind);

struct Phrasing {
  const char* question;
  const char* answer;
};
std::span<const Phrasing> phrasings(Kind kind);

// "{name}" and the like in a phrasing are replaced; a slot without a value is an internal Error.
using Slots = std::map<std::string, std::string>;
std::string fill(const std::string& text, const Slots& slots);

// "zero" to "twelve"; digits above.
std::string number_word(size_t n);
// "first" to "eighth". Requires n < 8.
std::string place_word(size_t n);
// "red", "red and blue", "red, blue and black".
std::string listed(std::span<const std::string> words);

}  // namespace fusec::examples
