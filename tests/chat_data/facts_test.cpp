// Every answer of many conversations, held against the pictures by rules of its own: pictures come
// from the paths in the document, not from what the generator says it used.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "generate.h"
#include "small_set.h"

using namespace fusec;
using namespace fusec::examples;
using tests::contains;

namespace {

std::vector<int> numbers_in(const std::string& text) {
  std::vector<int> numbers;
  for (size_t i = 0; i < text.size();) {
    const auto digit = [&](size_t k) {
      return k < text.size() && std::isdigit(static_cast<unsigned char>(text[k]));
    };
    // "zork12x" is a name.
    if (!digit(i) || (i > 0 && std::isalpha(static_cast<unsigned char>(text[i - 1])))) {
      for (; digit(i); ++i) {
      }
      ++i;
      continue;
    }
    size_t end = i;
    while (digit(end)) ++end;
    numbers.push_back(std::stoi(text.substr(i, end - i)));
    i = end;
  }
  return numbers;
}

std::vector<std::string> names_in(const std::string& text) {
  std::vector<std::string> names;
  for (size_t at = text.find("zork"); at != std::string::npos; at = text.find("zork", at + 1))
    names.push_back(text.substr(at, text.find('x', at) + 1 - at));
  return names;
}

const char* const kPlaces[] = {"first", "second", "third",   "fourth",
                               "fifth", "sixth",  "seventh", "eighth"};
const char* const kNumbers[] = {"zero", "one", "two",   "three", "four",
                                "five", "six", "seven", "eight"};

size_t place_in(const std::string& text) {
  for (size_t i = 0; i < 8; ++i)
    if (text.find(kPlaces[i]) != std::string::npos) return i;
  FAIL("no place in: " << text);
  return 0;
}

class Judge {
 public:
  explicit Judge(const PictureSets& sets) : train_(sets[0]) {
    for (const auto& set : sets) {
      for (const Picture& picture : set) {
        by_id_[picture.id] = &picture;
        by_name_[picture.name] = &picture;
      }
    }
  }

