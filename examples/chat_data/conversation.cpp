// One turn after the other, each of a kind that fits what was shown; see conversation.h.
#include "conversation.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "fusec/base/error.h"

namespace fusec::examples {
namespace {

using io::Part;

class Teller {
 public:
  Teller(const Sources& sources, Draw& draw, const std::vector<size_t>& order, size_t& next)
      : sources_(sources), draw_(draw), order_(order), next_(next) {}

  Conversation tell(const Shape& shape) {
    if (draw_.chance(0.12)) add_message("system", {{Part::Type::text, system_text()}});
    int images = std::min(shape.images, kMostImages);
    for (int turn = 0; turn < shape.turns; ++turn) {
      // Pictures come early, so that later turns can ask about them.
      const int left = shape.turns - turn;
      int now = 0;
      if (images > 0 && (turn == 0 || left <= images || draw_.chance(0.5)))
        now = left == 1 ? images : 1 + static_cast<int>(draw_.below(static_cast<size_t>(images)));
      images -= now;
      take_turn(show(now));
    }
    return std::move(conversation_);
  }

 private:
  const Picture& picture(size_t index) const { return (*sources_.shown)[index]; }
  const Picture& known(size_t index) const { return (*sources_.known)[index]; }

  std::string system_text() {
    static const std::vector<std::string> texts = {
        "You are a helpful assistant that looks at emoji.",
        "Answer questions about pictures of emoji.",
        "You name emoji, compare them and count them.",
        "Be brief and friendly.",
    };
    return draw_.of(texts);
  }

  std::vector<size_t> show(int count) {
    std::vector<size_t> shown;
    // Of two pictures the second is often like the first: by chance few pairs would be.
    const double like = draw_.uniform();
    for (size_t tries = 0; static_cast<int>(shown.size()) < count && tries < order_.size();
         ++tries) {
      size_t index = 0;
      if (shown.size() == 1 && count == 2 && like <= 0.4 && tries < 60) {
        index = draw_.below(sources_.shown->size());
        const Picture &first = picture(shown[0]), &second = picture(index);
        const bool alike =
            like <= 0.2 ? !first.colours.main.empty() && first.colours.main == second.colours.main
                        : first.group == second.group;
        if (!alike) continue;
      } else {
        index = order_[next_++ % order_.size()];
      }
      const Picture& candidate = picture(index);
      if (looks_.count(candidate.pixels) || names_.count(candidate.name)) continue;
      looks_.insert(candidate.pixels);
      names_.insert(candidate.name);
      shown.push_back(index);
    }
    shown_.insert(shown_.end(), shown.begin(), shown.end());
    return shown;
  }

  void add_message(const std::string& role, std::vector<Part> parts) {
    conversation_.document.messages.push_back({role, std::move(parts)});
  }

  // Weights of the kinds that make sense now; 0 elsewhere.
  std::vector<double> weights(const std::vector<size_t>& shown) const {
    std::vector<double> weights(kKinds, 0);
    auto set = [&](std::initializer_list<std::pair<Kind, double>> list) {
      for (const auto& [kind, weight] : list) weights[static_cast<size_t>(kind)] = weight;
    };
    if (shown.size() >= 2) {
      set({{Kind::count, 1},
           {Kind::count_group, 1},
           {Kind::count_colour, 0.7},
           {Kind::which_name, 1.6},
           {Kind::which_group, 1},
           {Kind::list, 1.6}});
      if (shown.size() == 2) {
        set({{Kind::same_group, 1.2},
             {Kind::other_group, 1.2},
             {Kind::same_colour, 1.2},
             {Kind::other_colour, 1.2},
             {Kind::difference, 2.5},
             {Kind::list, 0.4},
             {Kind::count, 0.5}});
      }
      return weights;
    }
    if (shown.size() == 1 || !shown_.empty()) {
      set({{Kind::name, shown.empty() ? 1 : 6},
           {Kind::group, 2},
           {Kind::main_colour, 1.5},
           {Kind::clear_colours, 0.7},
           {Kind::is_name, 0.8},
           {Kind::is_not_name, 0.8},
           {Kind::is_group, 0.5},
           {Kind::is_not_group, 0.5}});
      if (shown_.size() >= 2) {
        set({{Kind::same_group_before, 0.8}, {Kind::other_group_before, 0.8}});
        if (shown.empty()) set({{Kind::recall, 1.5}});
      }
    }
    if (shown.empty()) {
      set({{Kind::group_of_name, 1.2},
           {Kind::name_of_emoji, 1},
           {Kind::emoji_of_name, 0.5},
           {Kind::add, 0.8},
           {Kind::subtract, 0.6},
           {Kind::small_talk, 2},
           {Kind::ask_tool, 0.4}});
    }
    return weights;
  }

