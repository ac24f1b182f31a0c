// Text -> pieces -> ids. A piece is an optional space followed by one word or one other byte; words
// are runs of letters, digits and non-ASCII bytes, joined by single hyphens or apostrophes:
//   "mage: medium-light skin tone" -> " mage" ":" " medium-light" " skin" " tone"
#include "fusec/models/tokenizer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/hash.h"
#include "fusec/base/utf8.h"
#include "fusec/io/file.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

constexpr const char* kFormat = "fusec-word-tokenizer";
constexpr int kVersion = 1;
constexpr const char* kSpecials[] = {"<pad>", "<bos>", "<eos>", "<image>"};

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_joiner(char c) { return c == '-' || c == '\''; }

// Calls visit(piece) for the pieces of `text`, which together are `text`. With `joined`, a joiner
// between two word bytes does not end a word.
template <typename Visit>
void for_each_piece(std::string_view text, bool joined, Visit visit) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = begin;
    if (text[end] == ' ' && end + 1 < text.size() && text[end + 1] != ' ') ++end;
    if (is_word_byte(text[end])) {
      while (end < text.size() &&
             (is_word_byte(text[end]) || (joined && is_joiner(text[end]) && end + 1 < text.size() &&
                                          is_word_byte(text[end + 1])))) {
        ++end;
      }
    } else {
      ++end;
    }
    visit(text.substr(begin, end - begin));
    begin = end;
  }
}

bool has_joiner(std::string_view piece) {
  return piece.size() > 2 && std::any_of(piece.begin(), piece.end(), is_joiner);
}

std::string hex(uint64_t value, int digits) {
  std::string text(digits, '0');
  for (int i = digits; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

std::string with_space(std::string_view text) { return std::string(" ").append(text); }

}  // namespace

void WordTokenizer::set_words(std::vector<std::string> words) {
  words_ = std::move(words);
  ids_.clear();
  for (size_t i = 0; i < words_.size(); ++i)
    ids_.emplace(words_[i], kFirstWord + static_cast<int32_t>(i));
}

void WordTokenizer::train(const std::vector<std::string>& captions, int min_count) {
  if (min_count < 1)
    fail_user("min_count is " + std::to_string(min_count) + "; expected at least 1");
  std::map<std::string, int64_t> counts, part_counts;
  for (const std::string& caption : captions) {
    if (caption.empty()) continue;
    for_each_piece(with_space(caption), true, [&](std::string_view piece) {
      if (piece.size() > 1) ++counts[std::string(piece)];
    });
  }
  // A joined word too rare to be a token is met as its parts.
  for (const auto& [piece, count] : counts) {
    if (count >= min_count || !has_joiner(piece)) continue;
    for_each_piece(piece, false, [&, times = count](std::string_view part) {
      if (part.size() > 1) part_counts[std::string(part)] += times;
    });
  }
  for (const auto& [part, count] : part_counts) counts[part] += count;

  std::vector<std::pair<int64_t, std::string>> kept;
  for (const auto& [piece, count] : counts)
    if (count >= min_count && is_utf8(piece)) kept.emplace_back(-count, piece);
  std::sort(kept.begin(), kept.end());
  std::vector<std::string> words;
  for (auto& [count, piece] : kept) words.push_back(std::move(piece));
  set_words(std::move(words));
}

bool WordTokenizer::append_known(std::string_view piece, std::vector<int32_t>& ids) const {
  auto found = ids_.find(std::string(piece));
  if (found != ids_.end()) ids.push_back(found->second);
  return found != ids_.end();
}

void WordTokenizer::append_spelled(std::string_view piece, std::vector<int32_t>& ids) {
  for (char c : piece) ids.push_back(kFirstByte + static_cast<unsigned char>(c));
}

std::vector<int32_t> WordTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  if (text.empty()) return ids;
  for_each_piece(with_space(text), true, [&](std::string_view piece) {
    if (append_known(piece, ids)) return;
    if (!has_joiner(piece)) return append_spelled(piece, ids);
    for_each_piece(piece, false, [&](std::string_view part) {
      if (!append_known(part, ids)) append_spelled(part, ids);
    });
  });
  return ids;
}

std::string WordTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      fail_user("token id " + std::to_string(id) + "; the vocabulary has 0.." +
                std::to_string(vocab_size() - 1) + " (is it the tokenizer of this model?)");
    }
    if (id >= kFirstWord) {
      text += words_[static_cast<size_t>(id - kFirstWord)];
    } else if (id >= kFirstByte) {
      text += static_cast<char>(id - kFirstByte);
    }
  }
  if (!text.empty() && text.front() == ' ') text.erase(0, 1);
  return text;
}

std::string WordTokenizer::piece(int32_t id) const {
  if (id >= 0 && id < kFirstByte) return kSpecials[id];
  if (id >= kFirstByte && id < kFirstWord) return "<0x" + hex(id - kFirstByte, 2) + ">";
  if (id >= kFirstWord && id < vocab_size()) return words_[static_cast<size_t>(id - kFirstWord)];
  return "<unknown " + std::to_string(id) + ">";
}

uint64_t WordTokenizer::hash() const {
  uint64_t hash = fusec::hash_text(kFormat, kVersion);
  for (const std::string& word : words_) hash = hash_combine(hash, fusec::hash_text(word));
  return hash;
}

std::string WordTokenizer::hash_text() const { return hex(hash(), 16); }

void WordTokenizer::save(const std::string& path) const {
  nlohmann::ordered_json json = {
      {"format", kFormat}, {"version", kVersion}, {"hash", hash_text()}, {"words", words_}};
  io::write_file(path, json.dump() + "\n");
}

WordTokenizer WordTokenizer::load(const std::string& path) {
  return parse(io::read_file(path), path);
}

WordTokenizer WordTokenizer::parse(std::string_view text, const std::string& path) {
  nlohmann::json json;
  try {
    json = io::parse_json(text, path, 2);
  } catch (Error& error) {
    error.add_note("expected a tokenizer, as a run leaves it in tokenizer.json");
    throw;
  }
  try {
    if (json.at("format") != kFormat || json.at("version") != kVersion) {
      fail_user(path + ": not a tokenizer of this format; expected \"format\": \"" + kFormat +
                "\", \"version\": " + std::to_string(kVersion));
    }
    WordTokenizer tokenizer;
    tokenizer.set_words(json.at("words").get<std::vector<std::string>>());
    const bool too_short =
        std::any_of(tokenizer.words_.begin(), tokenizer.words_.end(),
                    [](const std::string& word) { return word.size() < 2; });
    if (tokenizer.ids_.size() != tokenizer.words_.size() || too_short)
      fail_user(path + ": words repeat or are shorter than two bytes; the file was edited");
    const std::string recorded = json.at("hash").get<std::string>();
    const std::string got = tokenizer.hash_text();
    if (recorded != got) {
      fail_user(path + ": its words hash to " + got + " but it records " + recorded +
                "; the file is damaged or was edited");
    }
    return tokenizer;
  } catch (const nlohmann::json::exception&) {
    fail_user(path + ": expected {\"format\", \"version\", \"hash\", \"words\": [strings]}");
  }
}

}  // namespace fusec::models
