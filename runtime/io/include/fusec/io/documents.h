// Chat documents as JSON lines: the format of training sets. One document a line:
//   {"messages": [{"role": "user", "content": [{"type": "image", "path": "images/a.png"},
//                                              {"type": "text", "text": "What is it?"}]},
//                 {"role": "assistant", "content": [{"type": "text", "text": "grinning face"}]}],
//    "id": "1f600", "category": "Smileys & Emotion", "subset": "train"}
// `content` may also be a plain string: one text part. {"type": "tool", "text": ...} is what an
// assistant asks of a tool, or what a message of role "tool" answers:
//   {"role": "assistant", "content": [{"type": "tool", "text": "{\"name\": \"count\"}"}]},
//   {"role": "tool", "content": [{"type": "tool", "text": "12"}]}
// id, category and subset are optional; other keys of a document are ignored. Refused: a document
// without messages, a role or part type that is not listed here, a tool part in a message of the
// user or the system, a key given twice, more than 16 arrays and objects inside each other.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::io {

// An image is a typed part with its own path; it is never found by matching strings in text.
struct Part {
  enum class Type { text, image, tool } type = Type::text;
  std::string value;  // the text, or the image's path relative to the folder of the .jsonl
  bool operator==(const Part&) const = default;
};

struct Message {
  std::string role;  // "system", "user", "assistant" or "tool"
  std::vector<Part> parts;
  bool operator==(const Message&) const = default;
};

struct Document {
  std::vector<Message> messages;
  std::string id, category, subset;  // "" if the line has none
  size_t line = 0;                   // where it was read, from 1; no part of what it says
  bool operator==(const Document& other) const {
    return messages == other.messages && id == other.id && category == other.category &&
           subset == other.subset;
  }
};

// Documents in their order; lines that are empty or hold only blanks are skipped. A line that is
// not such a document is a user Error "name:line: what was found, what was expected". Memory is at
// most about a hundred bytes for each byte of the longest line, and the documents.
FUSEC_API std::vector<Document> parse_documents(std::string_view jsonl, const std::string& name);

// The same of one line that is parsed already; `place` ("name:line") begins messages, and the
// document's `line` is left to the caller.
FUSEC_API Document parse_document(const nlohmann::json& json, const std::string& place);

// The same of a file; one that cannot be read is a user Error, too.
FUSEC_API std::vector<Document> read_documents(const std::string& jsonl_path);

// Writes one line a document, in order, to a temporary name, then renames. Text that is not UTF-8
// is a user Error (JSON cannot hold it).
FUSEC_API void write_documents(const std::string& jsonl_path,
                               const std::vector<Document>& documents);

}  // namespace fusec::io
