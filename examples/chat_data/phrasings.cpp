// The table of phrasings, in the order of Kind; see phrasings.h.
#include "phrasings.h"

#include <array>
#include <vector>

#include "fusec/base/error.h"

namespace fusec::examples {
namespace {

struct Row {
  const char* name;
  std::vector<Phrasing> phrasings;
};

const std::array<Row, kKinds>& rows() {
  static const std::array<Row, kKinds> table = {{
      {"name",
       {{"What is this?", "{name}"},
        {"What is it?", "{name}"},
        {"Name this picture.", "{name}"},
        {"Which emoji is this?", "{name}"},
        {"what's this", "{name}"},
        {"What do you see?", "I see {name}."},
        {"Can you tell me what this shows?", "It shows {name}."},
        {"Please describe the picture.", "This is the emoji {name}."},
        {"Tell me its name and its category.", "{name}, from {group}."},
        {"In one sentence, what is in the image?", "The image shows the emoji {name}."}}},
      {"group",
       {{"Which category is it from?", "{group}"},
        {"What kind of emoji is this?", "{group}"},
        {"To which group does it belong?", "{group}"},
        {"Where would I find it on an emoji keyboard?", "Under {group}."},
        {"What category does this picture belong to?", "It belongs to {group}."},
        {"Sort it into a group, please.", "{group}"}}},
      {"main_colour",
       {{"What colour is it?", "{colour}"},
        {"What color is it mostly?", "{colour}"},
        {"Name its main colour.", "{colour}"},
        {"Which colour stands out?", "It is mostly {colour}."},
        {"and the colour?", "{colour}"}}},
      {"clear_colours",
       {{"Which colours do you see?", "{colours}"},
        {"What colours does the picture have?", "Mainly {colours}."},
        {"List the main colours, the most frequent first.", "{colours}"}}},
      {"is_name",
       {{"Is this {name}?", "Yes, it is {name}."},
        {"Do you see {name} here?", "Yes, it is {name}."},
        {"I think it is {name}. Right?", "Right, it is {name}."}}},
      {"is_not_name",
       {{"Is this {other}?", "No, it is {name}."},
        {"Do you see {other} here?", "No, it is {name}."},
        {"I think it is {other}. Right?", "Not quite, it is {name}."}}},
      {"is_group",
       {{"Does it belong to {group}?", "Yes, to {group}."},
        {"Is it from the category {group}?", "Yes, it is."}}},
      {"is_not_group",
       {{"Does it belong to {other}?", "No, to {group}."},
        {"Is it from the category {other}?", "No, it is from {group}."}}},
      {"same_group_before",
       {{"Is it from the same category as the one before?", "Yes, both are from {group}."},
        {"Same group as the last one?", "Yes, both are from {group}."}}},
      {"other_group_before",
       {{"Is it from the same category as the one before?",
         "No, this one is from {group}, the one before from {other}."},
        {"Same group as the last one?",
         "No, this one is from {group}, the one before from {other}."}}},
      {"recall",
       {{"What was the {place} picture again?", "{name}"},
        {"Remind me: what did the {place} picture show?", "It showed {name}."},
        {"Name the {place} picture of our chat.", "{name}"}}},
      {"same_group",
       {{"Are these two from the same category?", "Yes, both are from {group}."},
        {"Do they belong together?", "Yes, both are from {group}."}}},
      {"other_group",
       {{"Are these two from the same category?",
         "No, the first is from {group}, the second from {other}."},
        {"Do they belong together?", "No, the first is from {group}, the second from {other}."}}},
      {"same_colour",
       {{"Do both have the same main colour?", "Yes, both are mostly {colour}."},
        {"Same colour?", "Yes, both are mostly {colour}."}}},
      {"other_colour",
       {{"Do both have the same main colour?",
         "No, the first is mostly {colour}, the second mostly {other}."},
        {"Same colour?", "No, the first is mostly {colour}, the second mostly {other}."}}},
      {"difference",
       {{"What is the difference between these?", "The first is {name}, the second is {other}."},
        {"Compare the two pictures.", "The first is {name}, the second is {other}."},
        {"What are these two?", "{name} and {other}"}}},
      {"count",
       {{"How many pictures do you see?", "{number}"},
        {"Count the images.", "{number}"},
        {"How many images did I just send?", "You sent {number}."}}},
      {"count_group",
       {{"How many of these are from {group}?", "{number}"},
        {"Count those that belong to {group}.", "{number}"}}},
      {"count_colour",
       {{"How many of these are mostly {colour}?", "{number}"},
        {"Count the {colour} ones.", "{number}"}}},
      {"which_name",
       {{"Which of these is {name}?", "The {place} one."},
        {"Where is {name}?", "It is the {place} one."},
        {"Point me to {name}.", "The {place} one."}}},
      {"which_group",
       {{"Which of these is from {group}?", "The {place} one."},
        {"One of them belongs to {group}. Which?", "The {place} one."}}},
      {"list",
       {{"Name them all, in order.", "{list}"},
        {"What are these pictures?", "{list}"},
        {"List what you see.", "{list}"}}},
      {"group_of_name",
       {{"What group is {name} in?", "{group}"},
        {"In which category do I find the emoji {name}?", "In {group}."},
        {"Where does {name} belong?", "It belongs to {group}."}}},
      {"name_of_emoji",
       {{"What is {emoji} called?", "{name}"},
        {"What does {emoji} mean?", "{emoji} is {name}."},
        {"{emoji}?", "{name}"}}},
      {"emoji_of_name",
       {{"Show me the emoji {name}.", "{emoji}"}, {"Type {name} for me.", "{emoji}"}}},
      {"add",
       {{"I have {a} pictures of {name} and {b} of {other}. How many is that?",
         "{a} + {b} = {sum}"},
        {"{a} times {name} and {b} times {other}: how many emoji?", "{a} + {b} = {sum}"},
        {"What is {a} + {b}?", "{sum}"},
        {"Add {a} and {b}.", "{sum}"}}},
      {"subtract",
       {{"I had {sum} stickers of {name} and gave away {b}. How many are left?",
         "{sum} - {b} = {a}"},
        {"What is {sum} - {b}?", "{a}"},
        {"Take {b} from {sum}.", "{a}"}}},
      {"small_talk",
       {{"Hello!", "Hello! Show me a picture, or ask about emoji."},
        {"Hi there", "Hi! What would you like to know?"},
        {"Good morning.", "Good morning! How can I help?"},
        {"How are you?", "Fine, thank you. I am ready for your pictures."},
        {"Who are you?", "I am a small model that looks at emoji."},
        {"What can you do?",
         "I can name emoji, tell their category and colour, compare pictures and count them."},
        {"Are you a human?", "No, I am a small language model that can see pictures."},
        {"Thanks!", "You are welcome."},
        {"Thank you very much.", "My pleasure."},
        {"Great.", "Glad to help."},
        {"That was quick.", "I am small, so I am fast."},
        {"Do you like emoji?", "They are all that I know!"},
        {"Can you drive a car?", "No, I only know about emoji."},
        {"What is the capital of France?", "I only know about emoji, sorry."},
        {"ok", "Anything else?"},
        {"Bye!", "Goodbye!"},
        {"See you tomorrow.", "See you!"}}},
      {"ask_tool",
       {{"How many emoji of {group} are in your collection?", "There are {number}."},
        {"Look it up: how big is the group {group}?", "It has {number} emoji."}}},
  }};
  return table;
}

}  // namespace

const char* name_of(Kind kind) { return rows()[static_cast<size_t>(kind)].name; }

std::span<const Phrasing> phrasings(Kind kind) {
  return rows()[static_cast<size_t>(kind)].phrasings;
}

std::string fill(const std::string& text, const Slots& slots) {
  std::string filled;
  for (size_t at = 0; at < text.size();) {
    const size_t open = std::min(text.find('{', at), text.size());
    filled += text.substr(at, open - at);
    if (open == text.size()) break;
    const size_t close = text.find('}', open);
    const auto slot = slots.find(text.substr(open + 1, close - open - 1));
    if (close == std::string::npos || slot == slots.end())
      fail_internal("phrasing \"" + text + "\": a slot has no value");
    filled += slot->second;
    at = close + 1;
  }
  return filled;
}

std::string number_word(size_t n) {
  constexpr std::array<const char*, 13> kWords = {"zero", "one",    "two",   "three", "four",
                                                  "five", "six",    "seven", "eight", "nine",
                                                  "ten",  "eleven", "twelve"};
  return n < kWords.size() ? kWords[n] : std::to_string(n);
}

std::string place_word(size_t n) {
  constexpr std::array<const char*, 8> kWords = {"first", "second", "third",   "fourth",
                                                 "fifth", "sixth",  "seventh", "eighth"};
  return kWords.at(n);
}

std::string listed(std::span<const std::string> words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 < words.size() ? ", " : " and ") + words[i];
  return text;
}

}  // namespace fusec::examples
