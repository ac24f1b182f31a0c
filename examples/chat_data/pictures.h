// The folder that emoji_data wrote -> what is known of each picture: all facts of the conversations
// come from here.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "colours.h"

namespace fusec::examples {

struct Picture {
  std::string id;     // code points in hex, joined with '-'; the file is images/<id>.png
  std::string name;   // "waving hand: medium skin tone"
  std::string group;  // "People & Body"
  std::string emoji;  // the characters themselves, UTF-8
  PictureColours colours;
  uint64_t pixels = 0;  // equal for equal pictures
};

enum class ChatSubset : uint8_t { train, val_tones, val_unseen };
inline constexpr std::array<ChatSubset, 3> kChatSubsets = {ChatSubset::train, ChatSubset::val_tones,
                                                           ChatSubset::val_unseen};
const char* name_of(ChatSubset subset);

// Pictures of each subset, in the order of their files.
using PictureSets = std::array<std::vector<Picture>, 3>;

// Reads FOLDER/<subset>.jsonl and the images that they name. User Errors: a file or image that is
// missing, a document that is not a captioned picture with an id of code points and a category, a
// subset without pictures, or one picture's id in two of them.
PictureSets load_pictures(const std::string& folder);

// The emoji that an id spells; a user Error, begun by `place`, if it spells none.
std::string emoji_of_id(const std::string& id, const std::string& place);

}  // namespace fusec::examples
