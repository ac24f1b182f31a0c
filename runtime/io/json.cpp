// Text to a checked JSON value; see json.h.
#include "fusec/io/json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"

namespace fusec::io {

using nlohmann::json;

json parse_json(std::string_view text, const std::string& place, int max_depth) {
  for (size_t i = 0, length = 0; i < text.size(); i += length) {
    length = utf8_length(text, i);
    if (length > 0) continue;
    const unsigned char byte = static_cast<unsigned char>(text[i]);
    const char* digits = "0123456789abcdef";
    fail_user(place + ": byte 0x" + digits[byte >> 4] + digits[byte & 15] + " at column " +
              std::to_string(i + 1) + " is not UTF-8; save the file in that encoding");
  }
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  int depth = 0;
  auto watch = [&](int, json::parse_event_t event, json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (++depth > max_depth) {
          fail_user(place + ": more than " + std::to_string(max_depth) +
                    " arrays and objects inside each other; expected a flatter value");
        }
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        break;
      case json::parse_event_t::object_end: keys.pop_back(); [[fallthrough]];
      case json::parse_event_t::array_end: --depth; break;
      case json::parse_event_t::key: {
        std::string key = value.get<std::string>();
        if (!keys.back().insert(key).second) {
          fail_user(place + ": key \"" + excerpt(key) + "\" stands twice in one object; keep one");
        }
        break;
      }
      case json::parse_event_t::value: break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& error) {
    fail_user(place + ": not JSON near column " + std::to_string(error.byte));
  } catch (const json::out_of_range& error) {
    fail_user(place + ": a number is too large: " + excerpt(error.what()));
  }
}

std::string describe(const json& value) {
  if (value.is_array() && value.empty()) return "an empty array";
  const std::string type = value.type_name();
  return (type == "array" || type == "object" ? "an " : "a ") + type;
}

std::string excerpt(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  size_t end = 0;
  while (end < most) {
    const size_t length = std::max<size_t>(1, utf8_length(text, end));
    if (end + length > most) break;
    end += length;
  }
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace fusec::io