  void take_turn(const std::vector<size_t>& shown) {
    const std::vector<double> weight = weights(shown);
    // Not all kinds suit all pictures; the last try is one that always does.
    for (int tries = 0; tries < 16; ++tries) {
      const auto kind = static_cast<Kind>(draw_.weighted(weight));
      if (take(kind, shown)) return;
    }
    if (!take(shown.size() >= 2   ? Kind::list
              : shown.size() == 1 ? Kind::name
                                  : Kind::small_talk,
              shown, true)) {
      fail_internal("chat_data: no turn can be made");
    }
  }

  bool take(Kind kind, const std::vector<size_t>& shown, bool again = false) {
    Turn turn{.kind = kind, .shown = shown};
    Slots slots;
    if (!choose(turn, slots)) return false;
    const std::span<const Phrasing> all = phrasings(kind);
    const Phrasing& phrasing = all[draw_.below(all.size())];
    turn.question = fill(phrasing.question, slots);
    turn.answer = fill(phrasing.answer, slots);
    // Nobody asks the same thing twice.
    const bool fresh = asked_.emplace(kind, turn.about, turn.mentioned).second;
    if (!fresh && kind != Kind::small_talk && !again) return false;
    if (kind == Kind::small_talk && !small_talk_.insert(turn.question).second && !again)
      return false;

    std::vector<Part> parts;
    for (const size_t index : shown)
      parts.push_back({Part::Type::image, "images/" + picture(index).id + ".png"});
    const bool text_first = !shown.empty() && draw_.chance(0.25);
    parts.insert(text_first ? parts.begin() : parts.end(), {Part::Type::text, turn.question});
    add_message("user", std::move(parts));
    if (kind == Kind::ask_tool) {
      add_message("assistant",
                  {{Part::Type::tool, "{\"name\": \"count\", \"arguments\": {\"group\": \"" +
                                          slots.at("group") + "\"}}"}});
      add_message("tool", {{Part::Type::tool, slots.at("number")}});
    }
    add_message("assistant", {{Part::Type::text, turn.answer}});
    conversation_.turns.push_back(std::move(turn));
    return true;
  }

  // A name that is not that of the picture.
  std::optional<std::string> wrong_name(const Picture& right) {
    const std::string& other = draw_.of(*sources_.suggested).name;
    if (other == right.name) return std::nullopt;
    return other;
  }

  std::optional<std::string> wrong_group(const std::string& right) {
    const std::string& other = draw_.of(*sources_.known).group;
    if (other == right) return std::nullopt;
    return other;
  }

  // What the turn is about; false if nothing suits.
  bool choose(Turn& turn, Slots& slots) {
    if (turn.kind >= Kind::group_of_name) return choose_text(turn, slots);
    if (turn.kind >= Kind::same_group) return choose_several(turn, slots);
    if (turn.kind >= Kind::same_group_before) return choose_before(turn, slots);
    const size_t index = turn.shown.empty() ? shown_.back() : turn.shown[0];
    turn.about = {index};
    const Picture& it = picture(index);
    slots = {{"name", it.name}, {"group", it.group}, {"colour", it.colours.main}};
    std::optional<std::string> other;
    switch (turn.kind) {
      case Kind::main_colour: return !it.colours.main.empty();
      case Kind::clear_colours:
        slots["colours"] = listed(it.colours.clear);
        return !it.colours.clear.empty();
      case Kind::is_not_name: other = wrong_name(it); break;
      case Kind::is_not_group: other = wrong_group(it.group); break;
      default: return true;
    }
    if (other) slots["other"] = *other;
    return other.has_value();
  }

