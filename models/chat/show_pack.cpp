// A pack -> text; see show_pack.h. Tokens of one look stand together, so that characters whose
// bytes are several tokens are whole.
#include "fusec/models/show_pack.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"

namespace fusec::models {
namespace {

enum class Look : uint8_t { given, supervised, special, supervised_special, image };

constexpr const char* kReset = "\033[0m";

const char* colour_of(Look look) {
  switch (look) {
    case Look::given: return "\033[2m";
    case Look::supervised: return "\033[32m";
    case Look::special: return "\033[2;35m";
    case Look::supervised_special: return "\033[1;35m";
    case Look::image: return "\033[34m";
  }
  return "";
}

bool is_supervised(Look look) {
  return look == Look::supervised || look == Look::supervised_special;
}

// Text as it may go to a terminal. C1 control characters are two bytes, U+0080 to U+009F.
std::string visible(std::string_view text) {
  std::string result;
  auto spell = [&](std::string_view bytes) {
    for (const char c : bytes) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(c) & 0xff);
      result += code;
    }
  };
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    const std::string_view character = text.substr(i, std::max<size_t>(length, 1));
    const auto lead = static_cast<unsigned char>(character[0]);
    const bool c1 = length == 2 && lead == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
    if (character == "\n")
      result += "\xe2\x8f\x8e\n";
    else if (length == 0 || lead < 0x20 || lead == 0x7f || c1)
      spell(character);
    else
      result += character;
    i += character.size();
  }
  return result;
}

class Writer {
 public:
  explicit Writer(bool colours) : colours_(colours) {}

  void add(Look look, std::string_view bytes) {
    if (look != look_) flush();
    look_ = look;
    pending_ += bytes;
  }

  void flush() {
    const std::string text = visible(std::exchange(pending_, {}));
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (text_.ends_with('\n')) text_ += "    ";
      if (!colours_ && is_supervised(look_) != open_) text_ += open_ ? "]]" : "[[";
      open_ = !colours_ && is_supervised(look_);
      const std::string part = text.substr(at, end - at);
      text_ += colours_ ? colour_of(look_) + part + kReset : part;
      if (end < text.size()) text_ += '\n';
      at = end + 1;
    }
  }

  // Ends what is marked, and begins a new line.
  void line(const std::string& text) {
    flush();
    if (open_) text_ += "]]";
    open_ = false;
    if (!text_.empty() && text_.back() != '\n') text_ += '\n';
    text_ += text + "\n";
  }

  std::string take() {
    line("");
    text_.pop_back();
    return std::move(text_);
  }

 private:
  const bool colours_;
  Look look_ = Look::given;
  std::string pending_, text_;
  bool open_ = false;
};

std::string count(int64_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

std::string percent(int64_t part, int64_t whole) {
  char text[16];
  std::snprintf(text, sizeof text, "%.1f%%",
                whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0);
  return text;
}

void check(const ShownPack& pack) {
  const auto tokens = static_cast<int64_t>(pack.tokens.size());
  if (pack.targets.size() != pack.tokens.size()) {
    fail_user("show_pack: " + std::to_string(tokens) + " tokens but " +
              std::to_string(pack.targets.size()) + " targets");
  }
  int64_t last = 0;
  for (const TokenRange& document : pack.documents) {
    if (document.begin < last || document.length < 0 || document.length > tokens - document.begin) {
      fail_user("show_pack: a document of " + std::to_string(document.length) + " tokens lies at " +
                std::to_string(document.begin) + ", behind one that ends at " +
                std::to_string(last) + ", in " + std::to_string(tokens) + " tokens");
    }
    last = document.begin + document.length;
  }
  int64_t end = 0;
  for (const ImageSpan& image : pack.images) {
    if (image.range.begin < end || image.range.length < 1 ||
        image.range.begin + image.range.length > tokens)
      fail_user("show_pack: image " + image.path + " lies at " + std::to_string(image.range.begin) +
                ", behind one that ends at " + std::to_string(end));
    end = image.range.begin + image.range.length;
  }
}

void legend(Writer& writer, bool colours) {
  auto word = [&](Look look, const std::string& text) {
    return colours ? colour_of(look) + text + kReset : text;
  };
  const std::string supervised = colours ? word(Look::supervised, "supervised") : "[[supervised]]";
  writer.line("legend: " + supervised + "  " + word(Look::given, "given") + "  " +
              word(Look::special, "<|special|>") + "  " +
              word(Look::image, "{image path, tokens}"));
}

}  // namespace

std::string show_pack(const ShownPack& pack, const BpeTokenizer& tokenizer, bool colours) {
  check(pack);
  const auto tokens = static_cast<int64_t>(pack.tokens.size());
  const auto documents = static_cast<int64_t>(pack.documents.size());
  int64_t filled = 0, image_tokens = 0;
  for (const TokenRange& document : pack.documents) filled += document.length;
  for (const ImageSpan& image : pack.images) image_tokens += image.range.length;
  const auto supervised = std::count_if(pack.targets.begin(), pack.targets.end(),
                                        [](int32_t target) { return target >= 0; });

  Writer writer(colours);
  writer.line("pack of " + count(tokens, "token") + ": " + count(documents, "document") + ", " +
              count(static_cast<int64_t>(pack.images.size()), "image") + " (" +
              count(image_tokens, "token") + "), padding " + percent(tokens - filled, tokens) +
              "; supervised " + count(supervised, "token") + ", " + percent(supervised, filled) +
              " of what is filled");
  legend(writer, colours);
  size_t next_image = 0;
  for (size_t d = 0; d < pack.documents.size(); ++d) {
    const int64_t begin = pack.documents[d].begin, end = begin + pack.documents[d].length;
    const auto asked = std::count_if(pack.targets.begin() + begin, pack.targets.begin() + end,
                                     [](int32_t target) { return target >= 0; });
    writer.line("document " + std::to_string(d) + ": " + count(end - begin, "token") + " from " +
                std::to_string(begin) + ", " + std::to_string(asked) + " supervised");
    for (int64_t at = begin; at < end; ++at) {
      while (next_image < pack.images.size() && pack.images[next_image].range.begin < at)
        ++next_image;
      if (next_image < pack.images.size() && pack.images[next_image].range.begin == at) {
        const ImageSpan& image = pack.images[next_image++];
        writer.add(Look::image, "{" + image.path + ", " + std::to_string(image.range.length) + "}");
        at += image.range.length - 1;
        continue;
      }
      const int32_t id = pack.tokens[static_cast<size_t>(at)];
      const bool asked_for = at > begin && pack.targets[static_cast<size_t>(at) - 1] >= 0;
      const bool special = tokenizer.is_special(id);
      writer.add(special ? (asked_for ? Look::supervised_special : Look::special)
                         : (asked_for ? Look::supervised : Look::given),
                 tokenizer.bytes(id));
    }
  }
  if (filled < tokens) writer.line("padding: " + count(tokens - filled, "token"));
  return writer.take();
}

}  // namespace fusec::models
