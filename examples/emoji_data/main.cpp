// emoji_data: Debian's emoji font and Unicode's names -> a captioned picture set on disk:
//   OUT/images/<id>.png, OUT/train.jsonl, OUT/val_tones.jsonl, OUT/val_unseen.jsonl
// It needs no network: fonts-noto-color-emoji, unicode-data and unicode-cldr-core hold the data.
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>

#include "catalog.h"
#include "command_line.h"
#include "fusec/base/error.h"
#include "fusec/io/documents.h"
#include "fusec/io/file.h"
#include "glyphs.h"
#include "split.h"

namespace fusec::examples {
namespace {

namespace fs = std::filesystem;

constexpr const char* kQuestion = "What is this?";

struct Options {
  std::string out;
  int size = 32;
  bool subgroups = false;
  std::string font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
  std::string emoji_test = "/usr/share/unicode/emoji/emoji-test.txt";
  std::string cldr = "/usr/share/unicode/cldr/common";
};

void require_file(const std::string& path, const char* package, const char* option) {
  if (fs::exists(path)) return;
  fail_user(path + " is missing: apt-get install " + package + " (or name another with " + option +
            ")");
}

io::Document document_of(const Emoji& emoji, const std::string& caption, Subset subset,
                         bool subgroups) {
  using Type = io::Part::Type;
  io::Document document;
  document.messages = {
      {"user", {{Type::image, "images/" + emoji.id + ".png"}, {Type::text, kQuestion}}},
      {"assistant", {{Type::text, caption}}}};
  document.id = emoji.id;
  document.category = subgroups ? emoji.group + " / " + emoji.subgroup : emoji.group;
  document.subset = name_of(subset);
  return document;
}

// Rows are groups in the order of emoji-test.txt.
void print_counts(const std::vector<Emoji>& list, const std::vector<Subset>& subsets) {
  std::vector<std::string> groups;
  std::map<std::string, std::array<int, 3>> counts;
  for (size_t i = 0; i < list.size(); ++i) {
    if (!counts.count(list[i].group)) groups.push_back(list[i].group);
    ++counts[list[i].group][static_cast<size_t>(subsets[i])];
    ++counts["total"][static_cast<size_t>(subsets[i])];
  }
  groups.push_back("total");
  std::printf("%-20s", "category");
  for (Subset subset : kSubsets) std::printf(" %10s", name_of(subset));
  std::printf(" %8s\n", "all");
  for (const std::string& group : groups) {
    const std::array<int, 3>& row = counts[group];
    std::printf("%-20s %10d %10d %10d %8d\n", group.c_str(), row[0], row[1], row[2],
                row[0] + row[1] + row[2]);
  }
}

void run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  require_file(options.font, "fonts-noto-color-emoji", "--font");
  require_file(options.emoji_test, "unicode-data", "--emoji-test");
  ShortNames names;
  for (const char* folder : {"annotations", "annotationsDerived"}) {
    const std::string path = options.cldr + "/" + folder + "/en.xml";
    require_file(path, "unicode-cldr-core", "--cldr");
    add_short_names(io::read_file(path), path, names);
  }
  const std::vector<Emoji> list =
      parse_emoji_test(io::read_file(options.emoji_test), options.emoji_test);

  const fs::path images = fs::path(options.out) / "images";
  std::error_code error;
  fs::create_directories(images, error);
  if (error) fail_user(images.string() + ": cannot be created: " + error.message());

  const EmojiFont font(options.font);
  std::vector<SplitItem> items;
  for (const Emoji& emoji : list) {
    const io::Image image = font.draw(emoji.sequence);
    io::write_png((images / (emoji.id + ".png")).string(),
                  io::resize(image, options.size, options.size));
    // Compared in the font's size, so that --size does not change the split.
    items.push_back({emoji.id, emoji.base, emoji.toned,
                     std::string(image.rgb.begin(), image.rgb.end())});
  }

  const std::vector<Subset> subsets = split(items);
  const std::vector<std::string> violations = check_split(items, subsets);
  for (const std::string& line : violations) std::fprintf(stderr, "%s\n", line.c_str());
  if (!violations.empty())
    fail_internal("the split breaks its rules in " + std::to_string(violations.size()) +
                  " places (above)");

  int without_cldr = 0;
  std::array<std::vector<io::Document>, 3> documents;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string* name = find_short_name(names, list[i]);
    without_cldr += name == nullptr;
    documents[static_cast<size_t>(subsets[i])].push_back(
        document_of(list[i], name ? *name : list[i].name, subsets[i], options.subgroups));
  }
  for (Subset subset : kSubsets) {
    const fs::path path = fs::path(options.out) / (std::string(name_of(subset)) + ".jsonl");
    io::write_documents(path.string(), documents[static_cast<size_t>(subset)]);
  }

  print_counts(list, subsets);
  std::map<std::string, int> pictures;
  for (const SplitItem& item : items) ++pictures[item.picture];
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%zu emoji, %zu different pictures; %d captions from emoji-test.txt for want of a "
              "CLDR name\nwritten to %s at %d x %d in %.1f s\n",
              list.size(), pictures.size(), without_cldr, options.out.c_str(), options.size,
              options.size, seconds.count());
}

}  // namespace
}  // namespace fusec::examples

int main(int argc, char** argv) {
  using namespace fusec;
  examples::Options options;
  CLI::App app("Draws every emoji of Unicode's list from a colour font and writes a captioned "
               "picture set: PNG images, train.jsonl, val_tones.jsonl, val_unseen.jsonl.");
  app.allow_extras();
  app.add_option("--out", options.out, "Folder to write to, created if needed; must be given");
  app.add_option("--size", options.size, "Side of the square pictures, in pixels")
      ->check(CLI::Range(8, 136))
      ->capture_default_str();
  app.add_flag("--subgroups", options.subgroups,
               "Write categories as \"group / subgroup\" instead of \"group\"");
  app.add_option("--font", options.font, "Colour bitmap font")->capture_default_str();
  app.add_option("--emoji-test", options.emoji_test, "Unicode's emoji-test.txt")
      ->capture_default_str();
  app.add_option("--cldr", options.cldr, "Folder with CLDR's annotations/ and annotationsDerived/")
      ->capture_default_str();
  return examples::run_program("emoji_data", [&] {
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
      return app.exit(help);
    } catch (const CLI::ParseError& error) {
      fail_user(error.what());
    }
    examples::refuse_unknown(app);
    if (options.out.empty()) fail_user("--out is required: the folder to write the pictures to");
    examples::run(options);
    return 0;
  });
}