  bool choose_before(Turn& turn, Slots& slots) {
    if (turn.kind == Kind::recall) {
      const size_t place = draw_.below(shown_.size());
      turn.about = {shown_[place]};
      slots = {{"name", picture(shown_[place]).name}, {"place", place_word(place)}};
      return true;
    }
    const size_t now = shown_.back(), before = shown_[shown_.size() - 2];
    turn.about = {now, before};
    slots = {{"group", picture(now).group}, {"other", picture(before).group}};
    return (slots["group"] == slots["other"]) == (turn.kind == Kind::same_group_before);
  }

  bool choose_several(Turn& turn, Slots& slots) {
    turn.about = turn.shown;
    const std::vector<size_t>& shown = turn.shown;
    const Picture &first = picture(shown[0]), &second = picture(shown[1]);
    const size_t chosen = draw_.below(shown.size());
    const Picture& it = picture(shown[chosen]);
    auto count_of = [&](auto value) {
      return static_cast<size_t>(std::count_if(shown.begin(), shown.end(), [&](size_t index) {
        return value(picture(index)) == value(it);
      }));
    };
    auto group = [](const Picture& p) { return p.group; };
    auto colour = [](const Picture& p) { return p.colours.main; };
    slots = {{"name", first.name}, {"other", second.name}};
    switch (turn.kind) {
      case Kind::same_group:
      case Kind::other_group:
        slots = {{"group", first.group}, {"other", second.group}};
        return (first.group == second.group) == (turn.kind == Kind::same_group);
      case Kind::same_colour:
      case Kind::other_colour:
        slots = {{"colour", colour(first)}, {"other", colour(second)}};
        return !colour(first).empty() && !colour(second).empty() &&
               (colour(first) == colour(second)) == (turn.kind == Kind::same_colour);
      case Kind::difference: return true;
      case Kind::count: slots = {{"number", number_word(shown.size())}}; return true;
      case Kind::count_group:
        slots = {{"group", it.group}, {"number", number_word(count_of(group))}};
        return true;
      case Kind::count_colour:
        slots = {{"colour", colour(it)}, {"number", number_word(count_of(colour))}};
        return std::none_of(shown.begin(), shown.end(),
                            [&](size_t index) { return colour(picture(index)).empty(); });
      case Kind::which_name:
        slots = {{"name", it.name}, {"place", place_word(chosen)}};
        turn.about = {shown[chosen]};
        return true;
      case Kind::which_group:
        slots = {{"group", it.group}, {"place", place_word(chosen)}};
        turn.about = {shown[chosen]};
        return count_of(group) == 1;
      default: break;
    }
    std::string list;  // Kind::list
    for (size_t i = 0; i < shown.size(); ++i)
      list += (i ? "\n" : "") + std::to_string(i + 1) + ". " + picture(shown[i]).name;
    slots = {{"list", list}};
    return true;
  }

  bool choose_text(Turn& turn, Slots& slots) {
    if (turn.kind == Kind::small_talk) return true;
    const size_t one = draw_.below(sources_.known->size()),
                 two = draw_.below(sources_.known->size());
    turn.mentioned = {one};
    slots = {{"name", known(one).name}, {"group", known(one).group}, {"emoji", known(one).emoji}};
    if (turn.kind == Kind::ask_tool) {
      slots["number"] = std::to_string(
          std::count_if(sources_.known->begin(), sources_.known->end(),
                        [&](const Picture& p) { return p.group == known(one).group; }));
    }
    if (turn.kind == Kind::add || turn.kind == Kind::subtract) {
      const size_t a = draw_.below(21), b = draw_.below(21);
      turn.mentioned = {one, two};
      slots = {{"name", known(one).name},
               {"other", known(two).name},
               {"a", std::to_string(a)},
               {"b", std::to_string(b)},
               {"sum", std::to_string(a + b)}};
      return one != two;
    }
    return true;
  }

  const Sources& sources_;
  Draw& draw_;
  const std::vector<size_t>& order_;
  size_t& next_;
  Conversation conversation_;
  std::vector<size_t> shown_;  // so far, in order
  std::set<uint64_t> looks_;
  std::set<std::string> names_, small_talk_;
  std::set<std::tuple<Kind, std::vector<size_t>, std::vector<size_t>>> asked_;
};

}  // namespace

Conversation converse(const Sources& sources, const Shape& shape, Draw& draw,
                      const std::vector<size_t>& order, size_t& next_picture) {
  return Teller(sources, draw, order, next_picture).tell(shape);
}

}  // namespace fusec::examples
