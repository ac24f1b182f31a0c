// Chat documents as JSON lines: the format of training sets. One document a line:
//   {"messages": [{"role": "user", "content": [{"type": "image", "path": "images/a.png"},
//                                              {"type": "text", "text": "What is it?"}]},
//                 {"role": "assistant", "content": [{"type": "text", "text": "grinning face"}]}],
//    "id": "1f600", "category": "Smileys & Emotion", "subset": "train"}
// `content` may also be a plain string: one text part. id, category and subset are optional; other
// keys of a document are ignored. Refused: a document without messages, a role or part type that
// is not listed here.
#pragma once

#include <string>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::io {

// An image is a typed part with its own path; it is never found by matching strings in text.
struct Part {
  enum class Type { text, image } type = Type::text;
  std::string value;  // the text, or the image's path relative to the folder of the .jsonl
  bool operator==(const Part&) const = default;
};

struct Message {
  std::string role;  // "system", "user" or "assistant"
  std::vector<Part> parts;
  bool operator==(const Message&) const = default;
};

struct Document {
  std::vector<Message> messages;
  std::string id, category, subset;  // "" if the line has none
  bool operator==(const Document&) const = default;
};

// Documents in file order; empty lines are skipped. A line that is not such a document is a user
// Error "path:line: what was found, what was expected"; so is a file that cannot be read.
FUSEC_API std::vector<Document> read_documents(const std::string& jsonl_path);

// Writes one line a document, in order, to a temporary name, then renames. Text that is not UTF-8
// is a user Error (JSON cannot hold it).
FUSEC_API void write_documents(const std::string& jsonl_path,
                               const std::vector<Document>& documents);

}  // namespace fusec::io
