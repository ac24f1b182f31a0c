#include "pictures.h"

#include <filesystem>
#include <map>

#include "fusec/base/error.h"
#include "fusec/base/hash.h"
#include "fusec/base/utf8.h"
#include "fusec/io/documents.h"
#include "fusec/io/image.h"

namespace fusec::examples {
namespace {

namespace fs = std::filesystem;

Picture picture_of(const io::Document& document, const std::string& folder,
                   const std::string& place) {
  Picture picture;
  std::string path;
  int images = 0, names = 0;
  for (const io::Message& message : document.messages) {
    for (const io::Part& part : message.parts) {
      if (part.type == io::Part::Type::image) {
        ++images;
        path = part.value;
      } else if (message.role == "assistant") {
        ++names;
        picture.name = part.value;
      }
    }
  }
  if (images != 1 || names != 1 || picture.name.empty() || document.category.empty()) {
    fail_user(place +
              ": not a captioned picture with an id and a category; expected a folder that "
              "emoji_data wrote");
  }
  if (path != "images/" + document.id + ".png") {
    fail_user(place + ": image " + path + "; expected images/" + document.id +
              ".png, as emoji_data names them");
  }
  picture.id = document.id;
  picture.emoji = emoji_of_id(document.id, place);
  picture.group = document.category.substr(0, document.category.find(" / "));
  const io::Image image = io::read_png((fs::path(folder) / path).string());
  picture.colours = colours_of(image);
  picture.pixels = hash_text({reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()},
                             static_cast<uint64_t>(image.width));
  return picture;
}

}  // namespace

const char* name_of(ChatSubset subset) {
  switch (subset) {
    case ChatSubset::train: return "train";
    case ChatSubset::val_tones: return "val_tones";
    case ChatSubset::val_unseen: return "val_unseen";
  }
  return "";
}

std::string emoji_of_id(const std::string& id, const std::string& place) {
  std::u32string sequence;
  for (size_t at = 0; at <= id.size();) {
    const size_t end = std::min(id.find('-', at), id.size());
    const std::string digits = id.substr(at, end - at);
    const bool hex = !digits.empty() && digits.size() <= 6 &&
                     digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    const auto point = hex ? static_cast<char32_t>(std::stoul(digits, nullptr, 16)) : char32_t{0};
    if (point == 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
      fail_user(place + ": id \"" + id + "\"; expected code points in hex, such as 1f44b-1f3fd");
    }
    sequence += point;
    at = end + 1;
  }
  return to_utf8(sequence);
}

PictureSets load_pictures(const std::string& folder) {
  PictureSets sets;
  std::map<std::string, std::string> seen;
  for (const ChatSubset subset : kChatSubsets) {
    const std::string file =
        (fs::path(folder) / (std::string(name_of(subset)) + ".jsonl")).string();
    if (!fs::exists(file))
      fail_user(file + " is missing: make the pictures with emoji_data --out " + folder);
    std::vector<Picture>& pictures = sets[static_cast<size_t>(subset)];
    for (const io::Document& document : io::read_documents(file)) {
      const std::string place = file + ":" + std::to_string(document.line);
      const auto [other, first] = seen.emplace(document.id, place);
      if (!first) fail_user(place + ": picture " + document.id + " is already in " + other->second);
      pictures.push_back(picture_of(document, folder, place));
    }
    if (pictures.empty()) fail_user(file + ": holds no pictures; expected some to talk about");
  }
  return sets;
}

}  // namespace fusec::examples
