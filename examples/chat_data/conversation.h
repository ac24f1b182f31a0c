// Pictures -> one conversation about them. Every answer follows from what is known of the pictures
// (pictures.h), and each turn keeps a record of what it is about, so that a test can hold it
// against the pictures anew.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "draw.h"
#include "fusec/io/documents.h"
#include "phrasings.h"
#include "pictures.h"

namespace fusec::examples {

struct Turn {
  Kind kind = Kind::small_talk;
  std::vector<size_t> shown;      // pictures that the question's message shows, by index in the set
  std::vector<size_t> about;      // pictures that it is about, in the order of the answer
  std::vector<size_t> mentioned;  // of the known pictures, by index there: only named
  std::string question, answer;
};

struct Conversation {
  io::Document document;
  std::vector<Turn> turns;
};

// How long a conversation is to be.
struct Shape {
  int turns = 1;
  int images = 1;  // 0 to 8; fewer than turns can show are shown
};

struct Sources {
  const std::vector<Picture>* shown = nullptr;  // that messages may show
  // That texts may name without showing them. Of training its own pictures, so that no name that is
  // held out is said.
  const std::vector<Picture>* known = nullptr;
  // Other names that a question may wrongly suggest for a picture.
  const std::vector<Picture>* suggested = nullptr;
};

inline constexpr int kMostImages = 8;

// `order`, from next_picture on and over again, gives indices of sources.shown in the order in
// which pictures are to be used. Pictures of one conversation differ in looks and name, so fewer
// than asked for are shown if there are not enough of them.
Conversation converse(const Sources& sources, const Shape& shape, Draw& draw,
                      const std::vector<size_t>& order, size_t& next_picture);

}  // namespace fusec::examples
