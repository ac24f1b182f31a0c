// Emoji sequences -> the bitmaps of a colour font (CBDT, such as NotoColorEmoji.ttf).
#pragma once

#include <memory>
#include <string>

#include "fusec/io/image.h"

namespace fusec::examples {

class EmojiFont {
 public:
  // A file that is not a font with colour bitmaps is a user Error.
  explicit EmojiFont(const std::string& path);
  ~EmojiFont();

  // The picture of one sequence on white, padded to a square, in the font's own size. A sequence
  // that the font does not draw as exactly one glyph is a user Error.
  io::Image draw(const std::u32string& sequence) const;

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
  std::string path_;
};

}  // namespace fusec::examples
