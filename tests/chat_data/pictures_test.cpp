// Names of colours, and the pictures' folder.
#include "pictures.h"

#include <algorithm>

#include "small_set.h"

using namespace fusec;
using namespace fusec::examples;
using tests::contains;
using tests::user_error;

namespace {

// Eight columns, by colour.
io::Image columns(const std::vector<std::array<uint8_t, 3>>& colours) {
  io::Image image = io::solid(static_cast<int>(colours.size()), 4, 255, 255, 255);
  for (size_t i = 0; i < image.rgb.size() / 3; ++i)
    std::copy(colours[i % colours.size()].begin(), colours[i % colours.size()].end(),
              image.rgb.begin() + static_cast<long>(3 * i));
  return image;
}

constexpr std::array<uint8_t, 3> kRed = {220, 20, 20}, kBlue = {30, 90, 220},
                                 kWhite = {255, 255, 255}, kGreen = {20, 160, 60};

}  // namespace

TEST_CASE("colours: names of what everyone would name so") {
  struct {
    int red, green, blue;
    const char* name;
  } const cases[] = {{255, 0, 0, "red"},       {200, 30, 50, "red"},     {255, 140, 0, "orange"},
                     {255, 220, 0, "yellow"},  {252, 194, 27, "yellow"}, {0, 128, 0, "green"},
                     {120, 200, 80, "green"},  {0, 0, 255, "blue"},      {64, 192, 230, "blue"},
                     {128, 0, 160, "purple"},  {255, 105, 180, "pink"},  {255, 182, 193, "pink"},
                     {121, 85, 72, "brown"},   {191, 143, 104, "brown"}, {250, 220, 188, "beige"},
                     {0, 0, 0, "black"},       {40, 40, 45, "black"},    {128, 128, 128, "grey"},
                     {255, 255, 255, "white"}, {240, 238, 240, "white"}};
  for (const auto& c : cases) {
    CAPTURE(c.red);
    CAPTURE(c.green);
    CAPTURE(c.blue);
    CHECK(std::string(colour_name(c.red, c.green, c.blue)) == c.name);
  }
  // Every colour has a name.
  for (int rgb = 0; rgb < 1 << 24; rgb += 997)
    REQUIRE(colour_name(rgb >> 16, rgb >> 8 & 255, rgb & 255)[0] != '\0');
}

TEST_CASE("colours: shares without the background; the main one only if it clearly leads") {
  auto main_of = [](const std::vector<std::array<uint8_t, 3>>& c) {
    return colours_of(columns(c)).main;
  };
  const std::vector<ColourShare> shares = colour_shares(columns({kRed, kBlue, kWhite, kRed}));
  REQUIRE(shares.size() == 2);
  CHECK(shares[0].name == "red");
  CHECK(shares[0].share == doctest::Approx(2.0 / 3));
  CHECK(main_of({kRed, kRed, kBlue, kWhite}) == "red");
  CHECK(main_of({kRed, kRed, kRed, kBlue, kBlue}) == "");  // 60% to 40%
  CHECK(main_of({kRed, kRed, kRed, kBlue, kGreen, kGreen, kBlue}) == "");
  CHECK(main_of({kWhite}) == "");
  CHECK(colour_shares(columns({kWhite})).empty());
  using Names = std::vector<std::string>;
  auto clear_of = [](const std::vector<std::array<uint8_t, 3>>& c) {
    return colours_of(columns(c)).clear;
  };
  CHECK(clear_of({kBlue, kRed, kBlue}) == Names{"blue", "red"});
  CHECK(clear_of({kRed, kBlue}) == Names{"blue", "red"});  // equal shares by name
  // 1 of 6 is too near to a fifth to say.
  CHECK(clear_of({kBlue, kBlue, kBlue, kBlue, kBlue, kRed}).empty());
  CHECK(clear_of({kBlue, kBlue, kBlue, kBlue, kBlue, kBlue, kBlue, kRed}) == Names{"blue"});
}

TEST_CASE("pictures: read from a folder that emoji_data wrote") {
  tests::Scratch scratch;
  const PictureSets sets = tests::small_set(scratch);
  CHECK(sets[0].size() == 150);
  CHECK(sets[1].size() == 30);
  CHECK(sets[2].size() == 25);
  CHECK(sets[0][1].name == "zork1x");
  CHECK(sets[0][1].group == "Objects");
  CHECK(sets[0][1].colours.main == "blue");
  CHECK(sets[0][0].colours.main == "");
  CHECK(sets[0][0].colours.clear == std::vector<std::string>{"blue", "red"});
  CHECK(emoji_of_id("1f44b-1f3fd", "a") == "👋🏽");
  CHECK(emoji_of_id("23-fe0f-20e3", "a") == "#️⃣");
}

TEST_CASE("pictures: what is not such a folder is refused") {
  tests::Scratch scratch;
  auto refused = [&](const std::string& part) {
    CHECK(contains(user_error([&] { load_pictures(scratch / ""); }), part));
  };
  refused("train.jsonl is missing: make the pictures with emoji_data");
  tests::small_set(scratch);
  const std::string path = scratch / "val_tones.jsonl";
  const std::vector<io::Document> good = io::read_documents(path);
  auto with = [&](auto change) {
    std::vector<io::Document> documents = good;
    change(documents);
    io::write_documents(path, documents);
  };
  with([](auto& d) { d[1].id = "xyz", d[1].messages[0].parts[0].value = "images/xyz.png"; });
  refused("val_tones.jsonl:2: id \"xyz\"; expected code points in hex");
  with([](auto& d) { d[1].id = d[0].id; });
  refused("val_tones.jsonl:2: picture 1f400 is already in");
  with([](auto& d) { d[1].messages[0].parts[0].value = "pictures/a.png"; });
  refused("expected images/1f401.png");
  with([](auto& d) { d[1].category = ""; });
  refused("val_tones.jsonl:2: not a captioned picture");
  with([](auto& d) { d[1].messages.pop_back(); });
  refused("val_tones.jsonl:2: not a captioned picture");
  with([](auto& d) { d.clear(); });
  refused("holds no pictures");
  with([](auto&) {});
  std::filesystem::remove(scratch / "images/1f401.png");
  refused("1f401.png");
  for (const char* id : {"", "-", "1f600-", "d800", "110000", "0", "1F600", "1f600-zz", "1234567"})
    CHECK(contains(user_error([&] { emoji_of_id(id, "a:1"); }), "a:1: id \""));
}
