// The emoji catalogue and its split, on a small text of the same form as emoji-test.txt.
#include "split.h"

#include <algorithm>
#include <map>

#include "catalog.h"
#include "scratch.h"

using namespace fusec;
using namespace fusec::examples;
using tests::contains;
using tests::user_error;

namespace {

const char* kText = R"(# emoji-test.txt
# group: People & Body
# subgroup: hands
1F44B                    ; fully-qualified     # 👋 E0.6 waving hand
1F44B 1F3FB              ; fully-qualified     # 👋🏻 E1.0 waving hand: light skin tone
261D FE0F                ; fully-qualified     # ☝️ E0.6 index pointing up
261D                     ; unqualified         # ☝ E0.6 index pointing up
261D 1F3FF               ; fully-qualified     # ☝🏿 E1.0 index pointing up: dark skin tone
1F469 1F3FB 200D 1F91D 200D 1F468 1F3FD ; fully-qualified # 👫 E12.0 woman and man holding hands
1F46B                    ; fully-qualified     # 👫 E0.6 woman and man holding hands
# group: Symbols
# subgroup: keycap
0023 FE0F 20E3           ; fully-qualified     # #️⃣ E0.6 keycap: #
)";

// `emoji` emoji, each untoned and in five tones; every picture is its own.
std::vector<SplitItem> synthetic(int emoji, bool with_untoned) {
  std::vector<SplitItem> items;
  for (int i = 0; i < emoji; ++i) {
    const std::string base = "e" + std::to_string(i);
    if (with_untoned) items.push_back({base, base, false, base});
    for (int tone = 0; tone < 5; ++tone) {
      const std::string id = base + "-" + std::to_string(tone);
      items.push_back({id, base, true, id});
    }
  }
  return items;
}

std::map<Subset, int> counts(const std::vector<Subset>& subsets) {
  std::map<Subset, int> result;
  for (Subset subset : subsets) ++result[subset];
  return result;
}

}  // namespace

TEST_CASE("catalog: ids, bases, groups and names") {
  const std::vector<Emoji> list = parse_emoji_test(kText, "test.txt");
  REQUIRE(list.size() == 7);
  CHECK(list[1].id == "1f44b-1f3fb");
  CHECK(list[1].base == "1f44b");
  CHECK(list[1].toned);
  CHECK(list[1].name == "waving hand: light skin tone");
  CHECK(list[1].group == "People & Body");
  CHECK(list[1].subgroup == "hands");
  CHECK(list[2].id == "261d-fe0f");
  CHECK(list[2].base == list[3].base);   // with and without the variation selector
  CHECK(!list[2].toned);
  CHECK(list[4].base == list[5].base);   // a pair in two tones and its single code point
  CHECK(list[4].toned);
  CHECK(list[6].group == "Symbols");
  CHECK(list[6].name == "keycap: #");
}

TEST_CASE("catalog: a line of another form is named") {
  auto refused = [](const std::string& line) {
    const std::string text = std::string("# group: A\n") + line + "\n";
    return user_error([&] { parse_emoji_test(text, "test.txt"); });
  };
  CHECK(contains(refused("1F600 fully-qualified"), "test.txt:2: expected"));
  CHECK(contains(refused("XYZ ; fully-qualified # x E1.0 name"), "test.txt:2: expected"));
  CHECK(contains(refused("1F600 ; fully-qualified # x E1.0"), "test.txt:2: expected"));
  CHECK(contains(refused("110000 ; fully-qualified # x E1.0 name"), "not a code point"));
  CHECK(contains(refused(""), "no fully-qualified emoji"));
}

TEST_CASE("catalog: short names from CLDR") {
  const std::vector<Emoji> list = parse_emoji_test(kText, "test.txt");
  ShortNames names;
  add_short_names("<ldml><annotations><annotation cp=\"☝\">finger | up</annotation>"
                  "<annotation cp=\"☝\" type=\"tts\">index &amp; up</annotation>"
                  "</annotations></ldml>", "en.xml", names);
  REQUIRE(find_short_name(names, list[2]) != nullptr);
  CHECK(*find_short_name(names, list[2]) == "index & up");
  CHECK(find_short_name(names, list[0]) == nullptr);
  CHECK(contains(user_error([&] { add_short_names("<ldml>", "en.xml", names); }), "en.xml"));
  CHECK(contains(user_error([&] { add_short_names("<a/>", "en.xml", names); }), "annotations"));
}

