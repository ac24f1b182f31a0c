// Text to token ids for language models: byte-level byte-pair encoding (Sennrich et al. 2016, on
// bytes as in GPT-2), the same ids as Hugging Face `tokenizers` and tiktoken.
//
//   "don't stop"  ->  words "don" "'t" " stop"  ->  the merges learned inside each word
//
// Special tokens are never made from a user's text: "<|im_end|>" in it is ten characters. Their ids
// come from special(), or from encode_with_specials() for templates that the program wrote itself.
// A token that its file adds but does not call special is found in any text.
//
// Bytes that are not UTF-8 survive: each longest run of them is cut off as a word of its own, and
// the text on either side is cut as if it stood alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/models/bpe_pre_tokenizer.h"

namespace fusec::models {

// A token that is found in the text as it is written, not made by merges.
struct AddedToken {
  int32_t id = 0;
  std::string text;         // UTF-8, not empty
  bool special = true;      // only encode_with_specials() finds it
  bool lstrip = false;      // takes the white space before it along
  bool rstrip = false;      // and behind it
  bool normalized = false;  // looked for after normalization, not before

  bool operator==(const AddedToken&) const = default;
};

// A tokenizer's contents, as GGUF files hold them.
struct BpeParts {
  std::vector<std::string> tokens;  // id -> token, its bytes spelled with GPT-2's 256 characters
  std::vector<std::string> merges;  // "left right" in the same spelling, the first one first
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added;  // special tokens and the like; their ids may lie behind `tokens`
  bool ignore_merges = false;     // a word that is a token is that token (Llama 3)
  std::vector<int32_t> prefix, suffix;  // around a whole text: begin- and end-of-text tokens
};

struct BpeModel;

// Cheap to copy; const and safe to use from several threads at once.
class FUSEC_API BpeTokenizer {
 public:
  // A Hugging Face tokenizer.json: a BPE model on bytes; ByteLevel, Split, Digits and Sequences of
  // them; no normalizer or NFC; templates only for what they put around a single text. A file that
  // is damaged is a user Error, one that asks for more than this an Error of kind unsupported.
  static BpeTokenizer load(const std::string& path);
  // The same of the text of such a file; `name` begins the messages.
  static BpeTokenizer parse(std::string_view json, const std::string& name);

  // A tiktoken file: a line for each token, its bytes in base64 and its rank, which is its id.
  static BpeTokenizer load_tiktoken(const std::string& path, const PreTokenizer& pre_tokenizer,
                                    const std::vector<AddedToken>& added);
  static BpeTokenizer parse_tiktoken(std::string_view text, const std::string& name,
                                     const PreTokenizer& pre_tokenizer,
                                     const std::vector<AddedToken>& added);

  // Contents that are no tokenizer are a user Error that `name` begins.
  static BpeTokenizer from_parts(const BpeParts& parts, const std::string& name);

  // No token is put around the text. Empty for an empty text. Any bytes are accepted; bytes that
  // the vocabulary has no token for are left out, as the reference does (see lossless()).
  std::vector<int32_t> encode(std::string_view text) const;
  // The same, with special tokens where their text stands. For trusted text only.
  std::vector<int32_t> encode_with_specials(std::string_view text) const;
  // What the file puts before and behind a whole text, e.g. <|begin_of_text|>.
  const std::vector<int32_t>& prefix() const;
  const std::vector<int32_t>& suffix() const;

  // The bytes of the ids one after another; special tokens give nothing, or their text if
  // `with_specials`. An id without a token is a user Error. A slice of a text's ids may begin or
  // end inside a character. decode(encode(x)) == x if lossless() and the pre-tokenizer neither
  // normalizes, adds spaces nor removes text.
  std::string decode(const std::vector<int32_t>& ids, bool with_specials = false) const;
  // Of one token; empty if the id has none.
  std::string_view bytes(int32_t id) const;

  // The id of a special or added token by its text; special() throws a user Error if there is none.
  int32_t special(std::string_view text) const;
  std::optional<int32_t> find_special(std::string_view text) const;
  bool is_special(int32_t id) const;

  // One more than the largest id. Ids below it may be without a token.
  int32_t vocab_size() const;
  // Has the vocabulary all 256 bytes? SmolLM2's lacks 21 that no UTF-8 text or no ordinary one has.
  bool lossless() const;
  const PreTokenizer& pre_tokenizer() const;
  const std::vector<AddedToken>& added_tokens() const;

  // Writes a tokenizer.json that parse() and Hugging Face `tokenizers` read.
  void save(const std::string& path) const;
  std::string json() const;

  // Of everything that decides ids: equal hashes mean equal ids. Checkpoints record it.
  uint64_t hash() const;
  // The same as 16 hexadecimal digits.
  std::string hash_text() const;

  explicit BpeTokenizer(std::shared_ptr<const BpeModel> model);

 private:
  std::shared_ptr<const BpeModel> model_;
};

}  // namespace fusec::models
