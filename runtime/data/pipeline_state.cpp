// PipelineState <-> one JSON object, strictly: each struct lists its fields once, in a function
// that a writer and a reader visit, and a key that is missing, unknown or of the wrong kind is
// refused.
#include "fusec/data/pipeline_state.h"

#include <initializer_list>
#include <type_traits>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::data {
namespace {

// Sums of a few of them do not overflow, and doubles hold them.
constexpr int64_t kMostCount = int64_t{1} << 53;
constexpr int kDepth = 4;  // {"statistics": {"packs": {"dropped_tokens": [0]}}}

template <class Visit>
void fields(JsonlOptions& o, Visit& visit) {
  visit("max_line_bytes", o.max_line_bytes);
  visit("max_depth", o.max_depth);
  visit("bad_lines", o.bad_lines, {"error", "drop"});
  visit("rank", o.rank);
  visit("world", o.world);
  visit("shuffle", o.shuffle);
  visit("seed", o.seed);
  visit("window_documents", o.window_documents);
  visit("window_bytes", o.window_bytes);
}

template <class Visit>
void fields(JsonlStatistics& s, Visit& visit) {
  visit("documents", s.documents);
  visit("dropped", s.dropped);
  visit("first_dropped", s.first_dropped);
}

template <class Visit>
void fields(JsonlState& s, Visit& visit) {
  visit("options", s.options);
  visit("files_digest", s.files_digest);
  visit("epoch", s.epoch);
  visit("turn", s.turn);
  visit("offset", s.offset);
  visit("line", s.line);
  visit("documents", s.documents);
  visit("windows", s.windows);
  visit("taken", s.taken);
  visit("statistics", s.statistics);
}

template <class Visit>
void fields(PackerOptions& o, Visit& visit) {
  visit("capacity", o.capacity);
  visit("max_documents", o.max_documents);
  visit("max_spans", o.max_spans);
  visit("buffer_documents", o.buffer_documents);
  visit("policy", o.policy, {"best_fit", "one_per_row", "by_length"});
  visit("too_long", o.too_long, {"split", "drop"});
  visit("widths", o.widths);
}

template <class Visit>
void fields(PackStatistics& s, Visit& visit) {
  visit("capacity", s.capacity);
  visit("documents_in", s.documents_in);
  visit("tokens_in", s.tokens_in);
  visit("documents_split", s.documents_split);
  visit("documents_out", s.documents_out);
  visit("pieces_out", s.pieces_out);
  visit("tokens_out", s.tokens_out);
  visit("packs", s.packs);
  visit("padded_out", s.padded_out);
  visit("longest", s.longest);
  visit("dropped_documents", s.dropped_documents);
  visit("dropped_tokens", s.dropped_tokens);
}

template <class Visit>
void fields(DropCount& d, Visit& visit) {
  visit("documents", d.documents);
  visit("tokens", d.tokens);
}

template <class Visit>
void fields(PipelineStatistics& s, Visit& visit) {
  visit("documents", s.documents);
  visit("tokens", s.tokens);
  visit("dropped", s.dropped);
  visit("first_dropped", s.first_dropped);
  visit("lines", s.lines);
  visit("packs", s.packs);
  visit("batches", s.batches);
  visit("supervised", s.supervised);
  visit("images", s.images);
}

template <class Visit>
void fields(PipelineState& s, Visit& visit) {
  visit("options", s.options);
  visit("stream", s.stream);
  visit("packer", s.packer);
  visit("waiting", s.waiting);
  visit("finished", s.finished);
  visit("epoch_documents", s.epoch_documents);
  visit("statistics", s.statistics);
}

using Names = std::initializer_list<const char*>;

class Writer {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    json_[key] = written(value);
  }
  template <class Enum>
  void operator()(const char* key, const Enum& value, Names names) {
    json_[key] = names.begin()[static_cast<size_t>(value)];
  }
  nlohmann::ordered_json take() { return std::move(json_); }

 private:
  using Json = nlohmann::ordered_json;

  template <class T>
  static Json written(const T& value) {
    if constexpr (std::is_class_v<T>) {
      Writer inner;
      fields(const_cast<T&>(value), inner);  // a writer reads only
      return inner.take();
    } else {
      return value;
    }
  }
  static Json written(const std::string& value) { return value; }
  template <size_t n>
  static Json written(const std::array<int64_t, n>& values) {
    return values;
  }
  static Json written(const std::vector<int64_t>& values) { return values; }
  static Json written(const std::map<std::string, DropCount>& counts) {
    Json json = Json::object();
    for (const auto& [reason, count] : counts) json[reason] = written<DropCount>(count);
    return json;
  }
  static Json written(const std::vector<WaitingPiece>& pieces) {
    Json json = Json::array();
    for (const WaitingPiece& p : pieces) {
      json.push_back(
          {p.id, p.position.file, p.position.offset, p.position.line, p.begin, p.tokens, p.digest});
    }
    return json;
  }

  Json json_ = Json::object();
};