TEST_CASE("split: keeps its rules, about the shares asked for, whatever the order") {
  for (bool with_untoned : {true, false}) {
    std::vector<SplitItem> items = synthetic(400, with_untoned);
    const std::vector<Subset> subsets = split(items);
    CHECK(check_split(items, subsets).empty());
    const std::map<Subset, int> count = counts(subsets);
    // 400 draws at 5%: 20 emoji expected, standard deviation 4.4; 4 deviations either way.
    const int per_emoji = with_untoned ? 6 : 5;
    CHECK(count.at(Subset::val_unseen) >= 3 * per_emoji);
    CHECK(count.at(Subset::val_unseen) <= 38 * per_emoji);
    // About 1900 draws at 20%: 380 expected, deviation 17.
    CHECK(count.at(Subset::val_tones) >= 310);
    CHECK(count.at(Subset::val_tones) <= 450);

    std::map<std::string, Subset> before;
    for (size_t i = 0; i < items.size(); ++i) before[items[i].id] = subsets[i];
    std::reverse(items.begin(), items.end());
    const std::vector<Subset> reversed = split(items);
    for (size_t i = 0; i < items.size(); ++i) REQUIRE(reversed[i] == before[items[i].id]);
  }
}

TEST_CASE("split: adding emoji moves no other emoji") {
  const std::vector<SplitItem> few = synthetic(100, true), many = synthetic(200, true);
  const std::vector<Subset> small = split(few), large = split(many);
  CHECK(std::equal(small.begin(), small.end(), large.begin()));
}

TEST_CASE("split: train keeps enough of every emoji even if all tones are drawn") {
  for (bool with_untoned : {true, false}) {
    const std::vector<SplitItem> items = synthetic(50, with_untoned);
    const std::vector<Subset> subsets = split(items, {.unseen = 0, .tones = 1});
    CHECK(check_split(items, subsets).empty());
    // One toned variant stays beside an untoned emoji, two where there is none.
    CHECK(counts(subsets)[Subset::val_tones] == 50 * (with_untoned ? 4 : 3));
  }
}

TEST_CASE("split: equal pictures stay on one side") {
  std::vector<SplitItem> items = synthetic(300, true);
  // Emoji 2k and 2k+1 share their untoned picture; the tones of emoji 4k all look the same.
  for (int i = 0; i < 300; ++i) {
    items[6 * i].picture = "pair" + std::to_string(i / 2);
    for (int tone = 1; tone <= 5 && i % 4 == 0; ++tone)
      items[6 * i + tone].picture = "same" + std::to_string(i);
  }
  const std::vector<Subset> subsets = split(items);
  CHECK(check_split(items, subsets).empty());
  for (int i = 0; i < 300; i += 2)
    CHECK((subsets[6 * i] == Subset::val_unseen) == (subsets[6 * i + 6] == Subset::val_unseen));
}

TEST_CASE("check_split: sees every kind of slip") {
  std::vector<SplitItem> items = synthetic(2, true);
  std::vector<Subset> subsets(items.size(), Subset::train);
  REQUIRE(check_split(items, subsets).empty());
  auto first = [&](std::vector<SplitItem> changed, std::vector<Subset> with) {
    const std::vector<std::string> wrong = check_split(changed, with);
    REQUIRE(!wrong.empty());
    return wrong[0];
  };
  auto with = [&](std::vector<int> places, Subset subset) {
    std::vector<Subset> changed = subsets;
    for (int place : places) changed[place] = subset;
    return changed;
  };
  CHECK(contains(first(items, with({0}, Subset::val_tones)), "has no skin tone"));
  CHECK(contains(first(items, with({1}, Subset::val_unseen)), "its emoji is in train"));
  CHECK(contains(first(items, with({1, 2, 3, 4, 5}, Subset::val_tones)), "no other tone"));
  CHECK(contains(first({items.begin() + 1, items.begin() + 4},
                       {Subset::val_tones, Subset::val_tones, Subset::train}),
                 "neither its untoned emoji nor two"));
  items[1].picture = items[2].picture;
  CHECK(contains(first(items, with({1}, Subset::val_tones)), "its picture is in train"));
  items[1].id = items[2].id;
  CHECK(contains(first(items, subsets), "occurs twice"));
  std::vector<Subset> both = with({0, 2, 3, 4, 5}, Subset::val_unseen);
  both[1] = Subset::val_tones;
  const std::vector<std::string> wrong = check_split(items, both);
  CHECK(std::any_of(wrong.begin(), wrong.end(), [](const std::string& line) {
    return line.find("both validation subsets") != std::string::npos;
  }));
}