  // Walks the document; turns say only of which kind a question is.
  void judge(const Conversation& conversation) {
    shown_.clear();
    size_t next = 0;
    const std::vector<io::Message>& messages = conversation.document.messages;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].role != "user") continue;
      REQUIRE(next < conversation.turns.size());
      const Turn& turn = conversation.turns[next++];
      now_.clear();
      question_.clear();
      for (const io::Part& part : messages[i].parts) {
        if (part.type == io::Part::Type::text)
          question_ += part.value;
        else
          now_.push_back(by_id_.at(part.value.substr(7, part.value.size() - 11)));
      }
      shown_.insert(shown_.end(), now_.begin(), now_.end());
      size_t last = i + 1;
      if (turn.kind == Kind::ask_tool) {
        REQUIRE(messages[i + 1].parts[0].type == io::Part::Type::tool);
        REQUIRE(messages[i + 2].role == "tool");
        CHECK(numbers_in(messages[i + 2].parts[0].value) ==
              numbers_in(messages[i + 3].parts[0].value));
        CHECK(contains(question_, group_in(messages[i + 1].parts[0].value)));
        last = i + 3;
      }
      REQUIRE(messages[last].role == "assistant");
      answer_ = messages[last].parts[0].value;
      CHECK(question_ == turn.question);
      CHECK(answer_ == turn.answer);
      CAPTURE(question_);
      CAPTURE(answer_);
      CHECK(question_.find_first_of("{}") == std::string::npos);
      judge(turn.kind);
      ++judged[turn.kind];
    }
    CHECK(next == conversation.turns.size());
  }

  std::map<Kind, int> judged;

 private:
  static std::string group_in(const std::string& text) {
    for (const char* group : {"Food & Drink", "Objects", "Flags", "Animals & Nature"})
      if (text.find(group) != std::string::npos) return group;
    FAIL("no group in: " << text);
    return "";
  }
  bool says_yes() const { return answer_.starts_with("Yes") || answer_.starts_with("Right"); }
  bool says_no() const { return answer_.starts_with("No"); }  // also "Not quite"
  template <typename Test>
  void counts(Test test) {
    const auto count = static_cast<size_t>(std::count_if(now_.begin(), now_.end(), test));
    CHECK(contains(answer_, kNumbers[count]));
    for (size_t other = 0; other < 9; ++other)
      if (other != count) CHECK(answer_.find(kNumbers[other]) == std::string::npos);
  }

  void judge(Kind kind) {
    const std::vector<std::string> asked = names_in(question_), said = names_in(answer_);
    const Picture* it = shown_.empty() ? nullptr : shown_.back();
    if (kind < Kind::same_group) REQUIRE(it != nullptr);
    if (kind < Kind::same_group_before) CHECK(now_.size() <= 1);
    if (kind >= Kind::same_group && kind <= Kind::list) CHECK(now_.size() >= 2);
    if (kind >= Kind::same_group && kind <= Kind::difference) REQUIRE(now_.size() == 2);
    if (kind >= Kind::group_of_name) CHECK(now_.empty());
    switch (kind) {
      case Kind::name:
        CHECK(said == std::vector<std::string>{it->name});
        if (contains_word(answer_, "from")) CHECK(group_in(answer_) == it->group);
        break;
      case Kind::group: CHECK(group_in(answer_) == it->group); break;
      case Kind::main_colour:
        CHECK(!it->colours.main.empty());
        CHECK(contains(answer_, it->colours.main));
        break;
      case Kind::clear_colours: {
        size_t at = 0;
        CHECK(!it->colours.clear.empty());
        for (const std::string& colour : it->colours.clear) {
          const size_t found = answer_.find(colour, at);
          CHECK(found != std::string::npos);
          at = found;
        }
        break;
      }
      case Kind::is_name:
        CHECK(says_yes());
        CHECK(asked == std::vector<std::string>{it->name});
        CHECK(said == asked);
        break;
      case Kind::is_not_name:
        CHECK(says_no());
        REQUIRE(asked.size() == 1);
        CHECK(asked[0] != it->name);
        CHECK(by_name_.count(asked[0]) == 1);
        CHECK(said == std::vector<std::string>{it->name});
        break;
      case Kind::is_group:
        CHECK(says_yes());
        CHECK(group_in(question_) == it->group);
        break;
      case Kind::is_not_group:
        CHECK(says_no());
        CHECK(group_in(question_) != it->group);
        CHECK(group_in(answer_) == it->group);
        break;
      case Kind::same_group_before:
      case Kind::other_group_before: {
        REQUIRE(shown_.size() >= 2);
        const Picture* before = shown_[shown_.size() - 2];
        CHECK(says_yes() == (it->group == before->group));
        CHECK(contains(answer_, "from " + it->group));
        CHECK(contains(answer_, "from " + before->group));
        break;
      }
      case Kind::recall:
        CHECK(said == std::vector<std::string>{shown_.at(place_in(question_))->name});
        break;
      case Kind::same_group:
      case Kind::other_group:
        CHECK(says_yes() == (now_[0]->group == now_[1]->group));
        if (says_yes())
          CHECK(group_in(answer_) == now_[0]->group);
        else
          CHECK(answer_ == "No, the first is from " + now_[0]->group + ", the second from " +
                               now_[1]->group + ".");
        break;
      case Kind::same_colour:
      case Kind::other_colour:
        CHECK(says_yes() == (now_[0]->colours.main == now_[1]->colours.main));
        for (const Picture* picture : now_)
          CHECK(contains(answer_, "mostly " + picture->colours.main));
        break;
      case Kind::difference:
        CHECK(said == std::vector<std::string>{now_[0]->name, now_[1]->name});
        break;
      case Kind::count: counts([](const Picture*) { return true; }); break;
      case Kind::count_group: {
        const std::string group = group_in(question_);
        counts([&](const Picture* picture) { return picture->group == group; });
        break;
      }
      case Kind::count_colour:
        counts([&](const Picture* picture) {
          CHECK(!picture->colours.main.empty());
          return contains_word(question_, picture->colours.main);
        });
        break;
      case Kind::which_name: {
        const size_t place = place_in(answer_);
        REQUIRE(place < now_.size());
        CHECK(asked == std::vector<std::string>{now_[place]->name});
        break;
      }
      case Kind::which_group:
        REQUIRE(place_in(answer_) < now_.size());
        for (size_t i = 0; i < now_.size(); ++i)
          CHECK((now_[i]->group == group_in(question_)) == (i == place_in(answer_)));
        break;
      case Kind::list: {
        std::string list;
        for (size_t i = 0; i < now_.size(); ++i)
          list += std::to_string(i + 1) + ". " + now_[i]->name + "\n";
        CHECK(answer_ + "\n" == list);
        break;
      }
      case Kind::group_of_name:
        REQUIRE(asked.size() == 1);
        CHECK(group_in(answer_) == by_name_.at(asked[0])->group);
        break;
      case Kind::name_of_emoji:
        REQUIRE(said.size() == 1);
        CHECK(contains(question_, by_name_.at(said[0])->emoji));
        break;
      case Kind::emoji_of_name:
        REQUIRE(asked.size() == 1);
        CHECK(answer_ == by_name_.at(asked[0])->emoji);
        break;
      case Kind::add: {
        const std::vector<int> given = numbers_in(question_);
        REQUIRE(given.size() == 2);
        CHECK(numbers_in(answer_).back() == given[0] + given[1]);
        break;
      }
      case Kind::subtract: {
        const std::vector<int> given = numbers_in(question_);
        REQUIRE(given.size() == 2);
        CHECK(numbers_in(answer_).back() == std::abs(given[0] - given[1]));
        break;
      }
      case Kind::small_talk: CHECK(names_in(question_ + answer_).empty()); break;
      case Kind::ask_tool:
        CHECK(numbers_in(answer_) == std::vector<int>{static_cast<int>(std::count_if(
                                         train_.begin(), train_.end(), [&](const Picture& picture) {
                                           return picture.group == group_in(question_);
                                         }))});
        break;
    }
  }

  static bool contains_word(const std::string& text, const std::string& word) {
    return (" " + text).find(" " + word) != std::string::npos;
  }

  const std::vector<Picture>& train_;
  std::map<std::string, const Picture*> by_id_, by_name_;
  std::vector<const Picture*> shown_, now_;
  std::string question_, answer_;
};

}  // namespace

TEST_CASE("facts: every answer is right, whoever asks") {
  tests::Scratch scratch;
  const PictureSets pictures = tests::small_set(scratch);
  const ChatData data = generate(pictures, {.seed = 3, .train = 4000, .validation = 800});
  Judge judge(pictures);
  for (const auto* set : {&data.train, &data.validation})
    for (const Conversation& conversation : *set) judge.judge(conversation);
  // All kinds came up, most of them often.
  for (size_t kind = 0; kind < kKinds; ++kind) {
    CAPTURE(name_of(static_cast<Kind>(kind)));
    CHECK(judge.judged[static_cast<Kind>(kind)] >= 20);
  }
}