class Reader {
 public:
  using Json = nlohmann::json;

  Reader(const Json& json, std::string name) : json_(json), name_(std::move(name)) {
    if (!json_.is_object())
      fail_user(name_ + ": is " + io::describe(json_) + ", expected an object");
  }

  template <class T>
  void operator()(const char* key, T& value) {
    read(at(key), name_ + "." + key, value);
  }
  template <class Enum>
  void operator()(const char* key, Enum& value, Names names) {
    std::string text;
    (*this)(key, text);
    for (size_t i = 0; i < names.size(); ++i) {
      if (text != names.begin()[i]) continue;
      value = static_cast<Enum>(i);
      return;
    }
    fail_user(name_ + "." + key + " is \"" + io::excerpt(text) + "\"" +
              suggest(io::excerpt(text), {names.begin(), names.end()}));
  }

  // Every key was visited.
  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      bool known = false;
      for (const std::string& visited : visited_) known |= visited == key;
      const std::string shown = io::excerpt(key);
      if (!known) fail_user(name_ + ": unknown key \"" + shown + "\"" + suggest(shown, visited_));
    }
  }

 private:
  const Json& at(const char* key) {
    visited_.push_back(key);
    const auto it = json_.find(key);
    if (it == json_.end()) fail_user(name_ + ": no key \"" + key + "\"");
    return *it;
  }

  [[noreturn]] static void wrong(const Json& json, const std::string& name,
                                 const std::string& expected) {
    fail_user(name + " is " + io::excerpt(json.dump()) + ", expected " + expected);
  }

  template <class T>
  static void read(const Json& json, const std::string& name, T& value) {
    if constexpr (std::is_class_v<T>) {
      Reader inner(json, name);
      fields(value, inner);
      inner.finish();
    } else {
      static_assert(std::is_same_v<T, int>);
      int64_t wide = 0;
      read(json, name, wide);
      if (wide > 1 << 30) wrong(json, name, "a whole number below 2^30");
      value = static_cast<int>(wide);
    }
  }
  static void read(const Json& json, const std::string& name, int64_t& value) {
    if (!json.is_number_unsigned() || json.get<uint64_t>() > uint64_t{kMostCount})
      wrong(json, name, "a whole number from 0 to 2^53");
    value = json.get<int64_t>();
  }
  static void read(const Json& json, const std::string& name, uint64_t& value) {
    if (!json.is_number_unsigned()) wrong(json, name, "a whole number of 0 or more");
    value = json.get<uint64_t>();
  }
  static void read(const Json& json, const std::string& name, bool& value) {
    if (!json.is_boolean()) wrong(json, name, "true or false");
    value = json.get<bool>();
  }
  static void read(const Json& json, const std::string& name, std::string& value) {
    if (!json.is_string()) wrong(json, name, "a string");
    value = json.get<std::string>();
  }
  template <size_t n>
  static void read(const Json& json, const std::string& name, std::array<int64_t, n>& values) {
    if (!json.is_array() || json.size() != n)
      wrong(json, name, std::to_string(n) + " whole numbers");
    for (size_t i = 0; i < n; ++i) read(json[i], name, values[i]);
  }
  static void read(const Json& json, const std::string& name, std::vector<int64_t>& values) {
    if (!json.is_array()) wrong(json, name, "an array of whole numbers");
    values.resize(json.size());
    for (size_t i = 0; i < values.size(); ++i) read(json[i], name, values[i]);
  }
  static void read(const Json& json, const std::string& name,
                   std::map<std::string, DropCount>& counts) {
    if (!json.is_object()) wrong(json, name, "an object of counts");
    for (const auto& [reason, count] : json.items())
      read(count, name + "." + io::excerpt(reason), counts[reason]);
  }
  static void read(const Json& json, const std::string& name, std::vector<WaitingPiece>& pieces) {
    if (!json.is_array()) wrong(json, name, "an array of pieces");
    for (const Json& item : json) {
      if (!item.is_array() || item.size() != 7)
        wrong(item, name, "of a piece 7 numbers: id, file, offset, line, begin, tokens, digest");
      WaitingPiece p;
      read(item[0], name, p.id);
      read(item[1], name, p.position.file);
      read(item[2], name, p.position.offset);
      read(item[3], name, p.position.line);
      read(item[4], name, p.begin);
      read(item[5], name, p.tokens);
      read(item[6], name, p.digest);
      pieces.push_back(p);
    }
  }

  const Json& json_;
  std::string name_;
  std::vector<std::string> visited_;
};

}  // namespace

std::string pipeline_state_text(const PipelineState& state) {
  PipelineState copy = state;
  Writer writer;
  fields(copy, writer);
  // Messages may hold file names, which may hold anything.
  return writer.take().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

PipelineState parse_pipeline_state(std::string_view json, const std::string& name) {
  const nlohmann::json value = io::parse_json(json, name, kDepth);
  PipelineState state;
  Reader reader(value, name);
  fields(state, reader);
  reader.finish();
  return state;
}

}  // namespace fusec::data
