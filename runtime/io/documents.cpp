// Lines of JSON <-> documents. Every refusal names the file, the line and the place in the line.
#include "fusec/io/documents.h"

#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/file.h"
#include "fusec/io/json.h"

namespace fusec::io {
namespace {

using Json = nlohmann::json;

const std::vector<std::string> kRoles = {"system", "user", "assistant", "tool"};
// One row a part type: its name, and the key of its value.
struct PartType {  // in the order of Part::Type
  Part::Type type;
  const char* name;
  const char* key;
};
constexpr PartType kPartTypes[] = {{Part::Type::text, "text", "text"},
                                   {Part::Type::image, "image", "path"},
                                   {Part::Type::tool, "tool", "text"}};
// {"messages": [{"content": [{"type": ...}]}]}, and room for keys that are not read.
constexpr int kMaxDepth = 16;

// One line of the file, and where we are in it.
class LineReader {
 public:
  explicit LineReader(const std::string& place) : place_(place + ": ") {}

  Document read(const Json& json) const {
    if (!json.is_object())
      fail_user(place_ + describe(json) + "; expected a document {\"messages\": [...]}");
    auto messages = json.find("messages");
    if (messages == json.end())
      fail_user(place_ + "no \"messages\"; expected a document {\"messages\": [...]}");
    if (!messages->is_array() || messages->empty())
      fail_user(place_ + "messages is " + describe(*messages) + "; expected at least one message");
    Document document;
    for (size_t i = 0; i < messages->size(); ++i)
      document.messages.push_back(message((*messages)[i], "messages[" + std::to_string(i) + "]"));
    document.id = optional_string(json, "id");
    document.category = optional_string(json, "category");
    document.subset = optional_string(json, "subset");
    return document;
  }

 private:
  std::string string_of(const Json& object, const char* key, const std::string& where) const {
    auto value = object.find(key);
    if (value == object.end())
      fail_user(place_ + where + " has no \"" + key + "\"; expected a string there");
    if (!value->is_string())
      fail_user(place_ + where + "." + key + " is " + describe(*value) + "; expected a string");
    return value->get<std::string>();
  }

  std::string optional_string(const Json& object, const char* key) const {
    return object.contains(key) ? string_of(object, key, "document") : "";
  }

  Message message(const Json& json, const std::string& where) const {
    if (!json.is_object())
      fail_user(place_ + where + " is " + describe(json) + "; expected {\"role\", \"content\"}");
    Message result;
    result.role = string_of(json, "role", where);
    bool known = false;
    for (const std::string& role : kRoles) known |= role == result.role;
    if (!known)
      fail_user(place_ + where + ".role is \"" + excerpt(result.role) + "\"" +
                suggest(excerpt(result.role), kRoles));
    auto content = json.find("content");
    if (content == json.end())
      fail_user(place_ + where + " has no \"content\"; expected a string or an array of parts");
    if (content->is_string()) {
      result.parts.push_back({Part::Type::text, content->get<std::string>()});
    } else if (content->is_array()) {
      for (size_t i = 0; i < content->size(); ++i) {
        const std::string place = where + ".content[" + std::to_string(i) + "]";
        result.parts.push_back(part((*content)[i], place));
        if (result.parts.back().type == Part::Type::tool && result.role != "assistant" &&
            result.role != "tool") {
          fail_user(place_ + place + " is a tool part in a message of role \"" + result.role +
                    "\"; expected one of the assistant (a call) or of role \"tool\" (its result)");
        }
      }
    } else {
      fail_user(place_ + where + ".content is " + describe(*content) +
                "; expected a string or an array of parts");
    }
    return result;
  }

  Part part(const Json& json, const std::string& where) const {
    if (!json.is_object()) {
      fail_user(place_ + where + " is " + describe(json) +
                R"(; expected {"type": "text", "text"} or {"type": "image", "path"})");
    }
    const std::string type = string_of(json, "type", where);
    std::vector<std::string> known;
    for (const PartType& row : kPartTypes) {
      known.emplace_back(row.name);
      if (type != row.name) continue;
      std::string value = string_of(json, row.key, where);
      if (row.type == Part::Type::image && value.empty())
        fail_user(place_ + where + ".path is empty; expected the path of an image");
      return {row.type, std::move(value)};
    }
    fail_user(place_ + where + ".type is \"" + excerpt(type) + "\"" +
              suggest(excerpt(type), known));
  }

  std::string place_;
};

using OrderedJson = nlohmann::ordered_json;

OrderedJson to_json(const Document& document) {
  OrderedJson messages = OrderedJson::array();
  for (const Message& message : document.messages) {
    OrderedJson content = OrderedJson::array();
    for (const Part& part : message.parts) {
      const PartType& row = kPartTypes[static_cast<size_t>(part.type)];
      content.push_back({{"type", row.name}, {row.key, part.value}});
    }
    messages.push_back({{"role", message.role}, {"content", std::move(content)}});
  }
  OrderedJson json = {{"messages", std::move(messages)}};
  if (!document.id.empty()) json["id"] = document.id;
  if (!document.category.empty()) json["category"] = document.category;
  if (!document.subset.empty()) json["subset"] = document.subset;
  return json;
}

}  // namespace

std::vector<Document> parse_documents(std::string_view jsonl, const std::string& name) {
  std::vector<Document> documents;
  std::string_view rest = jsonl;
  for (size_t line = 1; !rest.empty(); ++line) {
    std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = name + ":" + std::to_string(line);
    Json json;
    try {
      json = parse_json(text, place, kMaxDepth);
    } catch (Error& error) {
      error.add_note("expected one document {\"messages\": [...]} a line; mend or remove the line");
      throw;
    }
    documents.push_back(parse_document(json, place));
    documents.back().line = line;
  }
  return documents;
}

Document parse_document(const nlohmann::json& json, const std::string& place) {
  return LineReader(place).read(json);
}

std::vector<Document> read_documents(const std::string& jsonl_path) {
  return parse_documents(read_file(jsonl_path), jsonl_path);
}

void write_documents(const std::string& jsonl_path, const std::vector<Document>& documents) {
  std::string bytes;
  for (size_t i = 0; i < documents.size(); ++i) {
    try {
      bytes += to_json(documents[i]).dump() + "\n";
    } catch (const OrderedJson::type_error&) {
      fail_user(jsonl_path + ": document " + std::to_string(i) + " (id \"" + documents[i].id +
                "\") holds text that is not UTF-8, which JSON cannot hold");
    }
  }
  write_file(jsonl_path, bytes);
}

}  // namespace fusec::io
